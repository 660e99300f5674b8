"""runs.csv and leaderboard.csv: one row per score, one row per arm and metric; from records alone.

The unit of inference is the training seed. Ranks are given within one fair_key only; floor, oracle
and evaluation rows have none and are never ranked. Nor are arms of a quick preset, which is too
small to compare methods, and arms whose seeds are worth nothing (`gates`). Where the arms of one
fair_key have different seeds, no arm has a rank, and `note` names the seeds of each: verdicts,
which are paired by seed, stay. A failed seed counts as the worse of the floor and the worst
completed run (`arms.value_of_failed`).

Columns of leaderboard.csv after `verdict`: reference is the arm that the verdict is against, and
stands in its own row without one. difference (mean over common_seeds), diff_low and diff_high
(90 % interval) compare the arm with it, paired by seed and signed so that positive means that the
arm is better, also where the metric is better when lower. margin, in the metric's scale; p and
p_holm, on primary scores that were tested; detectable, the smallest difference that these seeds
find in 80 % of repetitions; note, the correction, and why there is no (stronger) word. See
`verdicts` and `intervals`. What a special function computed is given to nine digits, so that
another processor gives the same bytes.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.records.record import Record
from benchmarks.report import framing, gates, intervals, verdicts
from benchmarks.report.arms import Arm, arms, by, uneven_seeds, value_of_failed, values_by_seed
from benchmarks.report.gates import clock_is_invalid

__all__ = [  # with what other reports need to read records in the same way
    "LEADER_COLUMNS",
    "RUN_COLUMNS",
    "Arm",
    "arms",
    "by",
    "clock_is_invalid",
    "csv_text",
    "leader_rows",
    "run_rows",
]

RUN_COLUMNS = (
    "run_id match kind task task_version split level method model track seed budget_kind "
    "budget_limit steps samples device_seconds train_flops sample_flops params params_encoder "
    "solver nfe guidance device threads precision peak_memory metric better value stderr n "
    "score_key fair_key status commit created"
).split()
LEADER_COLUMNS = (
    "task score_key fair_key budget_kind budget_limit rank method model seeds metric better mean "
    "sd ci_low ci_high verdict reference common_seeds difference diff_low diff_high margin p "
    "p_holm detectable note"
).split()
Row = dict[str, Any]


def run_rows(records: Sequence[Record]) -> list[Row]:
    """Rows of runs.csv; a record without scores has one row with an empty metric."""
    rows = []
    for record in records:
        common = _run_common(record)
        if not record.scores:
            rows.append(common)
        for name, score in sorted(record.scores.items()):
            metric, _, level = name.partition("/")
            rows.append({**common, "metric": metric, "level": level, **vars(score)})
    return rows


@dataclass
class Judged:
    """The row of an arm on the primary score, and what its verdict depends on."""

    row: Row
    comparison: verdicts.Comparison


def leader_rows(records: Iterable[Record]) -> list[Row]:
    """Rows of leaderboard.csv: every arm of every fair_key, every metric, ranked."""
    rows: list[Row] = []
    judged: list[Judged] = []
    for _, same_items in by(records, "task", "score_key").items():
        fields = {key: arms(group) for (key,), group in by(same_items, "fair_key").items() if key}
        for field in fields.values():
            runs = [record for arm in field for record in arm.records]
            floors = framing.floors(same_items, runs)
            found, of_primary = _board(field, floors, gates.alone(field, fields))
            rows += found
            judged += of_primary
    verdicts.settle([one.comparison for one in judged])
    for one in judged:
        numbers = one.comparison.numbers
        one.row["p"] = _nine(numbers.p) if numbers and one.comparison.tested else None
        one.row["p_holm"] = _nine(one.comparison.p_holm)
        one.row["detectable"] = _nine(numbers.detectable) if numbers else None
        one.row["verdict"] = one.comparison.verdict
        one.row["note"] = "; ".join([*filter(None, [one.row.get("note")]), *one.comparison.notes])
    return rows


def _board(
    field: list[Arm], floors: Sequence[Record], alone: gates.Closed | None
) -> tuple[list[Row], list[Judged]]:
    """All rows of one fair_key: metrics by name, arms by rank. Among them those with a verdict."""
    primary = field[0].records[0].primary
    scores = {
        name: score
        for arm in field
        for record in arm.records
        for name, score in record.scores.items()
    }
    for floor in floors:
        if primary in floor.scores:  # where every run failed, its value is theirs
            scores.setdefault(primary, floor.scores[primary])
    references = {arm.name: verdicts.reference_of(arm, field) for arm in field}
    closed = {arm.name: gates.of_pair(arm, references[arm.name]) or alone for arm in field}
    barred = {arm.name for arm in field if gates.of_arm(arm)}
    uneven = uneven_seeds({arm.name: arm.records for arm in field})
    rows: list[Row] = []
    compared: dict[tuple[str, str], Judged] = {}
    for metric, score in sorted(scores.items()):
        failed = value_of_failed(field, floors, metric, score.better)
        values = {arm.name: values_by_seed(arm, metric, failed) for arm in field}
        board = []
        for arm in field:
            reference = references[arm.name]
            comparison = _compare(arm, reference, metric, score.better, values)
            comparison.gate = comparison.gate or closed[arm.name]
            row = _row(arm, metric, score.better, values[arm.name]) | _difference(comparison)
            compared[arm.name, metric] = Judged(row, comparison)
            board.append(row)
        rows += _unranked(board, uneven) if uneven else _ranked(board, barred)
    beside = verdicts.co_primary(primary, scores)
    judged = [compared[arm.name, primary] for arm in field if primary in scores]
    for one in judged:
        other = compared.get((one.comparison.arm, beside or ""))
        one.comparison.beside = other.comparison if other else None
        for used in (one, other):
            if used is not None:
                used.row["margin"] = _nine(used.comparison.margin)
    return rows, judged


def _compare(
    arm: Arm,
    reference: Arm | None,
    metric: str,
    better: str,
    values: Mapping[str, dict[int, float] | None],
) -> verdicts.Comparison:
    """An arm against its reference on one metric; no numbers where it has none or is its own."""
    first = arm.records[0]
    missing = [one.name for one in (arm, reference) if one is not None and not values[one.name]]
    ours = values[arm.name]
    theirs = None if reference is None or reference is arm else values[reference.name]
    numbers = intervals.paired(ours, theirs, better) if ours and theirs else None
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
        margin=verdicts.margin_for(metric, numbers),
        gate=("invalid", f"{missing[0]}: a seed has no {metric}") if missing else None,
    )


def _row(arm: Arm, metric: str, better: str, values: Mapping[int, float] | None) -> Row:
    """An arm on one metric by itself."""
    first = arm.records[0]
    row: Row = {
        "task": first.task,
        "score_key": first.score_key,
        "fair_key": first.fair_key,
        "budget_kind": first.budget.kind if first.budget else None,
        "budget_limit": first.budget.limit if first.budget else None,
        "method": arm.name,
        "model": first.fair.fair["model"] if first.fair.fair else None,
        "seeds": len({record.seed for record in arm.records}),
        "metric": metric,
        "better": better,
    }
    if values:
        found = list(values.values())
        row["mean"], row["sd"] = statistics.fmean(found), intervals.deviation(found)
        row["ci_low"], row["ci_high"] = map(_nine, intervals.of_mean(found) or (None, None))
    return row


def _difference(one: verdicts.Comparison) -> Row:
    """The columns that set an arm against its reference, for a secondary metric too."""
    row: Row = {"reference": one.reference}
    numbers = one.numbers
    if numbers is not None:
        row["common_seeds"], row["difference"] = numbers.seeds, numbers.difference
        row["diff_low"], row["diff_high"] = map(_nine, numbers.interval or (None, None))
    return row


def _ranked(rows: list[Row], barred: Collection[str]) -> list[Row]:
    """Rows of one metric in the order of their ranks; without a mean, or barred, last and none."""
    ranked = [row for row in rows if "mean" in row and row["method"] not in barred]
    sign = {"higher": -1, "lower": 1}
    means = sorted(sign[row["better"]] * row["mean"] for row in ranked)
    for row in ranked:
        row["rank"] = 1 + means.index(sign[row["better"]] * row["mean"])
    return sorted(rows, key=lambda row: (row.get("rank", len(rows) + 1), row["method"]))


def _unranked(rows: list[Row], why: str) -> list[Row]:
    """Rows of one metric by name, without ranks, each with the reason."""
    for row in rows:
        row["note"] = f"no rank: {why}"
    return sorted(rows, key=lambda row: str(row["method"]))


def _nine(value: float | None) -> float | None:
    """Nine significant digits: the last ones of a special function differ between processors."""
    return None if value is None else float(f"{value:.9g}")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV with these columns; None and missing values are empty, floats keep all digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if value is None else value for name, value in row.items()})
    return text.getvalue()


def _run_common(record: Record) -> dict[str, Any]:
    """The columns of runs.csv that all scores of a record share."""
    config, model, budget, volatile = record.config, record.model, record.budget, record.volatile
    training = config.get("training")
    return {
        "run_id": record.run_id,
        "match": record.match,
        "kind": record.kind,
        "task": record.task,
        "task_version": record.fair.score.get("version"),
        "split": record.fair.score.get("split"),
        "method": record.method,
        "model": model.size if model else None,
        "track": config.get("track"),
        "seed": config.get("seed"),
        "budget_kind": budget.kind if budget else None,
        "budget_limit": budget.limit if budget else None,
        "steps": budget.steps if budget else None,
        "samples": budget.samples if budget else None,
        "device_seconds": volatile.device_seconds,
        "train_flops": budget.train_flops if budget else None,
        "sample_flops": model.sample_flops if model else None,
        "params": model.params if model else None,
        "params_encoder": model.params_encoder if model else None,
        "solver": model.solver if model else None,
        "nfe": model.nfe if model else None,
        "guidance": model.guidance if model else None,
        "device": volatile.device,
        "threads": volatile.threads,
        "precision": training.get("precision") if isinstance(training, dict) else None,
        "peak_memory": volatile.peak_memory,
        "score_key": record.score_key,
        "fair_key": record.fair_key,
        "status": record.status,
        "commit": volatile.commit,
        "created": volatile.created,
    }
