"""leaderboard.csv: one row per arm and metric, ranked within one fair_key; from records alone.

The unit of inference is the training seed. Not ranked: floor, oracle and evaluations, which have no
fair_key; arms that a gate bars (`gates.of_arm`); arms of different seeds (`note` names them). A
failed seed counts as `rows.Board.failed` says. After `verdict` stands the `reference` that it is
against, empty in its own row; difference (mean over common_seeds, positive where the arm is
better), its 90 % interval, margin in the metric's scale, p and p_holm of primary scores that were
tested; detectable, the smallest difference that these seeds find in 80 % of repetitions; note, the
correction, and why there is no (stronger) word. See `verdicts` and `intervals`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.records.record import Record
from benchmarks.report import gates, intervals, verdicts
from benchmarks.report.rows import Board, Row, boards
from benchmarks.report.verdicts import Comparison

LEADER_COLUMNS = (
    "task score_key fair_key budget_kind budget_limit rank method model seeds metric better mean "
    "sd ci_low ci_high verdict reference common_seeds difference diff_low diff_high margin p "
    "p_holm detectable note"
).split()
Cells = dict[str, Any]


def leader_rows(records: Iterable[Record]) -> list[Cells]:
    """Rows of leaderboard.csv: every arm of every fair_key, every metric, ranked."""
    every = [board for board in boards(records) if board.arms]
    every.sort(key=lambda board: (board.first.task, board.first.score_key, board.fair_key or ""))
    compared = []
    for board in every:
        same_items = [other for other in every if other.first.score_key == board.first.score_key]
        compared += [(board, one) for one in _compared(board, gates.alone(board, same_items))]
    verdicts.settle([one for _, one in compared if one.metric == one.first.primary])
    return [_cells(board, one) for board, one in compared]


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV with these columns; None and missing values are empty, floats keep all digits."""
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(columns), dtype=object)
    return frame.to_csv(index=False, lineterminator="\n")


def _compared(board: Board, alone: gates.Closed | None) -> list[Comparison]:
    """Every arm of one fair_key on every metric: metrics by name, arms by rank."""
    arms, primary = board.arms, board.first.primary
    scored = {name for arm in arms for run in arm.records for name in run.scores}
    if board.failed(primary) is not None:
        scored.add(primary)  # where every run failed, the floor's value is theirs
    references = {arm.name: verdicts.reference_of(arm, arms) for arm in arms}
    closed = {arm.name: gates.of_pair(arm, references[arm.name]) or alone for arm in arms}
    every: dict[tuple[str, str], Comparison] = {}
    for metric in sorted(scored):
        of_metric = [_compare(board, arm, references[arm.name], metric) for arm in arms]
        for one in of_metric:
            one.gate = one.gate or closed[one.arm.name]
        every |= {(one.arm.name, metric): one for one in _ranked(board, of_metric)}
    for (name, metric), one in every.items():
        if metric == primary:
            one.beside = every.get((name, verdicts.co_primary(primary, scored) or ""))
    return list(every.values())


def _compare(board: Board, arm: Row, reference: Row | None, metric: str) -> Comparison:
    """An arm against its reference on one metric; no numbers where it has none or is its own."""
    better, ours = board.better[metric], board.values(arm, metric)
    theirs = board.values(reference, metric) if reference else None
    numbers = None
    if reference is not arm and ours and theirs:
        numbers = intervals.paired(ours, theirs, better)
    margin = intervals.margin_of(metric, numbers.reference) if numbers else None
    missing = [row.name for row, of in ((arm, ours), (reference, theirs)) if row and not of]
    gate = ("invalid", f"{missing[0]}: a seed has no {metric}") if missing else None
    return Comparison(arm, reference, metric, better, ours, numbers, margin, gate)


def _ranked(board: Board, of_metric: list[Comparison]) -> list[Comparison]:
    """In the order of ranks; without a mean, or barred from one, last and none."""
    means = {
        one.arm.name: statistics.fmean(one.values.values())
        for one in of_metric
        if one.values and not board.uneven and not gates.of_arm(one.arm)
    }
    ordered = sorted(means.values(), reverse=of_metric[0].better == "higher")
    for one in of_metric:
        if one.arm.name in means:
            one.rank = 1 + ordered.index(means[one.arm.name])
    return sorted(of_metric, key=lambda one: (one.rank or len(of_metric) + 1, one.arm.name))


def _cells(board: Board, one: Comparison) -> Cells:
    """The row of a settled comparison."""
    first, numbers, primary = one.first, one.numbers, one.first.primary
    values = list((one.values or {}).values())
    low, high = intervals.of_mean(values) or (None, None)
    judged = one.metric == primary
    beside = verdicts.co_primary(primary, board.better)
    notes = [f"no rank: {board.uneven}"] if board.uneven else []
    cells: Cells = {
        "task": first.task,
        "score_key": first.score_key,
        "fair_key": first.fair_key,
        "budget_kind": first.budget.kind if first.budget else None,
        "budget_limit": first.budget.limit if first.budget else None,
        "rank": one.rank,
        "method": one.arm.name,
        "model": one.fair.get("model"),
        "seeds": len(one.arm.seeds),
        "metric": one.metric,
        "better": one.better,
        "mean": statistics.fmean(values) if values else None,
        "sd": intervals.deviation(values),
        "ci_low": _nine(low),
        "ci_high": _nine(high),
        "reference": one.reference.name if one.reference else None,
        "margin": _nine(one.margin) if one.metric in (primary, beside) else None,
    }
    if numbers is not None:
        cells["common_seeds"], cells["difference"] = numbers.seeds, numbers.difference
        cells["diff_low"], cells["diff_high"] = map(_nine, numbers.interval or (None, None))
    if judged:
        cells["verdict"], cells["p_holm"] = one.verdict, _nine(one.p_holm)
        cells["p"] = _nine(numbers.p) if numbers and one.tested else None
        cells["detectable"] = _nine(numbers.detectable) if numbers else None
        notes += one.notes
    return {**dict.fromkeys(LEADER_COLUMNS), **cells, "note": "; ".join(notes)}


def _nine(value: float | None) -> float | None:
    """Nine significant digits: the last ones of a special function differ between processors."""
    return None if value is None else float(f"{value:.9g}")
