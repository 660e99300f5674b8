"""Arms and their values by training seed: what every report makes of a list of records first."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from benchmarks.records.keys import digest
from benchmarks.records.record import Record

# What a configuration says about the comparison around an arm, has no effect on a score, or is a
# path: codecs, training data and a method's file count by digests of what they hold.
AROUND = (
    *("seed", "methods", "check", "download", "name", "predictions", "export"),
    *("training.checkpoint_seconds", "sampling.curve"),
    *("method_file", "weights", "task.root", "task.split_file", "task.prompts", "task.train_root"),
    "train_root_files",
)


@dataclass
class Arm:
    """One method with one configuration under one fair_key: its runs, one or more per seed.

    variant: the configuration's digest, the same for all arms of a match.
    """

    name: str
    records: list[Record]
    variant: str = ""

    @property
    def method(self) -> str:
        return self.records[0].method


def own_config(record: Record) -> dict[str, Any]:
    """What an arm's configuration says about the arm itself: all but AROUND."""
    found: dict[str, Any] = {}
    for name, value in record.config.items():
        if isinstance(value, dict):
            value = {key: one for key, one in value.items() if f"{name}.{key}" not in AROUND}
        if name not in AROUND:
            found[name] = value
    return found


def arms(records: Iterable[Record]) -> list[Arm]:
    """Ranked rows of one fair_key. A method run with two configurations makes two arms.

    fair_key leaves the learning rate and the like open, and a mean over two of them would be the
    mean of two things: such arms are named by the first digits of their configuration's digest.
    """
    grouped: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.fair_key is not None:
            grouped[record.method][digest(own_config(record), 64)].append(record)
    digits = digits_of(variant for variants in grouped.values() for variant in variants)
    found = []
    for method, variants in sorted(grouped.items()):
        for variant, members in sorted(variants.items()):
            name = method if len(variants) == 1 else f"{method}#{variant[:digits]}"
            found.append(Arm(name, sorted(members, key=lambda record: record.run_id), variant))
    return found


def digits_of(digests: Iterable[str]) -> int:
    """How many first digits tell these digests apart: four, more where two of them clash."""
    every = set(digests)
    return next(n for n in count(4) if len({one[:n] for one in every}) == len(every))


def values_by_seed(arm: Arm, metric: str, failed: float | None) -> dict[int, float] | None:
    """One value per training seed, in the order of seeds. failed: what a failed seed counts as.

    None where a seed has no value: the metric is unavailable, or it failed and there is no floor.
    """
    by_seed: dict[int, list[Record]] = defaultdict(list)
    for record in arm.records:
        by_seed[record.seed].append(record)
    values = {}
    for seed, runs in sorted(by_seed.items()):
        done = [run for run in runs if run.status == "completed"]
        if not done:
            if failed is None:
                return None
            values[seed] = failed
        elif all(metric in run.scores for run in done):
            values[seed] = statistics.fmean(run.scores[metric].value for run in done)
        else:
            return None
    return values


def value_of_failed(
    field: Iterable[Arm], floors: Iterable[Record], metric: str, better: str
) -> float | None:
    """What a failed seed counts as: the worse of the floor and the worst completed run.

    The floor alone can be better than all that was trained (a distance of distributions is near
    zero for training photographs), and failing would win. field: the arms of one fair_key. None
    where no floor is known.
    """
    known = [one.scores[metric].value for one in floors if metric in one.scores]
    done = [
        run.scores[metric].value for arm in field for run in arm.records if metric in run.scores
    ]
    worst = max if better == "lower" else min
    return worst([*known, *done]) if known else None


def uneven_seeds(runs: Mapping[str, Sequence[Record]]) -> str:
    """Where arms have different training seeds, which each has; else empty. runs: by arm.

    Means over different seeds are no race. Such arms get neither a rank nor a mark: a rank over the
    common seeds would stand beside means of others. Verdicts are paired by seed and stay.
    """
    seeds = {name: sorted({run.seed for run in of}) for name, of in sorted(runs.items())}
    if len({tuple(one) for one in seeds.values()}) < 2:
        return ""
    told = (f"{name} {len(one)} ({', '.join(map(str, one))})" for name, one in seeds.items())
    return f"training seeds differ: {'; '.join(told)}"


def completed(runs: Sequence[Record]) -> list[Record]:
    """The runs that tell what the row's numbers cost: the completed ones; all where none was."""
    return [run for run in runs if run.status == "completed"] or list(runs)


def by_budget(group: Sequence[Record]) -> tuple[str, float]:
    """Orders the groups of records of one fair_key each: by kind of budget, then by its limit."""
    budgets = [record.budget for record in group if record.budget is not None]
    return (budgets[0].kind, budgets[0].limit) if budgets else ("", 0.0)


def by(records: Iterable[Record], *names: str) -> dict[tuple[Any, ...], list[Record]]:
    """Records grouped by some of their fields, groups in the order of their values."""
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[tuple(getattr(record, name) for name in names)].append(record)
    return dict(sorted(groups.items(), key=lambda group: tuple(map(str, group[0]))))
