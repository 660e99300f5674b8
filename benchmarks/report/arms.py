"""Arms and their values by training seed: what every report makes of a list of records first."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.keys import digest
from benchmarks.records import Record

# What an arm's configuration says about the comparison around it, not about the arm.
AROUND = ("seed", "methods", "check", "download", "name", "predictions", "export")


@dataclass
class Arm:
    """One method with one configuration under one fair_key: its runs, one or more per seed.

    variant: four digits of the configuration's digest, the same for all arms of a match.
    """

    name: str
    records: list[Record]
    variant: str = ""

    @property
    def method(self) -> str:
        return self.records[0].method


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
            found.append(Arm(name, sorted(members, key=lambda record: record.run_id), variant))
    return found


def values_by_seed(arm: Arm, metric: str, floor: float | None) -> dict[int, float] | None:
    """One value per training seed, in the order of seeds; a failed seed counts as the floor's.

    None where a seed has no value: the metric is unavailable, or it failed and there is no floor.
    """
    by_seed: dict[int, list[Record]] = defaultdict(list)
    for record in arm.records:
        by_seed[record.seed].append(record)
    values = {}
    for seed, runs in sorted(by_seed.items()):
        done = [run for run in runs if run.status == "completed"]
        if not done:
            if floor is None:
                return None
            values[seed] = floor
        elif all(metric in run.scores for run in done):
            values[seed] = statistics.fmean(run.scores[metric].value for run in done)
        else:
            return None
    return values


def seed_values(arm: Arm, metric: str, floor: float | None) -> list[float] | None:
    """The same values without their seeds."""
    values = values_by_seed(arm, metric, floor)
    return None if values is None else list(values.values())


def floor_value(records: Iterable[Record], metric: str) -> float | None:
    """The floor's score among records of one score_key."""
    values = [
        record.scores[metric].value
        for record in records
        if record.method == "floor" and record.fair_key is None and metric in record.scores
    ]
    return statistics.fmean(values) if values else None


def completed(runs: Sequence[Record]) -> list[Record]:
    """The runs that tell what the row's numbers cost: the completed ones; all where none was."""
    return [run for run in runs if run.status == "completed"] or list(runs)


def by(records: Iterable[Record], *names: str) -> dict[tuple[Any, ...], list[Record]]:
    """Records grouped by some of their fields, groups in the order of their values."""
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[tuple(getattr(record, name) for name in names)].append(record)
    return dict(sorted(groups.items(), key=lambda group: tuple(map(str, group[0]))))
