"""Qualitative grids: source, truth and what each arm made of the same first items.

The items are the first of the split, not chosen. Depth has one colour map and range, that of the
truth, and below each arm its relative error. Texts are drawn, never interpreted.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.records import samples
from benchmarks.records.samples import Samples, depth_colours, depth_range
from benchmarks.report.figures import style
from benchmarks.report.figures.style import NothingToShowError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL = 0.62  # inches left of the cells
GAP = 0.04
TITLE, BARS = 0.36, 0.5  # inches above and below the cells
FONT = 6.5  # points, of captions
LINE = FONT * 1.2 / 72  # inches
MOST_LINES = 8
LARGEST_ERROR = 0.5  # of the true depth: the end of the colours of error maps


@dataclass(frozen=True)
class Row:
    """A row of cells: pictures, colours of depth, or wrapped texts. height: of a cell, inches."""

    label: str
    cells: Sequence[np.ndarray | str]
    height: float


def grid(title: str, kept: Mapping[str, Samples], quick: bool) -> Figure:
    """kept: `source`, `truth` and the arms, in the order of the rows; ids need not be equal.

    A source of texts stands below the rows as their caption.
    """
    from matplotlib.figure import Figure

    ids = samples.common(kept)
    texts = any(row.kind == "text" for row in kept.values())
    ids = ids[: 3 if texts else 4]
    if not ids:
        raise NothingToShowError("the rows have no item in common")
    width = (style.WIDTH - LABEL - GAP * len(ids)) / len(ids)
    cells = {name: _of(row, ids) for name, row in kept.items()}
    metres = depth_range(cells["truth"])
    rows = _rows(kept, cells, width, metres)
    depth = kept["truth"].kind == "depth"
    below = BARS if depth else GAP
    height = TITLE + sum(row.height + GAP for row in rows) + below + (0.12 if quick else 0)
    figure = Figure(figsize=(style.WIDTH, height))
    top = height - TITLE - (0.12 if quick else 0)
    for row in rows:
        for column, cell in enumerate(row.cells):
            left = LABEL + column * (width + GAP)
            axes = place(figure, left, top - row.height, width, row.height)
            draw(axes, cell)
            if column == 0:
                _name(figure, row, top)
        top -= row.height + GAP
    if depth and metres is not None:
        _colour_bars(figure, metres, top)
    head(figure, title, "the first items of the split, not chosen", quick)
    return figure


def _name(figure: Figure, row: Row, top: float) -> None:
    """The row's label, beside the middle of pictures and the first line of texts."""
    texts = isinstance(row.cells[0], str)
    y = top - (0.08 * row.height if texts else row.height / 2)
    width, height = figure.get_size_inches()
    aligned: dict[str, Any] = {"ha": "right", "va": "top" if texts else "center"}
    figure.text((LABEL - 0.05) / width, y / height, row.label, fontsize=7, **aligned)


def _of(row: Samples, ids: Sequence[str]) -> list[Any]:
    by_id = dict(zip(row.ids, row.cells, strict=True))
    return [by_id[name] for name in ids]


def _rows(
    kept: Mapping[str, Samples],
    cells: Mapping[str, list[Any]],
    width: float,
    metres: tuple[float, float] | None,
) -> list[Row]:
    """Rows from top to bottom: a source of texts last, errors below the arm they are of."""
    rows = []
    for name in sorted(kept, key=lambda name: name == "source" and kept[name].kind == "text"):
        label = style.drawable(name).replace("_", "\n")
        if kept[name].kind == "text":
            rows.append(_text_row("caption" if name == "source" else label, cells[name], width))
        elif kept[name].kind == "depth":
            if metres is None:
                raise NothingToShowError("the truth has no measured depth")
            colours = [depth_colours(cell, *metres) for cell in cells[name]]
            rows.append(_picture_row(label, colours, width))
            if name != "truth":
                errors = [_errors(c, t) for c, t in zip(cells[name], cells["truth"], strict=True)]
                rows.append(_picture_row("error", errors, width))
        else:
            rows.append(_picture_row(label, cells[name], width))
    return rows


def _picture_row(label: str, cells: Sequence[Any], width: float) -> Row:
    """As high as its tallest picture at full width; pictures keep their proportions."""
    tall = max(cell.shape[0] / cell.shape[1] for cell in cells)
    return Row(label, cells, width * min(tall, 2.0))


def _text_row(label: str, texts: Sequence[str], width: float) -> Row:
    across = int(width * 72 / (FONT * 0.56))
    wrapped = []
    for text in texts:
        lines = textwrap.wrap(style.drawable(text), across) or ["(empty)"]
        if len(lines) > MOST_LINES:
            lines = [*lines[: MOST_LINES - 1], f"{lines[MOST_LINES - 1][: across - 1]}…"]
        wrapped.append("\n".join(lines))
    return Row(label, wrapped, LINE * (0.9 + max(text.count("\n") + 1 for text in wrapped)))


def _errors(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """|depth - truth| / truth as colours; grey where either was not measured."""
    from matplotlib import colormaps

    if depth.shape != truth.shape:
        raise NothingToShowError(f"a map of {depth.shape} stands beside a truth of {truth.shape}")
    measured = (truth > 0) & (depth > 0)
    relative = np.abs(depth - truth) / np.where(measured, truth, 1)
    colours = colormaps["viridis"](np.clip(relative / LARGEST_ERROR, 0, 1))[..., :3]
    shown = (colours * 255).round().astype(np.uint8)
    shown[~measured] = 128
    return shown


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    whole_width, whole_height = figure.get_size_inches()
    return figure.add_axes(
        (left / whole_width, bottom / whole_height, width / whole_width, height / whole_height)
    )


def draw(axes: Axes, cell: np.ndarray | str) -> None:
    """A picture, or a text below the top of its cell."""
    axes.set_axis_off()
    if isinstance(cell, str):
        axes.text(0.5, 0.92, cell, ha="center", va="top", fontsize=FONT, transform=axes.transAxes)
    else:
        axes.imshow(cell, interpolation="nearest")


def _colour_bars(figure: Figure, metres: tuple[float, float], top: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = metres
    length = (style.WIDTH - LABEL - 0.3) / 2
    distances = LogNorm(low, max(high, low * 1.001))
    errors = Normalize(0, LARGEST_ERROR)
    kinds: list[tuple[str, str, Normalize, list[float], Any]] = [
        ("depth (m)", "magma_r", distances, _metre_ticks(low, high), "neither"),
        ("|error| / truth", "viridis", errors, [0, 0.25, 0.5], "max"),
    ]
    for number, (name, colours, norm, ticks, extend) in enumerate(kinds):
        axes = place(figure, LABEL + number * (length + 0.2), top - 0.12, length, 0.08)
        seen = ScalarMappable(norm, colours)
        bar = figure.colorbar(seen, cax=axes, orientation="horizontal", extend=extend)
        bar.set_label(name, fontsize=7, labelpad=1)
        bar.ax.xaxis.set_major_locator(FixedLocator(ticks))
        bar.ax.xaxis.set_minor_locator(NullLocator())
        bar.ax.xaxis.set_major_formatter(FuncFormatter(style.quantity))
        bar.ax.tick_params(labelsize=6.5, length=2, pad=1)
        bar.outline.set_linewidth(0.4)


def _metre_ticks(low: float, high: float) -> list[float]:
    """Round depths within the range, at most five."""
    rounds = [m * 10.0**e for e in range(-2, 3) for m in (1, 2, 3, 5, 7)]
    inside = [value for value in rounds if low <= value <= high]
    while len(inside) > 5:
        inside = inside[::2]
    return inside


def head(figure: Figure, title: str, note: str, quick: bool) -> None:
    """Title, the warning where nothing may be concluded, and what is shown, above the cells."""
    height = figure.get_size_inches()[1]
    lines = [(title, 8, "black"), (note, 7, style.NOTE)]
    if quick:
        lines.insert(1, (style.QUICK, 7, style.WARNING))
    for line, (text, size, colour) in enumerate(lines):
        y = 1 - (0.03 + 0.14 * line) / height
        figure.text(0.02, y, text, va="top", fontsize=size, color=colour)
