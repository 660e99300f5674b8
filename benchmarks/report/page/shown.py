"""Which comparisons a page shows in full, and in which order; all others are counted and named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmarks.records.keys import exact
from benchmarks.records.record import Record
from benchmarks.report.rows import ORDER, arms, beside, budget_of, by, untrained

PER_TASK = 12  # comparisons of one task shown in full; the leaderboard has all


@dataclass(frozen=True)
class Comparison:
    """Records that may be ranked against each other, and the unranked rows of the same items.

    arms: trained arms of one fair_key, one record per method and seed; empty where a score_key has
    evaluations and framing rows only. frame: its floor and oracle, evaluations of the score_key.
    number: its place on the page, from 1.
    """

    number: int
    task: str
    score_key: str
    fair_key: str | None
    arms: list[Record]
    frame: list[Record]

    @property
    def records(self) -> list[Record]:
        return self.arms + self.frame

    @property
    def first(self) -> Record:
        return self.records[0]

    @property
    def anchor(self) -> str:
        """An id for links within the page."""
        return f"c{self.number}"

    @property
    def quick(self) -> bool:
        return any(record.quick for record in self.records)

    @property
    def seeds(self) -> list[int]:
        return sorted({record.seed for record in self.arms})

    @property
    def budget(self) -> str:
        """The one limit in words; empty where nothing was trained."""
        budget = self.arms[0].budget if self.arms else None
        return f"{exact(budget.limit)} {budget.kind}" if budget else ""

    @property
    def title(self) -> str:
        score = self.first.fair.score
        budget = f", {self.budget} an arm" if self.budget else ", evaluations only"
        model = ""
        if self.arms and self.arms[0].fair.fair:
            model = f", model {self.arms[0].fair.fair['model']}"
        return f"{self.task} (version {score['version']}, {score['split']}){budget}{model}"

    @cached_property
    def names(self) -> dict[str, str]:
        """run_id -> the row's name in the tables: two configurations of a method are two arms."""
        frame = {r.run_id: row.name for row in untrained(self.frame) for r in row.records}
        return frame | {r.run_id: arm.name for arm in arms(self.arms) for r in arm.records}

    def label(self, record: Record) -> str:
        """The row's name, with the seed of the one run that stands for a trained arm."""
        seed = f", seed {record.seed}" if record.fair_key is not None else ""
        return self.names[record.run_id] + seed

    def lowest_seed(self) -> list[Record]:
        """One completed record per row of the table, of its lowest seed: for pictures and items."""
        found: dict[tuple[str, str], Record] = {}
        done = [record for record in self.records if record.status == "completed"]
        for record in sorted(done, key=lambda one: (one.seed, one.run_id)):
            found.setdefault((record.kind, self.names[record.run_id]), record)
        return sorted(found.values(), key=lambda one: (place(one), self.names[one.run_id]))


def place(record: Record) -> tuple[int, int, str]:
    """Floor and oracle, then arms, then evaluations of somebody's predictions."""
    known = ORDER.index(record.method) if record.method in ORDER else len(ORDER)
    return int(record.kind == "evaluation"), known, record.method


def comparisons(records: Sequence[Record]) -> tuple[list[Comparison], list[str]]:
    """At most PER_TASK comparisons of each task, in the order of tables; and what was left out.

    Preferred are those that say most: not of a quick preset, many seeds, a large budget.
    """
    found: list[Comparison] = []
    notes = []
    for (task,), of_task in by(records, "task").items():
        every = _of_task(str(task), of_task)
        kept = sorted(sorted(every, key=_weight)[:PER_TASK], key=_key)
        if len(kept) < len(every):
            notes.append(
                f"{task}: {len(kept)} of {len(every)} comparisons are shown in full, those with "
                "most seeds and the largest budgets; the leaderboard has all"
            )
        for one in kept:
            number = len(found) + 1
            found.append(
                Comparison(number, one.task, one.score_key, one.fair_key, one.arms, one.frame)
            )
    return found, notes


def _of_task(task: str, records: Sequence[Record]) -> list[Comparison]:
    found = []
    for (score_key,), same_items in by(records, "score_key").items():
        groups = by(same_items, "fair_key")
        groups.pop((None,), [])
        fields = [sorted(group, key=lambda r: (place(r), r.seed)) for group in groups.values()]
        for group in fields or [[]]:
            fair_key = group[0].fair_key if group else None
            frame = sorted(beside(same_items, group), key=place)
            found.append(Comparison(0, task, str(score_key), fair_key, group, frame))
    return found


def _weight(one: Comparison) -> tuple[Any, ...]:
    return one.quick, -len(one.seeds), -budget_of(one.arms)[1], _key(one)


def _key(one: Comparison) -> tuple[Any, ...]:
    return one.score_key, budget_of(one.arms), one.fair_key or ""
