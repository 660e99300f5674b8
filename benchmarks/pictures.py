"""Picture grids: what went in, what was true, what each arm made of it.

A cell is a picture (uint8, h x w x 3) or a text. Text is drawn, never interpreted: a caption with
a dollar sign is not TeX.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Cell = np.ndarray | str
LARGEST_SHEET = 300_000  # bytes: sheets are committed beside the records


def save_grid(
    path: Path, rows: Mapping[str, Sequence[Cell]], cell_inches: float = 1.1, dpi: int = 110
) -> None:
    """One labelled row of cells for each entry of `rows`, as a PNG. All rows have equal length."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = len(next(iter(rows.values())))
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
            _draw(axis, cell)
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


def save_samples(path: Path, cells: Sequence[Cell], columns: int = 8) -> None:
    """The samples of one arm in rows of `columns`, in item order, as a PNG of at most 300 kB.

    Noise does not compress: the sheet of an arm that learned nothing is drawn smaller.
    """
    rows = {
        f"{start}": list(cells[start : start + columns]) for start in range(0, len(cells), columns)
    }
    width = min(columns, len(cells))
    padded = {k: [*v, *([""] * (width - len(v)))] for k, v in rows.items()}
    for dpi in (110, 80, 60, 45):
        save_grid(path, padded, cell_inches=0.8, dpi=dpi)
        if path.stat().st_size <= LARGEST_SHEET:
            return
    raise ValueError(f"{path}: larger than {LARGEST_SHEET} bytes even when drawn small")


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


def depth_colours(depth: np.ndarray, low: float, high: float) -> np.ndarray:
    """Depth in metres (h, w) as colours (h, w, 3) uint8; near is bright, one range for a row."""
    from matplotlib import colormaps

    scaled = np.clip((np.log(np.maximum(depth, 1e-3)) - np.log(low)) / np.log(high / low), 0, 1)
    return (colormaps["magma_r"](scaled)[..., :3] * 255).round().astype(np.uint8)
