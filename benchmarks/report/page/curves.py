"""What the page draws: quality against network evaluations, guidance and budget.

Scores only. Losses are never drawn: those of two arms have different targets.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from benchmarks.records.keys import digest
from benchmarks.records.record import Record
from benchmarks.report import curves as tables
from benchmarks.report.page import chart
from benchmarks.report.page.shown import Comparison
from benchmarks.report.rows import by
from benchmarks.report.tables import QUICK
from crossflow.errors import InputError

RUNS = 60  # of one comparison whose curves are read

# sweep of the curves file -> column on the x axis, its name, base of its logarithm
SWEEPS: dict[str, tuple[str, str, Literal[2] | None]] = {
    "steps": ("nfe", "number of function evaluations", 2),
    "guidance": ("guidance", "guidance weight", None),
}

Points = dict[str, dict[float, list[float]]]
"""arm -> x -> one value per seed."""


def of(comparison: Comparison, out: Path, methods: Sequence[str]) -> dict[str, Any]:
    """Charts of one comparison from the curves files of its arms, and what is missing of them."""
    found: dict[tuple[str, str], Points] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    done = [record for record in comparison.arms if record.status == "completed"]
    table = tables.curves(done[:RUNS], out)
    for row in table.to_dict("records"):
        place, value = float(row[SWEEPS[row["sweep"]][0]]), float(row["value"])
        if not (math.isfinite(place) and math.isfinite(value)):
            raise InputError(f"curves of {row['run_id']}: a value is not finite; run again")
        name = comparison.names[row["run_id"]]
        found[row["sweep"], row["metric"]][name][place].append(value)
    without = tables.without(done[:RUNS], out, "curves")
    charts = []
    for (sweep, metric), series in sorted(found.items()):
        _, label, base = SWEEPS[sweep]
        charts.append(
            chart.lines(
                title=f"{comparison.task}: {metric} against {label}, on validation items",
                x=label,
                y=metric,
                series=series,
                methods=methods,
                base=base,
            )
        )
    return {"charts": charts, "notes": _notes(done, without)}


def _notes(done: Sequence[Record], without: Sequence[str]) -> list[str]:
    notes = []
    if done and len(without) == len(done[:RUNS]):
        notes.append("no curves were measured for this comparison (sampling.curve is empty)")
    elif without:
        notes.append(f"no curves file for {', '.join(without)}")
    if len(done) > RUNS:
        notes.append(f"curves of {RUNS} of {len(done)} runs are drawn")
    return notes


def budgets(shown: Sequence[Comparison], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Per task, the primary score on test items against the budget, where there are two or more.

    Drawn together are comparisons that differ in nothing but the limit.
    """
    charts = []
    arms = [record for one in shown for record in one.arms if record.status == "completed"]
    names = {run: name for one in shown for run, name in one.names.items()}
    for (task, _), group in by(arms, "task", "score_key").items():
        for alike in _but_for_the_limit(group).values():
            series: Points = defaultdict(lambda: defaultdict(list))
            for record in alike:
                if record.budget is not None and record.primary in record.scores:
                    value = record.scores[record.primary].value
                    series[names[record.run_id]][record.budget.limit].append(value)
            if len({limit for values in series.values() for limit in values}) < 2:
                continue
            first = alike[0]
            kind = first.budget.kind if first.budget else ""
            quick = f" ({QUICK})" if any(record.quick for record in alike) else ""
            charts.append(
                chart.lines(
                    title=f"{task}: {first.primary} on test items against budget{quick}",
                    x=f"budget an arm, {kind}",
                    y=first.primary,
                    series=series,
                    methods=methods,
                    base=10,
                )
            )
    return charts


def _but_for_the_limit(records: Sequence[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        fair = {k: v for k, v in (record.fair.fair or {}).items() if k != "budget_limit"}
        groups[digest(fair)].append(record)
    return groups
