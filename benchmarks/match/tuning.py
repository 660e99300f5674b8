"""The track `tuned`: every arm has the peak learning rate that was best on validation.

The trials are ordinary runs of the same task, size, arms, model, batch and precision, of another
seed and any one budget: one for each `training.lr`, alike in all else, judged by the last point of
`sampling.curve`. A trial whose training failed has no score and is never the best.

    python -m benchmarks.run -m seed=100 budget.flops=5e12 training.lr=3e-4,1e-3,3e-3 \\
        sampling.curve=[8] out=trials
    python -m benchmarks.run -m seed=0,1,2,3,4 budget.flops=2e13 track=tuned trials=trials
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config import registry
from benchmarks.records import keys
from benchmarks.records import record as records
from benchmarks.report.rows import arm_config, peak_lr
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.records.record import Record

Tried = dict[str, dict[str, Any]]  # by arm: seed, budget and metric of its trials, score by rate


def tune(config: Config) -> Tried:
    """Gives every arm that was tried its learning rate. Empty on another track.

    InputError where arms were not all tried alike, or with the seed that they decide on.
    """
    if (config.track == "tuned") != (config.trials is not None):
        raise InputError("track=tuned and trials=FOLDER, the `out` of the trials, go together")
    if config.trials is None:
        return {}
    folder, races = Path(config.trials), list[dict[str, Any]]()
    runs, tried = records.read_all(folder), Tried()
    for name in config.methods:
        if "lr" in config.arm.get(name, {}):
            raise InputError(f"arm.{name}.lr: track=tuned takes it from the trials, leave it out")
        for run in (run for run in runs if _is_trial(run, config, name)):
            races.append(_race(run))
            if unlike := "; ".join(keys.differing(races[0], races[-1])):
                raise InputError(f"trials={folder}: they differ in more than training.lr: {unlike}")
            budget = f"{run.budget.limit:g} {run.budget.kind}" if run.budget else ""
            first = {"seed": run.seed, "budget": budget, "metric": None, "scores": {}}
            told, lr = tried.setdefault(name, first), f"{peak_lr(run):g}"
            if lr in told["scores"]:
                raise InputError(f"trials={folder}: of {name}, several for lr {lr}")
            told["scores"][lr] = None  # as bad as can be: a rate at which training fails
            if run.status == "completed":
                told["metric"], told["scores"][lr], sign = _validation(run, folder)
        if name in tried:
            scores = {lr: of for lr, of in tried[name]["scores"].items() if of is not None}
            if not scores:
                raise InputError(f"trials={folder}: of {name}, every one failed")
            best = min(scores, key=lambda lr: (sign * scores[lr], float(lr)))
            config.arm[name] = config.arm.get(name, {}) | {"lr": float(best)}
    alike = {str(told | {"scores": sorted(told["scores"])}) for told in tried.values()}
    if len(alike) != 1:
        what = "; ".join(sorted(alike)) or "none of this task, size, model, batch and precision"
        raise InputError(f"trials={config.trials}: every arm takes the same trials: {what}")
    if config.seed in {told["seed"] for told in tried.values()}:
        raise InputError(
            f"trials={config.trials}: of seed={config.seed}, which they would decide on"
        )
    return tried


def refuse_untried(tried: Tried, config: Config, name: str) -> None:
    """InputError for an arm that trains, on the track `tuned`, without trials."""
    if config.track == "tuned" and name not in tried:
        why = "no trial of this arm with these options, model, batch and precision"
        raise InputError(f"trials={config.trials}: {name}: {why}")


def _is_trial(run: Record, config: Config, name: str) -> bool:
    from crossflow.arm import resolve_options

    fair, asked = run.fair.fair or {}, registry.arm_options(config, name)
    here = config.model, config.training.batch, config.training.precision, "defaults"
    task, arms = run.config.get("task"), run.config.get("arm")
    if (run.task, run.method) != (config.task.name, name) or not isinstance(task, dict):
        return False
    there = tuple(fair.get(field) for field in ("model", "batch", "precision", "track"))
    if (*there, task.get("size")) != (*here, config.task.size):
        return False
    options = arms.get(name) if isinstance(arms, dict) else None
    given = config.arm.get(name)
    if not isinstance(options, dict) or not given:
        return not options and not given  # recorded in full where one was given, or the method
    resolved = resolve_options(registry.method_of(config, name), asked, name)
    return all(options.get(o) == value for o, value in resolved.items() if value is not None)


def _race(run: Record) -> dict[str, Any]:
    """All that trials share: every setting but the arm's own and the learning rate."""
    kept = arm_config(run) | {"score_key": run.score_key, "seed": run.seed}
    kept["sampling"] = run.config.get("sampling")  # with the curve, which they are judged by
    training = {name: value for name, value in kept["training"].items() if name != "lr"}
    return {name: value for name, value in kept.items() if name != "arm"} | {"training": training}


def _validation(run: Record, folder: Path) -> tuple[str, float | None, int]:
    """(metric, value, 1 or -1 where less or more is better) of a trial on validation items; a
    value that is no number is None."""
    import pandas as pd

    path = folder / "curves" / run.task / f"{run.run_id}.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame({"sweep": []})
    if (curve := table[table["sweep"] == "steps"]).empty:
        raise InputError(f"{path}: no curve, trials need sampling.curve=[STEPS]")
    last = curve.iloc[-1]
    value, better = float(last["value"]), run.scores[run.primary].better
    finite = value if math.isfinite(value) else None
    return str(last["metric"]), finite, -1 if better == "higher" else 1
