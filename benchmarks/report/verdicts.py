"""One word for an arm against the reference arm, on the primary score of a task.

The reference is `flow_matching` where it runs under the same fair_key, else the first of REFERENCES
that does, else the first arm by name. A difference d is positive where the arm is better; m is its
margin. By the seeds that both arms have (`intervals`), each statement at 5 %:

- equivalent: the 90 % interval of d lies inside (-m, m), which is the two one-sided tests (TOST).
- better, worse: d differs from 0 by the paired t test, p adjusted by Holm, and the 90 % interval
  lies wholly beyond the margin. The first bounds the chance of any wrong direction in a family; the
  second, per comparison, that of calling a difference that is not worth it.
- undecided: neither. Always with fewer than five common seeds, where nothing is tested.
- conflicting: better or worse, but the interval of the co-primary score lies wholly beyond its
  margin on the other side (KID or FID rank super-resolution, PSNR stands beside them; no Holm, it
  would hide conflicts); or under another kind of budget, all else equal, the same methods get the
  opposite word. Two limits of one kind that disagree show what more training does.
- none, where FID has fewer than 10,000 samples.

A family of Holm's: all comparisons of one method with one reference that are tested, over tasks,
budgets and models. Methods are not corrected for one another, and secondary metrics, which get
intervals and no word, for nothing. Before all statistics stand the `gates`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from benchmarks.records.keys import canonical, exact
from benchmarks.records.record import Record
from benchmarks.report.intervals import ALPHA, Paired, holm
from benchmarks.report.rows import Row

REFERENCES = ("flow_matching", "regression", "crossflow")
SEEDS_FOR_A_VERDICT = 5
FID_SAMPLES = 10_000
CO_PRIMARY = "psnr_y"  # beside a distance of distributions, which does not see the wrong picture
OPPOSITE = {"better": "worse", "worse": "better"}
# What two budgets of different kinds differ in by nature.
OF_THE_BUDGET = ("budget_kind", "budget_limit", "device", "devices", "threads")


@dataclass
class Comparison:
    """An arm and the reference arm on one metric; `settle` fills in what follows from others."""

    arm: Row
    reference: Row | None  # the arm itself in its own row; None where it cannot be told
    metric: str
    better: str
    values: dict[int, float] | None  # the arm's, by training seed
    numbers: Paired | None
    margin: float | None  # in the scale of the metric
    gate: tuple[str, str] | None = None  # a word and its reason, where the runs forbid a verdict
    beside: Comparison | None = None  # the same arms on the co-primary score, if the task has one
    rank: int | None = None
    p_holm: float | None = None  # None where nothing was tested
    verdict: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def first(self) -> Record:
        return self.arm.records[0]

    @property
    def fair(self) -> Mapping[str, Any]:
        """Fields behind the fair_key, which both share."""
        return self.first.fair.fair or {}

    @property
    def methods(self) -> tuple[str, str]:
        """Of the arm and of its reference."""
        return self.arm.method, self.reference.method if self.reference else ""

    @property
    def tested(self) -> bool:
        """Whether the difference is tested, and so counts in its family."""
        numbers, small = self.numbers, is_small_fid(self.metric)
        if self.gate or numbers is None or self.margin is None or small:
            return False
        return numbers.seeds >= SEEDS_FOR_A_VERDICT and numbers.moves

    @property
    def beyond(self) -> str | None:
        """better or worse where the interval lies wholly beyond the margin."""
        if self.numbers is None or self.numbers.interval is None or self.margin is None:
            return None
        low, high = self.numbers.interval
        if low > self.margin:
            return "better"
        return "worse" if high < -self.margin else None


def reference_of(arm: Row, field: Sequence[Row]) -> Row | None:
    """The arm of one fair_key that `arm` is judged against: itself if it is of the kind.

    Where the reference's method ran with several configurations, the one that has the arm's; None
    where there is no such.
    """
    methods = [one.method for one in field]
    method = next((name for name in REFERENCES if name in methods), min(methods))
    candidates = [one for one in field if one.method == method]
    if arm.method == method:
        return arm
    if len(candidates) == 1:
        return candidates[0]
    return next((one for one in candidates if one.variant == arm.variant), None)


def is_small_fid(metric: str) -> bool:
    """FID of so few samples that its bias is of the size of what it should show."""
    samples = re.fullmatch(r"fid\w*@(\d+)", metric)
    return samples is not None and int(samples[1]) < FID_SAMPLES


def co_primary(primary: str, metrics: Iterable[str]) -> str | None:
    """The score that must not contradict the primary one, where the task has it."""
    distance = re.match(r"(kid|fid)\w*@", primary)
    return CO_PRIMARY if distance and CO_PRIMARY in metrics else None


def settle(comparisons: Sequence[Comparison]) -> None:
    """Gives every comparison its verdict, adjusted p and notes. One call for a whole leaderboard.

    comparisons: on primary scores only, in any order.
    """
    families: dict[tuple[str, str], list[Comparison]] = defaultdict(list)
    for one in comparisons:
        if one.tested:
            families[one.methods].append(one)
    for members in families.values():
        adjusted = holm([one.numbers.p or 0.0 for one in members if one.numbers])
        tasks = len({one.first.task for one in members})
        for one, p in zip(members, adjusted, strict=True):
            one.p_holm = p
            one.notes.append(
                f"Holm over {len(members)} comparison{'s' if len(members) > 1 else ''} of "
                f"{tasks} task{'s' if tasks > 1 else ''}"
            )
    for one in comparisons:
        one.verdict, why = _word(one)
        one.notes += [why] if why else []
    _take_back(comparisons)


def _word(one: Comparison) -> tuple[str, str]:
    """The verdict of one comparison by itself, and why there is no stronger one."""
    if one.gate is not None:
        return one.gate
    if one.reference is one.arm:
        return "", ""
    if one.reference is None:
        why = "several arms of the reference's method; none has this configuration"
        return "not_comparable", why
    if is_small_fid(one.metric):
        return "", f"FID of fewer than {FID_SAMPLES:,} samples gets no verdict"
    seeds = 0 if one.numbers is None else one.numbers.seeds
    if one.numbers is None or seeds < SEEDS_FOR_A_VERDICT:
        return "undecided", f"common seeds: {seeds}; a verdict needs {SEEDS_FOR_A_VERDICT}"
    if not one.numbers.moves:
        return "undecided", "no value depends on the seed: the seeds are no repetitions"
    if one.margin is None:
        return "undecided", f"margins.csv has no margin for {one.metric}"
    assert one.numbers.interval is not None
    assert one.p_holm is not None
    low, high = one.numbers.interval
    differs = one.p_holm <= ALPHA
    if -one.margin < low and high < one.margin:
        return "equivalent", "differs from 0 by less than the margin" if differs else ""
    if differs and one.beyond is not None:
        return one.beyond, ""
    return "undecided", "differs from 0, but not surely by the margin" if differs else ""


def _take_back(comparisons: Sequence[Comparison]) -> None:
    """Makes words that another score or another kind of budget contradicts `conflicting`."""
    words = [(one, one.verdict) for one in comparisons if one.verdict in OPPOSITE]
    for one, word in words:
        if one.beside is not None and one.beside.beyond == OPPOSITE[word]:
            _conflict(one, word, f"by {one.beside.metric} it is {OPPOSITE[word]}")
    for (one, word), (other, opposite) in combinations(words, 2):
        kinds = one.fair["budget_kind"], other.fair["budget_kind"]
        if OPPOSITE[word] == opposite and kinds[0] != kinds[1] and _race(one) == _race(other):
            _conflict(one, word, f"under {_budget(other)} it is {opposite}")
            _conflict(other, opposite, f"under {_budget(one)} it is {word}")


def _race(one: Comparison) -> str:
    """Equal for two comparisons that differ in their budget alone."""
    rest = {name: value for name, value in one.fair.items() if name not in OF_THE_BUDGET}
    return canonical([one.first.task, one.first.score_key, *one.methods, rest])


def _conflict(one: Comparison, word: str, why: str) -> None:
    one.verdict = "conflicting"
    one.notes.append(f"{word} here, but {why}")


def _budget(one: Comparison) -> str:
    return f"{exact(one.fair['budget_limit'])} {one.fair['budget_kind']}"
