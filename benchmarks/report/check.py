"""Regression checks: what records say now against the references of expected.csv.

Verdicts. ok, improved: pass. regressed: worse by more than the tolerance. changed: a score that no
training moves has moved, or counts other items. missing: the reference file knows no such arm or
metric. absent: the record has no such score, though the reference does, or a match of records here
lacks an arm that it was asked for. failed: the run did. These five end with status 1. refused: the
reference was made under another protocol; status 2. `tolerance` says how much worse is too much.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.config.registry import BOUNDS
from benchmarks.records.keys import canonical, differing, digest
from benchmarks.records.record import Record
from benchmarks.report import tolerance
from benchmarks.report.references import Fields, Reference, bound_of, machine, protocol
from benchmarks.report.rows import Row, arms, untrained
from benchmarks.report.tolerance import Mean

FAILING = ("regressed", "changed", "missing", "absent", "failed")
TINY_FLOPS = 1e13  # of training: twice the budget of the quick preset
# How `crossflow.clock` says that an arm ran on a CPU; the device's name does not.
ON_A_CPU = "device type cpu"


@dataclass
class Measured:
    """One arm as it stands in the records: what a row of references may be compared with."""

    name: str  # the method, with four digits where one method ran in several configurations
    task: str
    method: str
    protocol: Fields
    done: list[Record] = field(default_factory=list)
    failed: list[Record] = field(default_factory=list)

    @property
    def machine(self) -> Fields | None:
        """The machine of all its runs; None where it is not known or not one."""
        machines = {canonical(machine(record)) for record in self.done}
        return machine(self.done[0]) if len(machines) == 1 else None

    @property
    def key(self) -> str:
        """The digest that its rank or its score goes by."""
        return digest(self.protocol["fair"] or self.protocol["score"])

    @property
    def predictions(self) -> str | None:
        """Digest of the predictions that an evaluation scored."""
        digests = {str(record.fair.proof.get("predictions", "")) for record in self.done}
        return ";".join(sorted(digests)) or None

    @property
    def kind(self) -> str:
        """The class of a new reference: see `tolerance`."""
        if self.protocol["fair"] is None:
            return "exact"
        return "seeded" if all(map(_tiny_on_a_cpu, self.done)) else "statistical"

    @property
    def metrics(self) -> list[str]:
        """Names of scores that every completed run has."""
        every = [set(record.scores) for record in self.done]
        return sorted(set.intersection(*every)) if every else []

    def by_seed(self, metric: str) -> dict[int, float]:
        """The value of each seed; a seed that ran twice counts once, by its mean."""
        return Row(self.name, "arm", self.done).values(metric) or {}

    def mean(self, metric: str) -> Mean:
        errors = [record.scores[metric].stderr for record in self.done]
        known = [error for error in errors if error is not None]
        together = (sum(e**2 for e in known) / len(known)) ** 0.5 if known else None
        whole = together if len(known) == len(errors) else None
        return Mean(list(self.by_seed(metric).values()), whole)


@dataclass
class Check:
    """One score against its reference."""

    arm: Measured
    metric: str
    verdict: str
    why: str  # the rule, or what is wrong
    value: float | None = None  # value and reference: the two that decide, None where none does
    reference: float | None = None
    tolerance: float | None = None
    better: str | None = None
    accepted: bool = False  # the value is a reference by now

    @property
    def fails(self) -> bool:
        return self.verdict in FAILING and not self.accepted

    @property
    def refused(self) -> bool:
        return self.verdict == "refused" and not self.accepted


def _tiny_on_a_cpu(record: Record) -> bool:
    """Whether equal bits can be asked of this run: small, by no clock, on no GPU."""
    budget, reason = record.budget, record.volatile.host.get("utilisation_reason")
    if budget is None or budget.kind == "device_seconds" or budget.train_flops > TINY_FLOPS:
        return False
    return str(reason).endswith(ON_A_CPU)


def measured(records: Iterable[Record]) -> list[Measured]:
    """The arms of some records, ordered by task, method and protocol."""
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.task, record.method, canonical(protocol(record))].append(record)
    found = []
    for (task, method, _), members in sorted(groups.items()):
        if members[0].fair_key is not None:
            of_protocol = arms(members)
        elif members[0].kind == "run":
            of_protocol = [Row(method, "bound", members)]
        else:  # other predictions under the same name are another arm
            of_protocol = untrained(members)
        for row in of_protocol:
            done = [record for record in row.records if record.status == "completed"]
            seeds = {record.seed for record in done}
            failed = [record for record in row.records if record.seed not in seeds]
            found.append(Measured(row.name, task, method, protocol(members[0]), done, failed))
    return found


def compare(records: Iterable[Record], references: Sequence[Reference]) -> list[Check]:
    """Every score of every arm against its reference, then the arms that should be there."""
    several = list(records)
    checks = [check for arm in measured(several) for check in _of_arm(arm, references)]
    return checks + _vanished(several, references)


def _of_arm(arm: Measured, references: Sequence[Reference]) -> list[Check]:
    """The checks of one arm; a single one where its protocol is refused."""
    checks = [
        Check(arm, "run", "failed", f"{run.run_id}: {run.volatile.error}") for run in arm.failed
    ]
    if not arm.done:
        return checks
    trained = arm.protocol["fair"] is not None
    rows, differences = nearest(references, arm.task, arm.method, trained, arm.protocol)
    if differences:
        why = f"another protocol (record / reference): {'; '.join(differences)}"
        return [*checks, Check(arm, "protocol", "refused", why)]
    checks += [_judged(arm, metric, rows.get(metric)) for metric in arm.metrics]
    for metric in sorted(rows.keys() - set(arm.metrics)):
        lacking = [record for record in arm.done if metric not in record.scores]
        reasons = {record.unavailable.get(metric, "no such score") for record in lacking}
        check = Check(arm, metric, "absent", "; ".join(sorted(reasons)))
        check.reference, check.better = statistics.fmean(rows[metric].values), rows[metric].better
        checks.append(check)
    return checks


def nearest(
    references: Iterable[Reference],
    task: str,
    method: str,
    trained: bool,
    known: Mapping[str, Any],
) -> tuple[dict[str, Reference], list[str]]:
    """References of an arm by metric, and how their protocol differs from what is known of its own.

    trained: whether it is an arm with a budget; an evaluation may have the name of one. known: some
    of score, fair and frame. Of several protocols that with the fewest differing fields; none
    differ where it is the arm's. Nothing at all where the file has no row of the arm.
    """
    groups: dict[str, dict[str, Reference]] = defaultdict(dict)
    for row in references:
        if (row.task, row.method, row.fair_key is not None) == (task, method, trained):
            groups[canonical(row.protocol)][row.metric] = row
    found: list[tuple[int, list[str], str]] = []
    for key, rows in sorted(groups.items()):
        whole = next(iter(rows.values())).protocol
        theirs = {name: whole[name] for name in known}
        if canonical(known) == canonical(theirs):
            return rows, []
        fields = differing(dict(known), theirs)
        # A digest says nothing beside the fields it is the digest of.
        telling = [line for line in fields if not line.startswith("fair.score_key:")]
        found.append((len(fields), telling or fields, key))
    if not found:
        return {}, []
    _, differences, key = min(found)
    return groups[key], differences


def _judged(arm: Measured, metric: str, row: Reference | None) -> Check:
    """One score with values, tolerance and verdict."""
    scores = [record.scores[metric] for record in arm.done]
    check = Check(arm, metric, "missing", "no reference", better=scores[0].better)
    check.value = statistics.fmean(arm.by_seed(metric).values())
    if row is None:
        return check
    check.reference = statistics.fmean(row.values)
    counts = sorted({score.n for score in scores} - {row.n})
    if {score.better for score in scores} != {row.better}:
        check.verdict, check.why = "changed", f"in the reference {row.better} is better"
    elif counts:
        check.verdict = "changed"
        check.why = f"over {', '.join(map(str, counts))} items, the reference over {row.n}"
    else:
        _weigh(check, arm, row)
    return check


def _weigh(check: Check, arm: Measured, row: Reference) -> None:
    """The rule of the reference's class; of several pairs of values the worst decides."""
    values, stored = arm.by_seed(row.metric), dict(zip(row.seeds, row.values, strict=True))
    same_machine = row.machine is not None and canonical(row.machine) == canonical(arm.machine)
    shared = sorted(values.keys() & stored.keys())
    mean = statistics.fmean(row.values)
    exact = row.kind == "exact" and row.predictions == arm.predictions
    if exact:
        allowed = tolerance.exact(mean, same_machine)
        pairs = [(value, mean, allowed) for value in values.values()]
    elif row.kind == "seeded" and same_machine and shared:
        pairs = [(values[seed], stored[seed], tolerance.seeded(stored[seed])) for seed in shared]
    else:
        new = arm.mean(row.metric)
        allowed = tolerance.statistical(Mean(row.values, row.stderr), new, row.floor)
        if row.kind != "statistical":
            reason = "other predictions" if row.kind == "exact" else "another machine or seed"
            allowed = replace(allowed, rule=f"{row.kind}, but {reason}: {allowed.rule}")
        pairs = [(statistics.fmean(new.values), mean, allowed)]
    sign = 1 if row.better == "lower" else -1
    worst = max(pairs, key=lambda pair: sign * (pair[0] - pair[1]) - pair[2].value)
    best = min(pairs, key=lambda pair: sign * (pair[0] - pair[1]) + pair[2].value)
    regressed = sign * (worst[0] - worst[1]) > worst[2].value
    improved = sign * (best[1] - best[0]) > best[2].value
    check.value, check.reference, allowed = best if improved and not regressed else worst
    check.tolerance, check.why = allowed.value, allowed.rule
    check.verdict = "regressed" if regressed else "improved" if improved else "ok"
    if exact and check.verdict != "ok":
        check.verdict = "changed"


def _vanished(records: Sequence[Record], references: Sequence[Reference]) -> list[Check]:
    """Arms that references know and records lack, though a match that should have them is there.

    A reference counts for a match by its score_key and, for an arm, its fair_key. An arm is missed
    where `methods` of such a match asks for it; floor and oracle, which every match has, where the
    match's would have the reference's protocol. An evaluation belongs to no match.
    """
    here = {(one.task, one.method, canonical(protocol(one))) for one in records}
    runs = sorted((one for one in records if one.kind == "run"), key=lambda one: one.run_id)
    known = {row.identity[:3]: row for row in sorted(references, key=lambda row: row.identity)}
    checks = []
    for identity, row in known.items():
        beside = next((run for run in runs if _should_have(run, row)), None)
        if identity in here or beside is None:
            continue
        absent = beside.fair.proof.get("absent")
        reason = absent.get(row.method) if isinstance(absent, dict) else None
        why = f"no record of it beside {beside.run_id}" + (f": {reason}" if reason else "")
        arm = Measured(row.method, row.task, row.method, row.protocol)
        checks.append(Check(arm, "run", "absent", why))
    return checks


def _should_have(run: Record, row: Reference) -> bool:
    """Whether the match of a run makes, or was asked to make, the arm of a reference."""
    if run.score_key != row.score_key:
        return False
    if row.method in BOUNDS:
        bound = bound_of(run, row.method)
        return row.fair_key is None and canonical(bound) == canonical(row.protocol["frame"])
    asked = run.config.get("methods")
    same_race = row.fair_key is not None and run.fair_key == row.fair_key
    return same_race and isinstance(asked, list) and row.method in asked
