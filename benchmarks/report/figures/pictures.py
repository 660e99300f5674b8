"""Pictures: grids of the first items; strips of interpolation and sums of captions.

Items are the first of the split, chosen neither by score nor by look. Depth has the colours of the
truth's range, and below each arm its relative error. Texts are drawn, never interpreted. Strips and
sums (cells of `benchmarks.tasks.sums`) are evidence of nothing but themselves.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.records import samples
from benchmarks.records.samples import Cell, Samples, depth_colours
from benchmarks.report.figures.charts import WIDTH, warned
from crossflow.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Line = tuple[str, Sequence[Cell]]  # what stands left of it; pictures (h, w, 3) or texts
LEFT, EDGE, GAP = 0.62, 0.06, 0.04  # inches: left of labelled lines, of others, between cells
FONT = 6.5  # points, of texts
MOST = 4  # strips or sums of a figure
LARGEST_ERROR = 0.5  # of the true depth: the end of the colours of error maps
BLENDS = {  # kind -> cells of a strip or sum, and what its figure says
    "interpolation": (samples.COLUMNS, "straight lines between the codes of two captions"),
    "arithmetic": (len(samples.ROLES), "sums of codes; below the sum, what it should show"),
}


def grid(title: str, kept: Mapping[str, Samples], quick: bool) -> Figure:
    """kept: `source`, `truth` and the arms, in the order of the lines.

    A source of texts stands below the lines as their caption.
    """
    ids = samples.common(kept)[: 3 if any(row.kind == "text" for row in kept.values()) else 4]
    cells = {name: [row.cells[row.ids.index(item)] for item in ids] for name, row in kept.items()}
    low, high = samples.depth_range(cells["truth"]) or (0.1, 10.0)
    lines: list[Line] = []
    for name, row in kept.items():
        label = name.replace("_", "\n")
        if row.kind != "depth":
            lines.append((label, cells[name]))
            continue
        maps, truths = (list(map(np.asarray, cells[of])) for of in (name, "truth"))
        lines.append((label, [depth_colours(depth, low, high) for depth in maps]))
        if name != "truth":
            lines.append(("error", list(map(errors, maps, truths))))
    if kept["source"].kind == "text":
        lines = [*lines[1:], ("caption", cells["source"])]
    note = "the first items of the split, not chosen"
    if kept["truth"].kind == "depth":
        note += f"\ndepth from {low:.2g} m (bright) to {high:.2g} m (dark)"
        note += f"\nerror from 0 (dark) to {LARGEST_ERROR:.0%} of the depth or more (yellow)"
    return _sheet(title, note, lines, quick)


def blends(title: str, kind: str, row: Samples, captions: Samples, quick: bool) -> Figure:
    """Strips above the captions of their ends, or sums above the role and text of each cell.

    row: cells `<a>~<b>@<weight>`, or `<number> <role>: <text>`; what is cut short is left out.
    """
    pictures: dict[str, Cell] = dict(zip(row.ids, row.cells, strict=True))
    texts = dict(zip(captions.ids, captions.cells, strict=True))
    whole, note = BLENDS[kind]
    lines: list[Line] = []
    for group, members in groupby(pictures, lambda name: re.split("[@ ]", name)[0]):
        ids = list(members)
        ends = [str(texts.get(end, end)) for end in group.split("~")]
        below = ends if kind == "interpolation" else [name.partition(" ")[2] for name in ids]
        if len(ids) == whole:
            lines += [("", [pictures[name] for name in ids]), ("", below)]
    return _sheet(title, note, lines[: 2 * MOST], quick)


def errors(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """|depth - truth| / truth as colours; grey where either was not measured."""
    from matplotlib import colormaps

    measured = (truth > 0) & (depth > 0)
    relative = np.abs(depth - truth) / np.where(measured, truth, 1)
    colours = colormaps["viridis"](np.clip(relative / LARGEST_ERROR, 0, 1))[..., :3]
    shown = (colours * 255).round().astype(np.uint8)
    shown[~measured] = 128
    return shown


def _sheet(title: str, note: str, lines: Sequence[Line], quick: bool) -> Figure:
    """All lines below one another, under a title. The cells of a line share its width."""
    from matplotlib.figure import Figure

    if not lines or not lines[0][1]:
        raise InputError(f"{title}: the samples have no item in common")
    left = LEFT if any(label for label, _ in lines) else EDGE
    across = WIDTH - left - EDGE + GAP
    fitted = [[_fitted(cell, across / len(cells)) for cell in cells] for _, cells in lines]
    heights = [max(height for _, height in cells) for cells in fitted]
    note, colour = warned(note, quick)
    bottom = sum(heights) + GAP * len(lines)
    high = bottom + 0.35 + 0.13 * note.count("\n")
    figure = Figure(figsize=(WIDTH, high))
    figure.suptitle(title, x=0.02, y=1 - 0.03 / high, ha="left", va="top")
    figure.text(0.02, 1 - 0.17 / high, note, va="top", color=colour)
    for (label, _), cells, height in zip(lines, fitted, heights, strict=True):
        bottom -= height + GAP
        middle, width = (bottom + height / 2) / high, across / len(cells)
        figure.text((left - 0.05) / WIDTH, middle, label, ha="right", va="center")
        for column, (cell, _) in enumerate(cells):
            x, wide = (left + column * width) / WIDTH, (width - GAP) / WIDTH
            axes = figure.add_axes((x, bottom / high, wide, height / high))
            axes.set_axis_off()
            if isinstance(cell, str):
                axes.text(0.5, 1, cell, ha="center", va="top", fontsize=FONT)
            else:
                axes.imshow(cell, interpolation="nearest")
    return figure


def _fitted(cell: Cell, width: float) -> tuple[Cell, float]:
    """A text in lines, a picture as it is; and its height in inches, within reason."""
    if not isinstance(cell, str):
        return cell, (width - GAP) * min(2.0, cell.shape[0] / cell.shape[1])
    letters = int(width * 72 / (FONT * 0.56))
    text = textwrap.fill(cell or "(empty)", letters, max_lines=8, placeholder=" …")
    return text, (text.count("\n") + 2) * FONT * 1.2 / 72
