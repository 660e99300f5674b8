"""runs.csv and leaderboard.csv: one row per score, one row per arm and metric; from records alone.

The unit of inference is the training seed. Ranks are given within one fair_key only; floor, oracle
and evaluation rows have none and are never ranked. Nor are arms of a quick preset, which is too
small to compare methods, and arms whose seconds are worth nothing (`clock_is_invalid`).
"""

from __future__ import annotations

import csv
import io
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.keys import digest
from benchmarks.records import Record

RUN_COLUMNS = (
    "run_id match kind task task_version split level method model track seed budget_kind "
    "budget_limit steps samples device_seconds train_flops sample_flops params params_encoder "
    "solver nfe guidance device threads precision peak_memory metric better value stderr n "
    "score_key fair_key status commit created"
).split()
LEADER_COLUMNS = (
    "task score_key fair_key budget_kind budget_limit rank method model seeds metric better mean "
    "sd ci_low ci_high verdict"
).split()

SEEDS_FOR_A_VERDICT = 5
# What an arm's configuration says about the comparison around it, not about the arm.
AROUND = ("seed", "methods", "check", "download", "name", "predictions", "export")


@dataclass
class Arm:
    """One method with one configuration under one fair_key: its runs, one or more per seed."""

    name: str
    records: list[Record]


def arms(records: Iterable[Record]) -> list[Arm]:
    """Ranked rows of one fair_key. A method run with two configurations makes two arms.

    fair_key leaves the learning rate and the like open, and a mean over two of them would be the
    mean of two things: such arms are told apart by four digits of their configuration's digest.
    """
    grouped: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.fair_key is not None:
            own = {name: value for name, value in record.config.items() if name not in AROUND}
            grouped[record.method][digest(own, 4)].append(record)
    found = []
    for method, variants in sorted(grouped.items()):
        for variant, members in sorted(variants.items()):
            name = method if len(variants) == 1 else f"{method}#{variant}"
            found.append(Arm(name, sorted(members, key=lambda record: record.run_id)))
    return found


def seed_values(arm: Arm, metric: str, floor: float | None) -> list[float] | None:
    """One value per training seed, in the order of seeds; a failed seed counts as the floor's.

    None where a seed has no value: the metric is unavailable, or it failed and there is no floor.
    """
    by_seed: dict[int, list[Record]] = defaultdict(list)
    for record in arm.records:
        by_seed[record.seed].append(record)
    values = []
    for _, runs in sorted(by_seed.items()):
        done = [run for run in runs if run.status == "completed"]
        if not done:
            if floor is None:
                return None
            values.append(floor)
        elif all(metric in run.scores for run in done):
            values.append(statistics.fmean(run.scores[metric].value for run in done))
        else:
            return None
    return values


def floor_value(records: Iterable[Record], metric: str) -> float | None:
    """The floor's score among records of one score_key."""
    values = [
        record.scores[metric].value
        for record in records
        if record.method == "floor" and record.fair_key is None and metric in record.scores
    ]
    return statistics.fmean(values) if values else None


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean over seeds by Student's t; None for one seed."""
    if len(values) < 2:
        return None
    from scipy import stats

    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values)
    half /= len(values) ** 0.5
    mean = statistics.fmean(values)
    return mean - half, mean + half


def run_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Rows of runs.csv; a record without scores has one row with an empty metric."""
    rows = []
    for record in records:
        common = _run_common(record)
        if not record.scores:
            rows.append(common)
        for name, score in sorted(record.scores.items()):
            metric, _, level = name.partition("/")
            rows.append({**common, "metric": metric, "level": level, **score.model_dump()})
    return rows


def leader_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Rows of leaderboard.csv: every arm of every fair_key, every metric, ranked."""
    rows = []
    for (task, score_key), same_items in by(records, "task", "score_key").items():
        for (fair_key,), group in by(same_items, "fair_key").items():
            if fair_key is None:
                continue
            metrics = {name: score for record in group for name, score in record.scores.items()}
            for metric, score in sorted(metrics.items()):
                floor = floor_value(same_items, metric)
                common = {
                    "task": task,
                    "score_key": score_key,
                    "fair_key": fair_key,
                    "metric": metric,
                    "better": score.better,
                }
                rows += _ranked(arms(group), common, floor)
    return rows


def clock_is_invalid(record: Record) -> bool:
    """Whether the budget was of seconds, and throughput changed so much that they differ in worth.

    The clock is judged under every budget; a limit in FLOPs, samples or steps does not need it.
    """
    timed = record.budget is not None and record.budget.kind == "device_seconds"
    return timed and str(record.volatile.host.get("clock", "")).startswith("invalid")


def _barred(arm: Arm) -> str | None:
    """The verdict of an arm that may not be ranked; None for one that may."""
    if any(clock_is_invalid(record) for record in arm.records):
        return "invalid"
    return "not_comparable" if any(record.quick for record in arm.records) else None


def _ranked(field: list[Arm], common: dict[str, Any], floor: float | None) -> list[dict[str, Any]]:
    """One row per arm for one metric; arms without a mean or barred come last, without rank."""
    rows = []
    barred = {arm.name: _barred(arm) for arm in field}
    for arm in field:
        first = arm.records[0]
        values = seed_values(arm, common["metric"], floor)
        row: dict[str, Any] = {
            **common,
            "method": arm.name,
            "model": first.fair.fair["model"] if first.fair.fair else None,
            "budget_kind": first.budget.kind if first.budget else None,
            "budget_limit": first.budget.limit if first.budget else None,
            "seeds": len({record.seed for record in arm.records}),
        }
        if values:
            row["mean"] = statistics.fmean(values)
            row["sd"] = statistics.stdev(values) if len(values) > 1 else None
            row["ci_low"], row["ci_high"] = interval(values) or (None, None)
        if common["metric"] == first.primary:  # secondary metrics carry no verdict word
            if not values:
                row["verdict"] = "invalid"
            elif barred[arm.name]:
                row["verdict"] = barred[arm.name]
            elif len(values) < SEEDS_FOR_A_VERDICT:
                row["verdict"] = "undecided"
        rows.append(row)
    sign = -1 if common["better"] == "higher" else 1
    ranked = [row for row in rows if "mean" in row and not barred[row["method"]]]
    means = sorted(sign * row["mean"] for row in ranked)
    for row in ranked:
        row["rank"] = 1 + means.index(sign * row["mean"])
    return sorted(rows, key=lambda row: (row.get("rank", len(rows) + 1), row["method"]))


def by(records: Iterable[Record], *names: str) -> dict[tuple[Any, ...], list[Record]]:
    """Records grouped by some of their fields, groups in the order of their values."""
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[tuple(getattr(record, name) for name in names)].append(record)
    return dict(sorted(groups.items(), key=lambda group: tuple(map(str, group[0]))))


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
