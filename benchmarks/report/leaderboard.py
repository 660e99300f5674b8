"""leaderboard.csv: one row per arm and metric, ranked within one fair_key, with a word for an arm
against the reference arm on the primary score of its task; docs/reports.md says what each means.

`better` and `worse` need the paired t test after Holm, which bounds the chance of any wrong
direction in a family (the tested comparisons of one method with one reference, over tasks, budgets
and models), and an interval beyond the margin. What a record's proof lacks is not held against it.
"""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from benchmarks.records.keys import canonical, exact
from benchmarks.records.record import Record
from benchmarks.report import intervals
from benchmarks.report.gates import Closed, bars_alone, bars_arm, bars_pair
from benchmarks.report.intervals import ALPHA, Paired, deviation, holm, interval, margin_of, paired
from benchmarks.report.rows import Board, Row, boards, ranks

LEADER_COLUMNS = (
    "task score_key fair_key budget_kind budget_limit rank method model seeds metric better mean "
    "sd ci_low ci_high verdict reference common_seeds difference diff_low diff_high margin p "
    "p_holm detectable note task_version split quick lr nfe device seconds time_mark"
).split()
REFERENCES = ("flow_matching", "regression", "crossflow")
SEEDS_FOR_A_VERDICT = 5
FID_SAMPLES = 10_000
CO_PRIMARY = "psnr_y"  # beside a distance of distributions, which does not see a wrong picture
OPPOSITE = {"better": "worse", "worse": "better"}
# What two budgets of different kinds differ in by nature.
OF_THE_BUDGET = ("budget_kind", "budget_limit", "device", "devices", "threads")
AT_FLOOR = "neither beats the floor"  # by the margin


@dataclass
class Comparison:
    """An arm and the reference arm on one metric; `settle` fills in what follows from others."""

    arm: Row
    reference: Row | None  # the arm itself in its own row; None where it cannot be told
    metric: str
    better: str
    values: dict[int, float]  # the arm's, by training seed
    time_mark: str = ""  # where its seconds and its FLOPs tell different stories
    numbers: Paired | None = None
    margin: float | None = None  # in the scale of the metric
    floors: Sequence[float] = ()  # what needs no source; one a match
    gate: Closed | None = None
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
        return self.first.fair.fair or {}

    @property
    def methods(self) -> tuple[str, str]:
        return self.arm.method, self.reference.method if self.reference else ""

    @property
    def beyond(self) -> str:
        """better or worse where the interval lies wholly beyond the margin."""
        if self.numbers is None or self.numbers.interval is None or self.margin is None:
            return ""
        low, high = self.numbers.interval
        return "better" if low > self.margin else "worse" if high < -self.margin else ""

    @property
    def at_floor(self) -> bool:
        """Whether both arms learned nothing that the margin would show."""
        if self.numbers is None or self.margin is None or not self.floors:
            return False
        sign = 1 if self.better == "higher" else -1
        best = max(sign * statistics.fmean(self.values.values()), sign * self.numbers.reference)
        return best - max(sign * floor for floor in self.floors) < self.margin


def leader_rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Rows of leaderboard.csv: every arm of every fair_key, every metric, ranked."""
    every = [board for board in boards(records) if board.arms]
    every.sort(key=lambda board: (board.first.task, board.first.score_key, board.fair_key or ""))
    compared = []
    for board in every:
        same_items = [other for other in every if other.first.score_key == board.first.score_key]
        compared += _compared(board, bars_alone(board, same_items))
    settle([one for one in compared if one.metric == one.first.primary])
    return [_cells(one) for one in compared]


def _compared(board: Board, alone: Closed | None) -> list[Comparison]:
    """Every arm of one fair_key on every metric: metrics by name, arms by rank."""
    arms, primary, every = board.arms, board.first.primary, []
    scored = {name for arm in arms for run in arm.records for name in run.scores}
    if board.failed(primary) is not None:
        scored.add(primary)  # where every run failed, the floor's value is theirs
    co_primary = CO_PRIMARY if re.match(r"(kid|fid)\w*@", primary) else None
    marks = board.time_marks
    ranked = [not board.uneven and not bars_arm(arm) for arm in arms]
    for metric in sorted(scored):
        better, of_metric = board.better[metric], []
        values = {arm.name: board.values(arm, metric) or {} for arm in arms}
        means = [statistics.fmean(of.values()) if of else None for of in values.values()]
        shown = [mean if may else None for mean, may in zip(means, ranked, strict=True)]
        for arm, rank in zip(arms, ranks(shown, better), strict=True):
            reference = reference_of(arm, arms)
            mark = marks.get(arm.name, "")
            one = Comparison(arm, reference, metric, better, values[arm.name], mark, rank=rank)
            if reference and reference is not arm:
                one.numbers = paired(one.values, values[reference.name], better)
            if one.numbers and metric in (primary, co_primary):
                one.margin = margin_of(metric, one.numbers.reference)
                one.floors = board.floors(metric)
            if metric == primary:
                pair = (arm, reference or arm)
                missing = [row.name for row in pair if not values[row.name]]
                lacking = ("invalid", f"{missing[0]}: a seed has no {metric}") if missing else None
                one.gate = lacking or bars_pair(*pair) or alone
                one.notes += filter(None, [collapse_of(arm)])
            if board.uneven:
                one.notes.append(f"no rank: {board.uneven}")
            of_metric.append(one)
        every += sorted(of_metric, key=lambda one: (one.rank or len(arms) + 1, one.arm.name))
    beside = {one.arm.name: one for one in every if one.metric == co_primary}
    for one in every:
        one.beside = beside.get(one.arm.name) if one.metric == primary else None
    return every


def _cells(one: Comparison) -> dict[str, Any]:
    first, numbers, values = one.first, one.numbers, list(one.values.values())
    judged = numbers if one.metric == first.primary else None
    mean, sd = statistics.fmean(values) if values else None, deviation(values)
    ends = (None, None) if mean is None or sd is None else interval(mean, sd, len(values), 0.95)
    costs = one.arm.costs
    diff_low, diff_high = (numbers and numbers.interval) or (None, None)
    return {
        "task": first.task,
        "score_key": first.score_key,
        "fair_key": first.fair_key,
        "budget_kind": first.budget.kind if first.budget else None,
        "budget_limit": first.budget.limit if first.budget else None,
        "rank": one.rank,
        "method": one.arm.name,
        "model": one.fair.get("model"),
        "seeds": len(one.arm.seeds),
        "metric": one.metric,
        "better": one.better,
        "mean": mean,
        "sd": sd,
        "ci_low": _nine(ends[0]),
        "ci_high": _nine(ends[1]),
        "verdict": one.verdict,
        "reference": one.reference.name if one.reference else None,
        "common_seeds": numbers.seeds if numbers else None,
        "difference": numbers.difference if numbers else None,
        "diff_low": _nine(diff_low),
        "diff_high": _nine(diff_high),
        "margin": _nine(one.margin),
        "p": _nine(judged.p) if judged and one.p_holm is not None else None,
        "p_holm": _nine(one.p_holm),
        "detectable": _nine(judged.detectable) if judged else None,
        "note": "; ".join(one.notes),
        "task_version": first.fair.score["version"],
        "split": first.fair.score["split"],
        "quick": any(run.quick for run in one.arm.records),
        "time_mark": one.time_mark,
        **{name: costs[name] for name in ("lr", "nfe", "device", "seconds")},
    }


def _nine(value: float | None) -> float | None:
    """Nine significant digits: the last ones of a special function differ between processors."""
    return None if value is None else float(f"{value:.9g}")


def collapse_of(arm: Row) -> str:
    """Words for an arm whose learned source has collapsed in some runs, or none."""
    sources = [run.source for run in arm.completed if run.source]
    numbers = [(one.sigma_mean or 0.0, one.mu_std or 0.0) for one in sources]
    gone = [pair for pair in numbers if intervals.has_collapsed(*pair)]
    if not gone:
        return ""
    sigma, mean = map(statistics.fmean, zip(*gone, strict=True))
    runs = f"{len(gone)} of {len(arm.completed)} runs"
    return f"source collapsed in {runs} (sigma {sigma:.2f}, std(mu) {mean:.2f})"


def reference_of(arm: Row, field: Sequence[Row]) -> Row | None:
    """What `arm` is judged against: the first of REFERENCES, else the first method by name; of its
    several configurations that of the arm, if there is one."""
    methods = [one.method for one in field]
    method = next((name for name in REFERENCES if name in methods), min(methods))
    if arm.method == method:
        return arm
    candidates = [one for one in field if one.method == method]
    alike = [one for one in candidates if one.variant == arm.variant or len(candidates) == 1]
    return alike[0] if alike else None


def settle(comparisons: Sequence[Comparison]) -> None:
    """Gives all comparisons of a leaderboard on primary scores verdict, adjusted p and notes."""
    families: dict[tuple[str, str], list[tuple[Comparison, Paired]]] = defaultdict(list)
    for one in comparisons:
        if closed := _untested(one):
            one.verdict = closed[0]
            one.notes += filter(None, closed[1:])
        elif one.numbers:
            families[one.methods].append((one, one.numbers))
    for members in families.values():
        adjusted = holm([numbers.p or 0.0 for _, numbers in members])
        n, tasks = len(members), len({one.first.task for one, _ in members})
        note = f"Holm over {n} comparison{'s' * (n > 1)} of {tasks} task{'s' * (tasks > 1)}"
        for (one, numbers), p in zip(members, adjusted, strict=True):
            one.p_holm, differs = p, p <= ALPHA
            low, high = numbers.interval or (-math.inf, math.inf)
            one.notes.append(note)
            if one.margin and -one.margin < low and high < one.margin:
                one.verdict = "undecided" if one.at_floor else "equivalent"
                one.notes += ["differs from 0 by less than the margin"] * differs
            elif differs and one.beyond:
                one.verdict = one.beyond
            else:
                one.verdict = "undecided"
                one.notes += ["differs from 0, but not surely by the margin"] * differs
            one.notes += [AT_FLOOR] * one.at_floor
    _take_back([(one, one.verdict) for one in comparisons if one.verdict in OPPOSITE])


def _untested(one: Comparison) -> Closed | None:
    """The word of a comparison whose difference is not tested, and why it is not."""
    samples = re.fullmatch(r"fid\w*@(\d+)", one.metric)
    seeds = one.numbers.seeds if one.numbers else 0
    if one.gate or one.reference is one.arm:
        return one.gate or ("", "")
    if one.reference is None:
        return "not_comparable", "several arms of the reference's method; none is set up like this"
    if samples and int(samples[1]) < FID_SAMPLES:  # its bias is of the size of what it should show
        return "", f"FID of fewer than {FID_SAMPLES:,} samples gets no verdict"
    if one.numbers is None or seeds < SEEDS_FOR_A_VERDICT:
        return "undecided", f"common seeds: {seeds}; a verdict needs {SEEDS_FOR_A_VERDICT}"
    if not one.numbers.moves:
        return "undecided", "no value depends on the seed: the seeds are no repetitions"
    if one.margin is None:
        return "undecided", f"margins.csv has no margin for {one.metric}"
    return None


def _take_back(words: Sequence[tuple[Comparison, str]]) -> None:
    """Makes words that another score or another kind of budget contradicts `conflicting`."""
    conflicts = []
    for one, word in words:
        if one.beside is not None and one.beside.beyond == OPPOSITE[word]:
            conflicts.append((one, word, f"by {one.beside.metric}"))
    for (one, word), (other, opposite) in combinations(words, 2):
        kinds = {one.fair["budget_kind"], other.fair["budget_kind"]}
        if OPPOSITE[word] == opposite and len(kinds) == 2 and _race(one) == _race(other):
            budgets = [(of.fair["budget_limit"], of.fair["budget_kind"]) for of in (other, one)]
            under = [f"under {exact(limit)} {kind}" for limit, kind in budgets]
            conflicts += [(one, word, under[0]), (other, opposite, under[1])]
    for one, word, where in conflicts:
        one.verdict = "conflicting"
        one.notes.append(f"{word} here, but {where} it is {OPPOSITE[word]}")


def _race(one: Comparison) -> str:
    """Equal for two comparisons that differ in their budget alone."""
    rest = {name: value for name, value in one.fair.items() if name not in OF_THE_BUDGET}
    return canonical([one.first.task, one.first.score_key, *one.methods, rest])
