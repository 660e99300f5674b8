"""Rows of a table before they are text: what was measured, and which numbers may be called best."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.keys import canonical
from benchmarks.records import Record
from benchmarks.report import gates
from benchmarks.report.arms import arms, by, completed, floor_value, seed_values
from benchmarks.report.columns import places

ORDER = ("floor", "oracle", "regression", "flow_matching", "crossflow")
FIRST, SECOND = 1, 2


@dataclass(frozen=True)
class Entry:
    """A row before it is text.

    kind: frame, arm or evaluation. records: its runs.
    values: for each metric of the table, one number per training seed; None where there is none.
    ranked: whether its numbers may be called the best.
    """

    name: str
    kind: str
    records: list[Record]
    values: list[list[float] | None]
    ranked: bool

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


def unranked(records: Iterable[Record]) -> list[Record]:
    """Frames and evaluations of one score_key, each result once.

    Every match repeats the frames; they stand in every table of the score_key. All records of a
    row stay where one of them failed, because failures are counted.
    """
    found = []
    rows = by([record for record in records if record.fair_key is None], "method", "kind")
    for members in rows.values():
        if any(record.status == "failed" for record in members):
            found += members
            continue
        results: dict[object, Record] = {}
        for record in members:
            scores = tuple(sorted((name, one.value, one.n) for name, one in record.scores.items()))
            absent = canonical(record.fair.proof.get("absent"))
            reasons = tuple(sorted(record.unavailable.items()))
            results.setdefault((scores, reasons, absent, record.quick), record)
        found += results.values()
    return found


def floors(records: Sequence[Record]) -> dict[str, float | None]:
    """The floor's score for each metric, among all records of a score_key as in the leaderboard."""
    framing = [record for record in records if record.method == "floor"]
    return {name: floor_value(framing, name) for name in {n for one in framing for n in one.scores}}


def entries(
    group: Sequence[Record], metrics: Sequence[str], floor: Mapping[str, float | None]
) -> list[Entry]:
    """Rows of a table, in order, from the records of one fair_key and the unranked ones."""
    found = []
    quick = is_quick(group)
    for arm in arms(group):
        values = [seed_values(arm, name, floor.get(name)) for name in metrics]
        ranked = not quick and gates.of_arm(arm) is None
        found.append(Entry(arm.name, "arm", arm.records, values, ranked))
    for (method, kind), members in by(
        [r for r in group if r.fair_key is None], "method", "kind"
    ).items():
        # No seed moves these rows: equal values of several matches are one value.
        once = [{r.scores[name].value for r in members if name in r.scores} for name in metrics]
        called = "evaluation" if kind == "evaluation" else "frame"
        found.append(Entry(str(method), called, members, [sorted(v) or None for v in once], False))
    return sorted(found, key=_place)


def marks(
    rows: Sequence[Entry],
    metrics: Sequence[str],
    better: Mapping[str, str],
    shown: Callable[[str, float], float],
) -> dict[tuple[int, int], int]:
    """(row, metric) -> FIRST or SECOND, among the arms that may be ranked; see `places`.

    shown(metric, mean) is the mean as the reader sees it: numbers that read equal share a place.
    """
    found = {}
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
    name, runs = entry.name, len(entry.records)
    failed = sum(record.status == "failed" for record in entry.records)
    if failed:
        found.append(f"{name}: {failed} of {runs} runs failed; a failed seed counts as the floor")
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
