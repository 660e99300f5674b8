"""The page's content as one plain dictionary: texts, numbers as text, pictures as data URIs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.records.record import Record
from benchmarks.report import published, tables
from benchmarks.report.page import chart, curves, extremes, fairness, gallery, overview, rows
from benchmarks.report.page.shown import Comparison, comparisons


def build(records: Sequence[Record], out: Path) -> dict[str, Any]:
    """All that the template shows. Reads items, curves and samples of the shown comparisons.

    The order of `records` has no effect.
    """
    records = sorted(records, key=lambda record: (record.task, record.run_id))
    shown, left_out = comparisons(records)
    methods = chart.palette({name for one in shown for name in one.names.values()})
    leaders = rows.leader_rows(records)
    ends = {one.number: extremes.of(one, out) for one in shown}
    # Where not all galleries fit on a page, quick ones go first.
    galleries, too_large = gallery.within(
        [gallery.of(one, out, ends[one.number][1]) for one in sorted(shown, key=_quick_last)]
    )
    return {
        "facts": overview.facts(records),
        "quick": tables.QUICK,
        "left_out": left_out,
        "verdicts": [overview.verdicts(one, leaders) for one in shown],
        "leaderboard": rows.leaders(leaders),
        "comparisons": [
            {
                "anchor": one.anchor,
                "title": one.title,
                "quick": one.quick,
                "table": _table(table, one),
                "curves": curves.of(one, out, methods),
                "ends": ends[one.number][0],
            }
            for one, table in zip(shown, _tables(shown), strict=True)
        ],
        "budgets": curves.budgets(shown, methods),
        "galleries": galleries,
        "gallery_data": [gallery.data(one) for one in galleries],
        "gallery_notes": too_large,
        "proofs": [fairness.proof(one) for one in shown],
        "proof_header": fairness.HEADER,
        "runs": rows.runs(records),
        "published": _published(records),
    }


def _quick_last(one: Comparison) -> tuple[bool, int]:
    return one.quick, one.number


def _tables(shown: Sequence[Comparison]) -> list[tables.Table]:
    """One table per comparison; records of the same score_key share their framing rows."""
    found: list[tables.Table] = []
    for task in dict.fromkeys(one.task for one in shown):
        of_task = {r.run_id: r for one in shown if one.task == task for r in one.records}
        found += tables.build(list(of_task.values()))
    return found


def _table(table: tables.Table, one: Comparison) -> dict[str, Any]:
    if (table.score_key, table.fair_key) != (one.score_key, one.fair_key):
        raise ValueError(f"the table of {one.title} is of {table.score_key}, {table.fair_key}")
    return {
        "title": table.title,
        "notes": table.notes,
        "header": table.header,
        "rows": table.rows,
        "footnotes": table.footnotes,
    }


def _published(records: Sequence[Record]) -> dict[str, Any]:
    """What papers print on the data of the page's tasks; nothing for the embedded ones."""
    found = []
    for task in sorted({record.task for record in records}):
        for table in published.build(published.rows(task)):
            found.append(
                {
                    "title": table.title,
                    "notes": table.notes,
                    "header": table.header,
                    "rows": table.rows,
                    "footnotes": table.footnotes,
                }
            )
    return {"tables": found, "preface": published.PREFACE, "mark": published.STATUS}
