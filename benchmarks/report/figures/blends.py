"""Strips of interpolation and sums of captions: what lies between the codes of a trained arm.

Their cells are those of `benchmarks.tasks.sums`. Neither items nor sums are chosen by how they
look. The pictures are evidence of nothing but themselves: no score is computed of them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.records.samples import ROLES, Cell, Samples
from benchmarks.report.figures import style
from benchmarks.report.figures.grids import FONT, GAP, LINE, draw, head, place

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EDGE = 0.06  # inches left and right of the cells
TITLE = 0.36  # inches above the cells
LINES = 3  # of a caption
Below = Sequence[tuple[str, float, str]]  # a text, where it stands from 0 to 1, how it is aligned
SIGNS = dict(zip(ROLES, ("", "- ", "+ ", "= "), strict=True))


def strips(title: str, kept: Samples, captions: Samples, quick: bool) -> Figure:
    """A strip for each pair of items, with the caption of either end below.

    kept: cells `<a>~<b>@<weight>`. captions: the texts of the items.
    """
    texts = dict(zip(captions.ids, captions.cells, strict=True))
    rows: list[tuple[Sequence[Cell], Below]] = []
    shown: Sequence[Cell] = kept.cells
    for pair, cells in groupby(zip(kept.ids, shown, strict=True), lambda c: _ends(c[0])):
        pictures = [cell for _, cell in cells]
        absent = [name for name in pair if name not in texts]
        if absent:
            raise style.NothingToShowError(f"no caption of {', '.join(absent)}")
        ends = [(str(texts[pair[0]]), 0.0, "left"), (str(texts[pair[1]]), 1.0, "right")]
        rows.append((pictures, ends))
    return _figure(title, "straight lines between the codes of two captions", rows, quick)


def sums(title: str, kept: Samples, quick: bool) -> Figure:
    """Rows of start, minus, plus and what their sum gives, with what each should show below.

    kept: cells `<number> <role>: <text>`.
    """
    rows: list[tuple[Sequence[Cell], Below]] = []
    shown: Sequence[Cell] = kept.cells
    named = [(*_role(name), cell) for name, cell in zip(kept.ids, shown, strict=True)]
    for _, four in groupby(named, lambda cell: cell[0]):
        cells = list(four)
        if [role for _, role, _, _ in cells] != list(ROLES):
            continue  # the file was full in the middle of a sum
        width = 1 / len(ROLES)
        below = [
            (SIGNS[role] + text, (place + 0.5) * width, "center")
            for place, (_, role, text, _) in enumerate(cells)
        ]
        rows.append(([cell for *_, cell in cells], below))
    return _figure(title, "sums of codes; below the sum, what it should show", rows, quick)


def _ends(name: str) -> tuple[str, str]:
    first, _, rest = name.partition("~")
    return first, rest.rpartition("@")[0]


def _role(name: str) -> tuple[str, str, str]:
    """number, role, text."""
    about, _, text = name.partition(": ")
    number, _, role = about.partition(" ")
    return number, role, text


def _figure(
    title: str, note: str, rows: Sequence[tuple[Sequence[Cell], Below]], quick: bool
) -> Figure:
    from matplotlib.figure import Figure

    if not rows:
        raise style.NothingToShowError("no whole row of cells")
    columns = len(rows[0][0])
    width = (style.WIDTH - 2 * EDGE - GAP * (columns - 1)) / columns
    wrapped = [[(_wrap(text, len(below)), x, side) for text, x, side in below] for _, below in rows]
    under = [LINE * (0.6 + max(t.count("\n") + 1 for t, _, _ in below)) for below in wrapped]
    above = TITLE + (0.12 if quick else 0)
    figure = Figure(figsize=(style.WIDTH, above + sum(width + high for high in under)))
    top = figure.get_size_inches()[1] - above
    for (cells, _), below, high in zip(rows, wrapped, under, strict=True):
        for column, cell in enumerate(cells):
            left = EDGE + column * (width + GAP)
            draw(place(figure, left, top - width, width, width), np.asarray(cell))
        top -= width
        _write(figure, below, top)
        top -= high
    head(figure, title, note, quick)
    return figure


def _wrap(text: str, beside: int) -> str:
    across = int((style.WIDTH - 2 * EDGE) / beside * 72 / (FONT * 0.56))
    lines = textwrap.wrap(style.drawable(text), across) or ["(empty)"]
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], f"{lines[LINES - 1][: across - 1]}…"]
    return "\n".join(lines)


def _write(figure: Figure, below: Below, top: float) -> None:
    """Texts under the cells that end at `top` inches."""
    width, height = figure.get_size_inches()
    for text, x, side in below:
        left = (EDGE + x * (style.WIDTH - 2 * EDGE)) / width
        figure.text(left, (top - 0.02) / height, text, ha=side, va="top", fontsize=FONT)
