"""Pictures: grids of the first items; strips of interpolation and sums of captions.

Items are the first of the split, chosen neither by score nor by look. Depth has the colours of the
truth's range, and below each arm its relative error. Texts are drawn, never interpreted. Strips and
sums (cells of `benchmarks.tasks.sums`) are evidence of nothing but themselves.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.records.samples import ROLES, Cell, Samples, common, depth_colours, depth_range
from benchmarks.report.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Line = tuple[str, Sequence[Cell]]
"""What stands left of a line of cells, and the cells: pictures (h, w, 3) or texts."""

LABEL, EDGE, GAP = 0.62, 0.06, 0.04  # inches left of lines with and without labels, between cells
FONT = 6.5  # points, of texts
MOST_LINES = 8  # of a text
MOST = 4  # strips or sums of a figure
LARGEST_ERROR = 0.5  # of the true depth: the end of the colours of error maps
SIGNS = dict(zip(ROLES, ("", "- ", "+ ", "= "), strict=True))


def grid(title: str, kept: Mapping[str, Samples], quick: bool) -> Figure | None:
    """kept: `source`, `truth` and the arms, in the order of the lines; None without a common item.

    A source of texts stands below the lines as their caption.
    """
    texts = any(row.kind == "text" for row in kept.values())
    ids = common(kept)[: 3 if texts else 4]
    if not ids:
        return None
    by_id = {name: _by_id(row) for name, row in kept.items()}
    cells = {name: [of_row[item] for item in ids] for name, of_row in by_id.items()}
    low, high = depth_range(cells["truth"]) or (0.1, 10.0)
    lines: list[Line] = []
    for name, row in kept.items():
        label = name.replace("_", "\n")
        if row.kind != "depth":
            lines.append((label, cells[name]))
            continue
        maps = [np.asarray(depth) for depth in cells[name]]
        lines.append((label, [depth_colours(depth, low, high) for depth in maps]))
        if name != "truth":
            truths = [np.asarray(truth) for truth in cells["truth"]]
            lines.append(("error", list(map(errors, maps, truths))))
    if kept["source"].kind == "text":
        lines = [*lines[1:], ("caption", cells["source"])]
    note = "the first items of the split, not chosen"
    if kept["truth"].kind == "depth":
        note += f"\ndepth from {low:.2g} m (bright) to {high:.2g} m (dark)"
        note += f"\nerror from 0 (dark) to {LARGEST_ERROR:.0%} of the depth or more (yellow)"
    return _sheet(title, note, lines, quick)


def interpolation(title: str, strips: Samples, captions: Samples, quick: bool) -> Figure | None:
    """A strip for each pair of items, above the caption of either end.

    strips: cells `<a>~<b>@<weight>`. captions: texts of the items. None without a whole pair.
    """
    pictures, texts = _by_id(strips), _by_id(captions)
    lines: list[Line] = []
    for pair, ids in groupby(pictures, lambda name: name.partition("@")[0]):
        ends = pair.split("~")
        if texts.keys() >= set(ends):
            lines += [("", [pictures[name] for name in ids]), ("", [texts[end] for end in ends])]
    note = "straight lines between the codes of two captions"
    return _sheet(title, note, lines[: 2 * MOST], quick) if lines else None


def arithmetic(title: str, sums: Samples, _: Samples, quick: bool) -> Figure | None:
    """Start, minus, plus and what their sum gives, above what each should show.

    sums: cells `<number> <role>: <text>`. The last sum may be cut short: it is left out.
    """
    pictures = _by_id(sums)
    lines: list[Line] = []
    for _number, four in groupby(pictures, lambda name: name.partition(" ")[0]):
        ids = list(four)
        roles = [name.partition(" ")[2].partition(": ") for name in ids]
        if [role for role, *_ in roles] == list(ROLES):
            texts = [SIGNS[role] + text for role, _, text in roles]
            lines += [("", [pictures[name] for name in ids]), ("", texts)]
    note = "sums of codes; below the sum, what it should show"
    return _sheet(title, note, lines[: 2 * MOST], quick) if lines else None


BLENDS = {"interpolation": interpolation, "arithmetic": arithmetic}


def _by_id(row: Samples) -> dict[str, Cell]:
    return dict(zip(row.ids, row.cells, strict=True))


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

    left = LABEL if any(label for label, _ in lines) else EDGE
    widths = [(style.WIDTH - left - EDGE + GAP) / len(cells) for _, cells in lines]
    shown = [
        [_wrapped(cell, width) if isinstance(cell, str) else cell for cell in cells]
        for (_, cells), width in zip(lines, widths, strict=True)
    ]
    heights = [
        max(_height(cell, width) for cell in cells)
        for cells, width in zip(shown, widths, strict=True)
    ]
    note = f"{style.QUICK}\n{note}" if quick else note
    above = 0.35 + 0.13 * note.count("\n")
    high = above + sum(heights) + GAP * len(lines)
    figure = Figure(figsize=(style.WIDTH, high))
    figure.suptitle(title, x=0.02, y=1 - 0.03 / high, ha="left", va="top")
    colour = style.WARNING if quick else style.NOTE
    figure.text(0.02, 1 - 0.17 / high, note, va="top", color=colour)
    bottom = high - above
    for (label, _), cells, width, height in zip(lines, shown, widths, heights, strict=True):
        bottom -= height + GAP
        x, y = (left - 0.05) / style.WIDTH, (bottom + height / 2) / high
        figure.text(x, y, label, ha="right", va="center")
        for column, cell in enumerate(cells):
            x, wide = (left + column * width) / style.WIDTH, (width - GAP) / style.WIDTH
            axes = figure.add_axes((x, bottom / high, wide, height / high))
            axes.set_axis_off()
            if isinstance(cell, str):
                axes.text(0.5, 1, cell, ha="center", va="top", fontsize=FONT)
            else:
                axes.imshow(cell, interpolation="nearest")
    return figure


def _height(cell: Cell, width: float) -> float:
    """Inches: pictures keep their proportions, within reason."""
    if isinstance(cell, str):
        return (cell.count("\n") + 2) * FONT * 1.2 / 72
    return (width - GAP) * min(2.0, cell.shape[0] / cell.shape[1])


def _wrapped(text: str, width: float) -> str:
    across = int(width * 72 / (FONT * 0.56))
    return textwrap.fill(text or "(empty)", across, max_lines=MOST_LINES, placeholder=" …")
