"""leaderboard.csv: one row per arm and metric, ranked within one fair_key; from records alone.

The unit of inference is the training seed. Floor, oracle and evaluations have no fair_key and are
never ranked. Nor are arms of a quick preset, which is too small to compare methods, arms whose
seeds are worth nothing (`gates`), and arms of different seeds (`note` names them; verdicts, which
are paired by seed, stay). A failed seed counts as `rows.Board.failed` says.

Columns after `verdict`: reference is the arm that the verdict is against, and stands in its own row
without one. difference (mean over common_seeds), diff_low and diff_high (90 % interval) compare the
arm with it, paired by seed and signed so that positive means that the arm is better, also where the
metric is better when lower. margin, in the metric's scale; p and p_holm, on primary scores that
were tested; detectable, the smallest difference that these seeds find in 80 % of repetitions; note,
the correction, and why there is no (stronger) word. See `verdicts` and `intervals`.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.records.record import Record
from benchmarks.report import gates, intervals, verdicts
from benchmarks.report.rows import Board, Row, boards

LEADER_COLUMNS = (
    "task score_key fair_key budget_kind budget_limit rank method model seeds metric better mean "
    "sd ci_low ci_high verdict reference common_seeds difference diff_low diff_high margin p "
    "p_holm detectable note"
).split()
Cells = dict[str, Any]


@dataclass
class Line:
    """An arm on one metric: what a row of leaderboard.csv is made of."""

    arm: Row
    better: str
    values: dict[int, float] | None  # by training seed
    comparison: verdicts.Comparison
    rank: int | None = None
    unranked: str = ""  # why no arm of the board has a rank
    judged: bool = False  # on the primary score
    margin: bool = False  # on the primary score, or the one that must not contradict it


def leader_rows(records: Iterable[Record]) -> list[Cells]:
    """Rows of leaderboard.csv: every arm of every fair_key, every metric, ranked."""
    every = [board for board in boards(records) if board.arms]
    every.sort(key=lambda board: (board.first.task, board.first.score_key, board.fair_key or ""))
    lines: list[Line] = []
    for board in every:
        same_items = [other for other in every if other.first.score_key == board.first.score_key]
        lines += _lines(board, gates.alone(board, same_items))
    verdicts.settle([line.comparison for line in lines if line.judged])
    return [_cells(line) for line in lines]


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV with these columns; None and missing values are empty, floats keep all digits."""
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(columns), dtype=object)
    return frame.to_csv(index=False, lineterminator="\n")


def _lines(board: Board, alone: gates.Closed | None) -> list[Line]:
    """All lines of one fair_key: metrics by name, arms by rank."""
    arms, primary = board.arms, board.first.primary
    scored = {name for arm in arms for run in arm.records for name in run.scores}
    if any(primary in floor.scores for floor in board.floors):
        scored.add(primary)  # where every run failed, the floor's value is theirs
    references = {arm.name: verdicts.reference_of(arm, arms) for arm in arms}
    closed = {arm.name: gates.of_pair(arm, references[arm.name]) or alone for arm in arms}
    barred = {arm.name for arm in arms if gates.of_arm(arm)}
    beside = verdicts.co_primary(primary, scored)
    lines: dict[tuple[str, str], Line] = {}
    for metric in sorted(scored):
        better = board.better[metric]
        values = {arm.name: board.values(arm, metric) for arm in arms}
        of_metric = []
        for arm in arms:
            comparison = _compare(arm, references[arm.name], metric, better, values)
            comparison.gate = comparison.gate or closed[arm.name]
            line = Line(arm, better, values[arm.name], comparison, unranked=board.uneven)
            line.judged, line.margin = metric == primary, metric in (primary, beside)
            of_metric.append(line)
        for line in _ranked(of_metric, barred):
            lines[line.arm.name, metric] = line
    for line in lines.values():
        other = lines.get((line.arm.name, beside or ""))
        if line.judged and other is not None:
            line.comparison.beside = other.comparison
    return list(lines.values())


def _compare(
    arm: Row,
    reference: Row | None,
    metric: str,
    better: str,
    values: Mapping[str, dict[int, float] | None],
) -> verdicts.Comparison:
    """An arm against its reference on one metric; no numbers where it has none or is its own."""
    first = arm.records[0]
    missing = [row.name for row in (arm, reference) if row is not None and not values[row.name]]
    ours = values[arm.name]
    theirs = None if reference is None or reference is arm else values[reference.name]
    numbers = intervals.paired(ours, theirs, better) if ours and theirs else None
    margin = intervals.margin_of(metric)
    return verdicts.Comparison(
        task=first.task,
        score_key=first.score_key,
        fair=first.fair.fair or {},
        metric=metric,
        arm=arm.name,
        method=arm.method,
        reference=None if reference is None else reference.name,
        against=None if reference is None else reference.method,
        numbers=numbers,
        margin=margin.around(numbers.reference) if margin and numbers else None,
        gate=("invalid", f"{missing[0]}: a seed has no {metric}") if missing else None,
    )


def _ranked(lines: list[Line], barred: Collection[str]) -> list[Line]:
    """Lines of one metric in the order of their ranks; without a mean, or barred, last and none."""
    ranked = {
        line.arm.name: statistics.fmean(line.values.values())
        * (-1 if line.better == "higher" else 1)
        for line in lines
        if line.values and line.arm.name not in barred and not line.unranked
    }
    means = sorted(ranked.values())
    for line in lines:
        if line.arm.name in ranked:
            line.rank = 1 + means.index(ranked[line.arm.name])
    return sorted(lines, key=lambda line: (line.rank or len(lines) + 1, line.arm.name))


def _cells(line: Line) -> Cells:
    """The row of a settled line."""
    first, comparison, numbers = line.arm.records[0], line.comparison, line.comparison.numbers
    values = list((line.values or {}).values())
    low, high = intervals.of_mean(values) or (None, None)
    cells: Cells = {
        "task": first.task,
        "score_key": first.score_key,
        "fair_key": first.fair_key,
        "budget_kind": first.budget.kind if first.budget else None,
        "budget_limit": first.budget.limit if first.budget else None,
        "rank": line.rank,
        "method": line.arm.name,
        "model": (first.fair.fair or {}).get("model"),
        "seeds": len(line.arm.seeds),
        "metric": comparison.metric,
        "better": line.better,
        "mean": statistics.fmean(values) if values else None,
        "sd": intervals.deviation(values),
        "ci_low": _nine(low),
        "ci_high": _nine(high),
        "reference": comparison.reference,
        "margin": _nine(comparison.margin) if line.margin else None,
    }
    notes = [f"no rank: {line.unranked}"] if line.unranked else []
    if numbers is not None:
        cells["common_seeds"], cells["difference"] = numbers.seeds, numbers.difference
        cells["diff_low"], cells["diff_high"] = map(_nine, numbers.interval or (None, None))
    if line.judged:
        cells["verdict"], cells["p_holm"] = comparison.verdict, _nine(comparison.p_holm)
        cells["p"] = _nine(numbers.p) if numbers and comparison.tested else None
        cells["detectable"] = _nine(numbers.detectable) if numbers else None
        notes += comparison.notes
    return {**dict.fromkeys(LEADER_COLUMNS), **cells, "note": "; ".join(notes)}


def _nine(value: float | None) -> float | None:
    """Nine significant digits: the last ones of a special function differ between processors."""
    return None if value is None else float(f"{value:.9g}")
