"""Scores of single items: the best and the worst of each row, for one run of the lowest seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.records.record import Record
from benchmarks.report import curves
from benchmarks.report.page.shown import Comparison
from benchmarks.report.tables import ARROWS
from crossflow.errors import InputError

MOST = 5  # items shown at each end
LONGEST = 160  # characters of a text shown beside a score


@dataclass(frozen=True)
class Items:
    """The items file of one record. metric: the score items are ordered by."""

    record: Record
    metric: str
    better: str
    rows: list[dict[str, Any]]

    def scored(self) -> list[tuple[float, dict[str, Any]]]:
        """(value, row) of items that have a value, best first, equal ones by id."""
        found = [(row[self.metric], row) for row in self.rows if not math.isnan(row[self.metric])]
        sign = -1 if self.better == "higher" else 1
        return sorted(found, key=lambda pair: (sign * pair[0], pair[1]["id"]))

    def scores(self) -> dict[str, str]:
        """id -> value as text."""
        return {row["id"]: f"{value:.4g}" for value, row in self.scored()}


def read(record: Record, out: Path) -> Items | None:
    """The items of a record; None without a file, or without a score of single items in it.

    Ordered by the primary score, or where items have none (KID is of all items at once) by the
    first column that is a score of the record.
    """
    table = curves.items([record], out)
    scores = [record.primary, *table.columns]
    metric = next((one for one in scores if one in table.columns and one in record.scores), None)
    if metric is None or table.empty:
        return None
    if (table[metric].abs() == math.inf).any():
        raise InputError(f"items of {record.run_id}: {metric} is infinite; run again")
    rows = [{str(name): cell for name, cell in row.items()} for row in table.to_dict("records")]
    return Items(record, metric, record.scores[metric].better, rows)


def of(comparison: Comparison, out: Path) -> tuple[dict[str, Any], dict[str, Items]]:
    """Best and worst items of each row of a comparison, and the items by run_id."""
    found: dict[str, Items] = {}
    without = []
    for record in comparison.lowest_seed():
        items = read(record, out)
        if items is None:
            without.append(comparison.names[record.run_id])
        else:
            found[record.run_id] = items
    table = {
        "rows": [_ends(items, comparison.label(items.record)) for items in found.values()],
        "without": ", ".join(without),
        "quick": comparison.quick,
    }
    return table, found


def _ends(items: Items, named: str) -> dict[str, Any]:
    ordered = items.scored()
    return {
        "method": named,
        "run_id": items.record.run_id,
        "metric": f"{items.metric} {ARROWS[items.better]}",
        "primary": items.metric == items.record.primary,
        "count": len(ordered),
        "best": [_item(value, row) for value, row in ordered[:MOST]],
        "worst": [_item(value, row) for value, row in reversed(ordered[-MOST:])],
    }


def _item(value: float, row: dict[str, Any]) -> dict[str, str]:
    """id, score and the item's own words: a caption, or the level it belongs to."""
    said = row.get("caption") or row.get("level") or ""
    if len(said) > LONGEST:
        said = said[: LONGEST - 1] + "…"
    return {"id": row["id"], "value": f"{value:.4g}", "said": said}
