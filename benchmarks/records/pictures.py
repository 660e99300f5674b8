"""Picture grids: what went in, what was true, what each arm made of it.

A cell is a picture (uint8, h x w x 3), a depth map (float, h x w, metres) or a text. Text is drawn,
never interpreted: a caption with a dollar sign is not TeX. All depth of a grid has one range of
colours, that of the truth.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

import numpy as np

from benchmarks.records.samples import Cell


def save_grid(
    path: Path, rows: Mapping[str, Sequence[Cell]], cell_inches: float = 1.1, dpi: int = 110
) -> None:
    """One labelled row of cells for each entry of `rows`, as a PNG. All rows have equal length.

    Depth has the colours of the range of the row `truth`, or of all rows where there is none.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = len(next(iter(rows.values())))
    every = (cell for cells in rows.values() for cell in cells)
    metres = depth_range(rows.get("truth", ())) or depth_range(every)
    figure = Figure(figsize=(cell_inches * columns + 1.4, cell_inches * len(rows)))
    left = 1.4 / (cell_inches * columns + 1.4)
    axes = figure.subplots(
        len(rows),
        columns,
        squeeze=False,
        gridspec_kw={
            "left": left,
            "right": 0.998,
            "top": 0.995,
            "bottom": 0.005,
            "wspace": 0.04,
            "hspace": 0.04,
        },
    )
    for row, (label, cells) in zip(axes, rows.items(), strict=True):
        for axis, cell in zip(row, cells, strict=True):
            _draw(axis, _shown(cell, metres))
        row[0].text(
            -0.08,
            0.5,
            label.replace("_", "\n"),
            transform=row[0].transAxes,
            ha="right",
            va="center",
            fontsize=9,
            parse_math=False,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas = FigureCanvasAgg(figure)
    canvas.print_figure(path, dpi=dpi, metadata={"Software": None})


def _shown(cell: Cell, metres: tuple[float, float] | None) -> Cell:
    """A picture or text as it is; depth in colours."""
    if isinstance(cell, str) or cell.ndim == 3:
        return cell
    return depth_colours(cell, *(metres or (0.1, 10.0)))  # no range: nothing was measured


def _draw(axis: object, cell: Cell) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
    if isinstance(cell, str):
        text = textwrap.fill(cell, 17)
        axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=5.5, parse_math=False)
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
    else:
        axis.imshow(cell, interpolation="nearest")


def depth_range(cells: Iterable[Cell]) -> tuple[float, float] | None:
    """(nearest, farthest) measured depth among the maps of `cells`, metres; None without any."""
    measured = [cell[np.isfinite(cell) & (cell > 0)] for cell in cells if _is_depth(cell)]
    values = [pixels for pixels in measured if pixels.size]
    if not values:
        return None
    return min(float(v.min()) for v in values), max(float(v.max()) for v in values)


def _is_depth(cell: Cell) -> TypeGuard[np.ndarray]:
    return not isinstance(cell, str) and cell.ndim == 2


def depth_colours(depth: np.ndarray, low: float, high: float) -> np.ndarray:
    """Depth in metres (h, w) as colours (h, w, 3) uint8, on a log scale from low to high.

    Near is bright. What was not measured (0, or no number) is grey.
    """
    from matplotlib import colormaps

    high = max(high, low * 1.001)  # a flat map has no range of its own
    measured = np.isfinite(depth) & (depth > 0)
    logs = np.log(np.where(measured, depth, low))
    scaled = np.clip((logs - np.log(low)) / np.log(high / low), 0, 1)
    colours = (colormaps["magma_r"](scaled)[..., :3] * 255).round().astype(np.uint8)
    colours[~measured] = 128
    return colours
