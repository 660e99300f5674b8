r"""Columns of a LaTeX table: siunitx S columns for numbers, plain ones for text."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.report.columns import decimals, heading
from benchmarks.report.latex_text import escape
from benchmarks.report.rows import Row
from benchmarks.report.tables import ARROWS, FIRST, SECOND, Table, marks

ABSENT = "{--}"
# From here on a number is written with a power of ten: a diverged run must not widen the column.
LARGE = 1e5


@dataclass(frozen=True)
class Column:
    r"""One column, all of it LaTeX. format: for \begin{tabular}; above, below: two rows of heads.

    width: how many columns it is to LaTeX. Means with deviations are two; each of the heads and
    cells then says so.
    """

    width: int
    format: str
    above: str
    below: str
    cells: list[str]


def metrics(table: Table, wanted: Sequence[str]) -> list[Column]:
    """Some scores of a table, rounded as a paper does, the best arms marked by what is shown."""
    board, names = table.board, table.metrics
    assert board is not None
    places = marks(board, names, lambda name, x: float(_fixed(x, decimals(name))))
    found = []
    for name in wanted:
        which = names.index(name)
        values = [list((board.values(row, name) or {}).values()) for row in board.rows]
        means = [statistics.fmean(of_row) if of_row else None for of_row in values]
        above, below = heading(name)
        found.append(
            numbers(
                f"{above} {ARROWS[board.better[name]]}",
                below,
                [None if mean is None else _fixed(mean, decimals(name)) for mean in means],
                [places.get((row, which)) for row in range(len(values))],
                [_deviation(of_row, decimals(name)) for of_row in values],
            )
        )
    return found


def costs(rows: Sequence[Row]) -> list[Column]:
    """Network calls a sample, and millions of parameters; none where no row has a network."""
    models = [row.completed[-1].model for row in rows]
    if not any(models):
        return []
    calls = [None if model is None else str(model.nfe) for model in models]
    sizes = [None if model is None else f"{model.params / 1e6:.2f}" for model in models]
    return [numbers("NFE", "", calls), numbers("Params (M)", "", sizes)]


def numbers(
    above: str,
    below: str,
    shown: Sequence[str | None],
    places: Sequence[int | None] = (),
    deviations: Sequence[str | None] = (),
) -> Column:
    """An S column of decimal numbers, None where there is none; a second for deviations, if any.

    above, below: text. places: FIRST is printed bold, SECOND underlined.
    """
    spread = any(deviations)
    cells = []
    for row, number in enumerate(shown):
        cell = ABSENT if number is None else _number(number, places[row] if places else None)
        if spread:
            deviation = deviations[row]
            cell += " & " + (f"{{\\scriptsize$\\pm$\\,{deviation}}}" if deviation else "")
        cells.append(cell)
    small = [number for number in shown if number is not None and not _is_large(number)]
    whole = max((len(number.lstrip("-").split(".")[0]) for number in small), default=1)
    digits = max((len(number.partition(".")[2]) for number in small), default=0)
    sign = "-" if any(number.startswith("-") for number in small) else ""
    protocol = f"\\scriptsize {escape(below)}" if below else ""
    around = r"\multicolumn{2}{c}{%s}" if spread else "{%s}"
    return Column(
        1 + spread,
        f"S[table-format={sign}{whole}.{digits}]" + (r"@{\,}l" if spread else ""),
        around % escape(above),
        around % protocol,
        cells,
    )


def texts(above: str, shown: Sequence[str]) -> Column:
    """A column of text, on the right like the numbers beside it."""
    return Column(1, "r", escape(above), "", [escape(text) for text in shown])


def tabular(names: Sequence[str], found: Sequence[Column], breaks: Sequence[int]) -> list[str]:
    """The lines of a tabular: names (LaTeX) in the first column, a rule before some rows."""
    lines = [
        f"\\begin{{tabular}}{{l {' '.join(column.format for column in found)}}}",
        r"\toprule",
        " & ".join(["Method", *(column.above for column in found)]) + r" \\",
    ]
    below = [column.below for column in found]
    if any("scriptsize" in head for head in below):
        lines.append(" & ".join(["", *below]) + r" \\")
    lines.append(r"\midrule")
    for row, name in enumerate(names):
        if row in breaks:
            lines.append(r"\midrule")
        lines.append(" & ".join([name, *(column.cells[row] for column in found)]) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _fixed(number: float, digits: int) -> str:
    """Rounded to so many decimals; never a negative zero."""
    return f"{number:z.{digits}f}"


def _deviation(values: Sequence[float], digits: int) -> str | None:
    """Standard deviation over seeds; None for one seed."""
    return None if len(values) < 2 else _fixed(statistics.stdev(values), digits)


def _is_large(number: str) -> bool:
    return abs(float(number)) >= LARGE


def _number(number: str, place: int | None) -> str:
    if _is_large(number):
        number = f"{float(number):.2e}"
        whole = {FIRST: r"{\bfseries\num{%s}}", SECOND: r"{\underline{\num{%s}}}"}
        return whole.get(place or 0, r"{\num{%s}}") % number
    if place == FIRST:
        return rf"\bfseries {number}"
    return f"{number}\\secondbest{{{number}}}" if place == SECOND else number
