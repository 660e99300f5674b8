"""The frames that charts are made from: arms of the leaderboard with what they spent, curves.

Rows of floor and oracle stand in the same frames: charts draw them as lines across.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.records.keys import canonical, digest, exact
from benchmarks.records.record import Record
from benchmarks.report import curves as tables
from benchmarks.report import leaderboard
from benchmarks.report import rows as board

if TYPE_CHECKING:
    import pandas as pd

SPENT = {"samples": "samples", "flops": "train_flops", "device_hours": "device_hours"}
COLUMNS = (
    "task score_key fair_key arm method label model budget_kind budget_limit metric better seeds "
    "mean ci_low ci_high samples train_flops device_hours params devices clock quick "
    "budget_family size_family beside"
).split()


def arms(records: Sequence[Record]) -> pd.DataFrame:
    """One row per arm on its task's primary score, and rows of floor and oracle without fair_key.

    Those have in `beside` the fair_key whose arms stand between them.

    mean, ci_low, ci_high: over seeds, as in the leaderboard. samples, train_flops, device_hours,
    params: means over the seeds that were completed. devices: names; clock: the first verdict
    that calls the seconds invalid, or empty. budget_family, size_family: arms with equal ones
    differ in the budget's limit, or in the model, and in nothing else that fairness asks for.
    label: the arm with the settings in which it differs from other arms of its method.
    """
    import pandas as pd

    primaries = {record.score_key: record.primary for record in records}
    rows = []
    known = {key: row for row in _arm_facts(records) for key in [(row["fair_key"], row["arm"])]}
    for row in leaderboard.leader_rows(records):
        if row["metric"] == primaries[row["score_key"]] and row.get("mean") is not None:
            facts = known[row["fair_key"], row["method"]]
            rows.append({**row, **facts})
    rows += _framing(records, primaries)
    return pd.DataFrame(rows, columns=COLUMNS)


def curves(records: Sequence[Record], out: Path) -> pd.DataFrame:
    """Rows of `tables.curves` with arm, label and better; floor and oracle are of other items."""
    frame = tables.curves(records, out)
    facts = {run: row for row in _arm_facts(records) for run in row["runs"]}
    better = {
        record.run_id: score.better
        for record in records
        for name, score in record.scores.items()
        if name == record.primary
    }
    for name in ("arm", "label"):
        frame[name] = [facts[run][name] for run in frame["run_id"]]
    frame["better"] = [better.get(run) for run in frame["run_id"]]
    return frame


def losses(records: Sequence[Record], out: Path) -> pd.DataFrame:
    """Rows of `tables.losses` with arm and label; failed runs have none."""
    frame = tables.losses(records, out)
    facts = {run: row for row in _arm_facts(records) for run in row["runs"]}
    for name in ("arm", "label"):
        frame[name] = [facts[run][name] for run in frame["run_id"]]
    return frame


def _arm_facts(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What the arms of all fair_keys are and spent, by record."""
    found = []
    for (fair_key,), group in board.by(records, "fair_key").items():
        if fair_key is None:
            continue
        members = board.arms(group)
        labels = variant_labels({arm.name: arm.records for arm in members})
        for arm in members:
            found.append(_facts(arm.name, labels[arm.name], arm.records))
    return found


def _facts(name: str, label: str, runs: Sequence[Record]) -> dict[str, Any]:
    first, fair = runs[0], runs[0].fair.fair or {}
    done = [run for run in runs if run.status == "completed"] or runs
    budgets = [run.budget for run in done if run.budget is not None]
    seconds = [run.volatile.device_seconds for run in done]
    invalid = [c for run in runs if (c := _clock(run)).startswith("invalid")]
    hours = None if None in seconds else _mean([float(s or 0) / 3600 for s in seconds])
    return {
        "arm": name,
        "method": first.method,
        "label": label,
        "runs": [run.run_id for run in runs],
        "fair_key": first.fair_key,
        "samples": _mean([budget.samples for budget in budgets]),
        "train_flops": _mean([budget.train_flops for budget in budgets]),
        "device_hours": hours,
        "params": _mean([run.model.params for run in done if run.model]),
        "devices": tuple(sorted({str(run.volatile.device) for run in done})),
        "clock": invalid[0] if invalid else "",
        "quick": any(run.quick for run in runs),
        "budget_family": digest({k: v for k, v in fair.items() if k != "budget_limit"}, 6),
        "size_family": digest({k: v for k, v in fair.items() if k != "model"}, 6),
    }


def _clock(run: Record) -> str:
    return str(run.volatile.host.get("clock", ""))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _framing(records: Sequence[Record], primaries: dict[str, str]) -> list[dict[str, Any]]:
    """Floor and oracle beside each fair_key."""
    rows = []
    for (task, score_key), same_items in board.by(records, "task", "score_key").items():
        metric = primaries[score_key]
        for (fair_key,), group in board.by(same_items, "fair_key").items():
            beside = board.beside(same_items, group) if fair_key is not None else []
            for row in board.untrained(beside):
                values = row.values(metric)
                if row.kind == "evaluation" or values is None:
                    continue
                (mean,) = values.values()
                better = next(
                    one.scores[metric].better for one in row.records if metric in one.scores
                )
                rows.append(
                    {
                        "task": task,
                        "score_key": score_key,
                        "beside": fair_key,
                        "arm": row.name,
                        "method": row.records[0].method,
                        "label": row.name,
                        "metric": metric,
                        "better": better,
                        "mean": mean,
                        "quick": any(run.quick for run in row.records),
                    }
                )
    return rows


def variant_labels(variants: dict[str, list[Record]]) -> dict[str, str]:
    """A label for each arm: its method, and the settings in which its variants differ."""
    flat = {name: _flat(board.arm_config(runs[0])) for name, runs in variants.items()}
    methods = {name: runs[0].method for name, runs in variants.items()}
    labels = {}
    for name, method in methods.items():
        same = [flat[other] for other in variants if methods[other] == method]
        names = sorted({field for settings in same for field in settings})
        differ = [f for f in names if len({canonical(s.get(f)) for s in same}) > 1]
        settings = ", ".join(f"{f.split('.')[-1]}={_plain(flat[name].get(f))}" for f in differ)
        labels[name] = f"{method}: {settings}" if settings else method
    return labels


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else None
        found |= inner if inner is not None else {f"{prefix}{name}": value}
    return found


def _plain(value: Any) -> str:
    text = exact(value) if isinstance(value, float) else str(value)
    return text if len(text) <= 20 else f"{text[:17]}..."
