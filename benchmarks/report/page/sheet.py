"""Long tables: a column is a list of distinct values, in order, and one index into it per row.

Ten thousand records make a leaderboard of a hundred thousand cells with few distinct texts. Texts
and their order are decided here, so that the script sorts integers and formats no number: the page
shows the same digits with and without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

ROWS_WITHOUT_SCRIPT = 300
ABSENT = "–"

# A cell: what it is sorted by (numbers, or text, or tuples of them; one kind a column) and its
# text. None where there is nothing.
Cell = tuple[Any, str] | None


@dataclass(frozen=True)
class Column:
    """One column. filter: whether it has a menu of its values.

    kind: how cells look: `text`, `long`, `number`, `key`, `verdict` or `command`.
    """

    label: str
    cell: Callable[[Any], Cell]
    kind: str = "text"
    filter: bool = False


def sheet(
    name: str, columns: Sequence[Column], rows: Sequence[Any], first: Callable[[Any], bool]
) -> dict[str, Any]:
    """Data for the script, and the rows that stand on the page without it.

    first(row): whether the row is shown before anybody chooses otherwise.
    """
    packed = [_pack(column, rows) for column in columns]
    chosen = [index for index, row in enumerate(rows) if first(row)]
    shown = chosen[:ROWS_WITHOUT_SCRIPT]
    return {
        "name": name,
        "columns": packed,
        "rows": [
            [
                {
                    "text": column["texts"][code] if (code := column["codes"][index]) >= 0 else "",
                    "kind": column["kind"],
                }
                for column in packed
            ]
            for index in shown
        ],
        "total": len(rows),
        "chosen": len(chosen),
        "data": {
            "columns": packed,
            "first": None if len(chosen) == len(rows) else chosen,
            "count": len(rows),
        },
    }


def _pack(column: Column, rows: Sequence[Any]) -> dict[str, Any]:
    cells = [column.cell(row) for row in rows]
    # Numbers that differ may be written alike: both order and text tell cells apart.
    distinct = sorted({cell for cell in cells if cell is not None})
    codes = {cell: code for code, cell in enumerate(distinct)}
    return {
        "label": column.label,
        "kind": column.kind,
        "filter": column.filter,
        "texts": [text for _, text in distinct],
        "codes": [-1 if cell is None else codes[cell] for cell in cells],
    }


def text(value: Any) -> Cell:
    """A cell of text; nothing for None and the empty text."""
    return None if value is None or value == "" else (str(value), str(value))


def number(value: float | None, form: str = ".4g") -> Cell:
    """A cell with a number, sorted by its full value."""
    return None if value is None else (float(value), format(value, form))


def span(low: float | None, high: float | None) -> Cell:
    """An interval, sorted by its lower end."""
    if low is None or high is None:
        return None
    return (float(low), float(high)), f"{low:.4g} to {high:.4g}"
