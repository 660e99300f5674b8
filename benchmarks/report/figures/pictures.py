"""Pictures: grids of the first items; strips of interpolation and sums of captions.

Items are the first of the split, chosen neither by score nor by look. Depth has the colours of the
truth's range, and below each arm its relative error. Texts are drawn, never interpreted. Strips and
sums (cells of `benchmarks.tasks.sums`) are evidence of nothing but themselves.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.records.samples import (
    ROLES,
    Cell,
    Samples,
    common,
    depth_colours,
    depth_range,
    read,
)
from benchmarks.report.figures import style
from crossflow.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABEL, EDGE = 0.62, 0.06  # inches left of the cells, with and without labels
GAP = 0.04
FONT = 6.5  # points, of captions
LINE = FONT * 1.2 / 72  # inches
MOST_LINES = 8  # of a text
MOST = 4  # strips or sums of a figure
LARGEST_ERROR = 0.5  # of the true depth: the end of the colours of error maps
SIGNS = dict(zip(ROLES, ("", "- ", "+ ", "= "), strict=True))


@dataclass(frozen=True)
class Strip:
    """A line of cells: pictures (h, w, 3), or texts; a text left of it, and texts below."""

    cells: Sequence[Cell]
    label: str = ""
    below: Sequence[str] = ()  # spread from the left edge to the right


def grid(title: str, kept: Mapping[str, Samples], quick: bool) -> Figure | None:
    """kept: `source`, `truth` and the arms, in the order of the rows; None without a common item.

    A source of texts stands below the rows as their caption. InputError for a depth map of another
    size than the truth's.
    """
    texts = any(row.kind == "text" for row in kept.values())
    ids = common(kept)[: 3 if texts else 4]
    if not ids:
        return None
    cells = {name: [row.cells[row.ids.index(item)] for item in ids] for name, row in kept.items()}
    metres = depth_range(cells["truth"]) or (0.1, 10.0)
    note = "the first items of the split, not chosen"
    if kept["truth"].kind == "depth":
        note += (
            f"; depth from {metres[0]:.2g} m (bright) to {metres[1]:.2g} m (dark); error from 0 "
        )
        note += f"(dark) to {LARGEST_ERROR:.0%} of the depth or more (yellow)"
    strips = []
    for name in sorted(kept, key=lambda name: name == "source" and kept[name].kind == "text"):
        label = style.drawable(name).replace("_", "\n")
        if kept[name].kind != "depth":
            caption = name == "source" and kept[name].kind == "text"
            strips.append(Strip(cells[name], "caption" if caption else label))
            continue
        maps = [np.asarray(cell) for cell in cells[name]]
        strips.append(Strip([depth_colours(depth, *metres) for depth in maps], label))
        if name != "truth":
            both = zip(maps, cells["truth"], strict=True)
            strips.append(
                Strip([errors(depth, np.asarray(truth)) for depth, truth in both], "error")
            )
    return _sheet(title, note, strips, quick)


def interpolation(title: str, path: Path, captions: Samples, quick: bool) -> Figure | None:
    """A strip for each pair of items, with the caption of either end below.

    path: of cells `<a>~<b>@<weight>`. captions: texts of the items. None without a whole pair.
    """
    kept, texts = read(path), dict(zip(captions.ids, map(str, captions.cells), strict=True))
    strips = []
    shown: Sequence[Cell] = kept.cells
    named = zip(kept.ids, shown, strict=True)
    for pair, cells in groupby(named, lambda cell: cell[0].partition("@")[0].split("~")):
        if texts.keys() >= set(pair):
            strips.append(Strip([cell for _, cell in cells], below=[texts[name] for name in pair]))
    note = "straight lines between the codes of two captions"
    return _sheet(title, note, strips[:MOST], quick) if strips else None


def arithmetic(title: str, path: Path, captions: Samples, quick: bool) -> Figure | None:
    """Start, minus, plus and what their sum gives, with what each should show below.

    path: of cells `<number> <role>: <text>`. The last sum may be cut short: it is left out.
    """
    kept, strips = read(path), []
    shown: Sequence[Cell] = kept.cells
    named = zip(kept.ids, shown, strict=True)
    for _, four in groupby(named, lambda cell: cell[0].partition(" ")[0]):
        group = list(four)
        roles = [name.partition(" ")[2].partition(": ") for name, _ in group]
        if [role for role, _, _ in roles] == list(ROLES):
            below = [SIGNS[role] + text for role, _, text in roles]
            strips.append(Strip([cell for _, cell in group], below=below))
    note = "sums of codes; below the sum, what it should show"
    return _sheet(title, note, strips[:MOST], quick) if strips else None


BLENDS = {"interpolation": interpolation, "arithmetic": arithmetic}


def errors(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """|depth - truth| / truth as colours; grey where either was not measured."""
    from matplotlib import colormaps

    if depth.shape != truth.shape:
        raise InputError(f"samples: a map of {depth.shape} stands beside a truth of {truth.shape}")
    measured = (truth > 0) & (depth > 0)
    relative = np.abs(depth - truth) / np.where(measured, truth, 1)
    colours = colormaps["viridis"](np.clip(relative / LARGEST_ERROR, 0, 1))[..., :3]
    shown = (colours * 255).round().astype(np.uint8)
    shown[~measured] = 128
    return shown


def _sheet(title: str, note: str, strips: Sequence[Strip], quick: bool) -> Figure:
    """All strips below one another, under a title."""
    from matplotlib.figure import Figure

    left = LABEL if any(strip.label for strip in strips) else EDGE
    columns = max(len(strip.cells) for strip in strips)
    width = (style.WIDTH - left - EDGE - GAP * (columns - 1)) / columns
    lines = [title, *([style.QUICK] if quick else []), *textwrap.wrap(note, 56)]
    above = 0.1 + 0.13 * len(lines)
    heights = [_height(strip, width) for strip in strips]
    under = [LINE * 3 if strip.below else GAP for strip in strips]
    figure = Figure(figsize=(style.WIDTH, above + sum(heights) + sum(under)))
    high = top = figure.get_size_inches()[1]
    for number, line in enumerate(lines):
        colour = "black" if line == title else style.WARNING if line == style.QUICK else style.NOTE
        size = 8 if line == title else 7
        y = 1 - (0.03 + 0.13 * number) / high
        figure.text(0.02, y, line, va="top", fontsize=size, color=colour)
    top -= above
    for strip, height, below in zip(strips, heights, under, strict=True):
        for column, cell in enumerate(strip.cells):
            place = (left + column * (width + GAP), top - height, width, height)
            scale = (style.WIDTH, high) * 2
            axes = figure.add_axes(tuple(a / b for a, b in zip(place, scale, strict=True)))
            axes.set_axis_off()
            if isinstance(cell, str):
                text = _wrapped(cell, width, MOST_LINES)
                axes.text(0.5, 0.92, text, ha="center", va="top", fontsize=FONT)
            else:
                axes.imshow(cell, interpolation="nearest")
        y = (top - height / 2) / high
        figure.text(
            (left - 0.05) / style.WIDTH, y, strip.label, ha="right", va="center", fontsize=7
        )
        for number, text in enumerate(strip.below):
            share = (style.WIDTH - 2 * EDGE) / len(strip.below)
            x = (EDGE + (number + 0.5) * share) / style.WIDTH
            y = (top - height - 0.03) / high
            figure.text(x, y, _wrapped(text, share, 2), ha="center", va="top", fontsize=FONT)
        top -= height + below
    return figure


def _height(strip: Strip, width: float) -> float:
    """Of the tallest cell, inches: pictures keep their proportions."""
    if isinstance(strip.cells[0], str):
        texts = [_wrapped(str(cell), width, MOST_LINES) for cell in strip.cells]
        return LINE * (1.9 + max(text.count("\n") for text in texts))
    shapes = [np.asarray(cell).shape for cell in strip.cells]
    return width * min(2.0, max(shape[0] / shape[1] for shape in shapes))


def _wrapped(text: str, width: float, most: int) -> str:
    """The text in lines of this width in inches, at most so many."""
    across = int(width * 72 / (FONT * 0.56))
    lines = textwrap.wrap(style.drawable(text), across) or ["(empty)"]
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1][: across - 1]}…"]
    return "\n".join(lines)
