"""Rows of a table before they are text: what was measured, and which numbers may be called best."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.records.record import Record
from benchmarks.report import framing, gates
from benchmarks.report.arms import arms, completed, uneven_seeds, value_of_failed, values_by_seed
from benchmarks.report.columns import places

ORDER = ("floor", "oracle", "regression", "flow_matching", "crossflow")
FIRST, SECOND = 1, 2
AS_FAILED = "; a failed seed counts as the worse of the floor and the worst completed run"


@dataclass(frozen=True)
class Entry:
    """A row before it is text.

    kind: frame, arm or evaluation. records: its runs.
    values: for each metric of the table, one number per training seed; None where there is none.
    ranked: whether its numbers may be called the best. note: what tells it from rows of its name.
    """

    name: str
    kind: str
    records: list[Record]
    values: list[list[float] | None]
    ranked: bool
    note: str = ""

    @property
    def typical(self) -> Record:
        """The run whose network and cost the row shows: the last that was completed, if any was.

        A failed run has no network, and spent a part of the budget only.
        """
        return completed(self.records)[-1]

    def mean(self, column: int) -> float | None:
        """Mean over seeds of one metric."""
        found = self.values[column]
        return statistics.fmean(found) if found else None


def entries(group: Sequence[Record], metrics: Mapping[str, str]) -> list[Entry]:
    """Rows of a table, in order, from the records of one fair_key and the unranked ones.

    metrics: name -> which way it is better.
    """
    quick = is_quick(group)
    field = arms(group)
    trained = [record for record in group if record.fair_key is not None]
    floor = framing.floors(group, trained)
    failed = {name: value_of_failed(field, floor, name, way) for name, way in metrics.items()}
    found = []
    for arm in field:
        seeds = [values_by_seed(arm, name, failed[name]) for name in metrics]
        values = [None if one is None else list(one.values()) for one in seeds]
        ranked = not quick and gates.of_arm(arm) is None
        found.append(Entry(arm.name, "arm", arm.records, values, ranked))
    for row in framing.rows(group):
        once = [row.value(name) for name in metrics]
        values = [None if value is None else [value] for value in once]
        found.append(Entry(row.name, row.kind, row.records, values, False, row.note))
    return sorted(found, key=_place)


def uneven(rows: Sequence[Entry]) -> str:
    """`uneven_seeds` of the rows that were trained."""
    return uneven_seeds({entry.name: entry.records for entry in rows if entry.kind == "arm"})


def marks(
    rows: Sequence[Entry],
    metrics: Sequence[str],
    better: Mapping[str, str],
    shown: Callable[[str, float], float],
) -> dict[tuple[int, int], int]:
    """(row, metric) -> FIRST or SECOND, among the arms that may be ranked; see `places`.

    shown(metric, mean) is the mean as the reader sees it: numbers that read equal share a place.
    None where the arms have different seeds.
    """
    found: dict[tuple[int, int], int] = {}
    if uneven(rows):
        return found
    for column, metric in enumerate(metrics):
        numbers: list[float | None] = []
        for entry in rows:
            mean = entry.mean(column) if entry.ranked else None
            numbers.append(None if mean is None else shown(metric, mean))
        for row, place in enumerate(places(numbers, better[metric])):
            if place in (FIRST, SECOND):
                found[row, column] = place
    return found


def failures(entry: Entry) -> list[str]:
    """What must be known of an arm's runs before its numbers are read."""
    found = []
    name, runs, trained = entry.name, len(entry.records), entry.kind == "arm"
    failed = sum(record.status == "failed" for record in entry.records)
    if failed:
        found.append(f"{name}: {failed} of {runs} runs failed" + (AS_FAILED if trained else ""))
    slowed = sum(map(gates.clock_is_invalid, entry.records))
    if slowed:
        found.append(f"{name}: invalid: {slowed} of {runs} runs trained on a slowed clock")
    return found


def is_quick(group: Sequence[Record]) -> bool:
    """Whether an arm, or where there is none any row, was made by a preset that is too small."""
    trained = [record for record in group if record.fair_key is not None]
    return any(record.quick for record in trained or group)


def _place(entry: Entry) -> tuple[int, int, str]:
    """Floor and oracle, then the arms, then evaluations of somebody's predictions."""
    method = entry.records[0].method
    known = ORDER.index(method) if method in ORDER else len(ORDER)
    return entry.kind == "evaluation", known, entry.name
