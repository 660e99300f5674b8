"""What forbids a rank or a verdict, whatever the numbers say; read from the records' own proofs.

Each gate returns the verdict word and the reason, or None where it is open. What a record does not
hold is not held against it: a failed run has no chain of training ids.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from benchmarks.records.keys import differing
from benchmarks.records.record import Record
from benchmarks.report.rows import Board, Row

Closed = tuple[str, str]
# Of a network evaluation. Parameters have no gate: where both cannot be matched, FLOPs are.
FLOPS_TOLERANCE = 0.05
FLOPS = "FLOPs per network evaluation"


def clock_is_invalid(record: Record) -> bool:
    """Whether the budget was of seconds, and throughput changed so much that they differ in worth.

    The clock is judged under every budget; a limit in FLOPs, samples or steps does not need it.
    """
    timed = record.budget is not None and record.budget.kind == "device_seconds"
    return timed and str(record.volatile.host.get("clock", "")).startswith("invalid")


def of_arm(arm: Row) -> Closed | None:
    """What bars an arm from every rank."""
    if any(clock_is_invalid(record) for record in arm.records):
        return "invalid", f"{arm.name}: trained on a slowed clock"
    if any(record.quick for record in arm.records):
        return "not_comparable", f"{arm.name}: a quick preset is too small to compare methods"
    return None


def of_pair(arm: Row, reference: Row | None) -> Closed | None:
    """What bars a verdict on two arms of one fair_key: the gates of both, then of their match.

    reference: the arm itself, or None where there is none to stand beside.
    """
    reference = reference or arm
    for row in (arm, reference):
        if all(record.status == "failed" for record in row.records):
            return "invalid", f"{row.name}: no run was completed"
        closed = of_arm(row)
        if closed is not None:
            return closed
        # Matching is to CrossFlow: two arms may be near one another and both far from it.
        for record in row.records:
            ratio = record.fair.proof.get("evaluation_flops_ratio_to_crossflow")
            if isinstance(ratio, int | float) and abs(ratio - 1) > FLOPS_TOLERANCE:
                return "invalid", f"{row.name}: {ratio:.2f} times CrossFlow's {FLOPS}"
    for record, other in product(arm.records, reference.records):
        if record.seed != other.seed:
            continue
        if not read_the_same(record, other):
            return "invalid", f"{record.run_id} and {other.run_id}: other training rows"
        if record.model is None or other.model is None or "failed" in (record.status, other.status):
            continue
        ours, theirs = record.model.evaluation_flops, other.model.evaluation_flops
        ratio = 1.0 if ours == theirs else ours / theirs if theirs else math.inf
        if abs(ratio - 1) > FLOPS_TOLERANCE:
            return "invalid", f"{arm.name}: {ratio:.2f} times the {FLOPS} of {reference.name}"
    return None


def read_the_same(one: Record, other: Record) -> bool:
    """Whether nothing shows that two runs of one seed read different training rows.

    Chains of ids are compared after every step that both have a value for; two runs of one match
    have also been compared when they were recorded.
    """
    if one.match is not None and one.match == other.match:
        for record, beside in ((one, other), (other, one)):
            same = record.fair.proof.get("same_ids_as")
            if isinstance(same, Mapping) and same.get(beside.method) is False:
                return False
    ours, theirs = chain_of(one), chain_of(other)
    return all(ours[step] == theirs[step] for step in ours.keys() & theirs.keys())


def chain_of(record: Record) -> dict[str, Any]:
    """Chain value by number of steps; empty where the record has none."""
    state = record.fair.proof.get("training_ids")
    if not isinstance(state, Mapping):
        return {}
    marks = state.get("marks")
    ends = {str(state.get("steps")): state.get("value")}
    return {**(marks if isinstance(marks, Mapping) else {}), **ends}


def alone(board: Board, same_items: Sequence[Board]) -> Closed | None:
    """Why an arm has nothing to stand beside: its rivals ran under other fair keys.

    same_items: all boards of the score_key. The reason names the fields in which the nearest rival
    differs.
    """
    mine, gaps = board.first, []
    for other in same_items if len(board.arms) == 1 else []:
        names = ", ".join(arm.name for arm in other.arms if arm.method != mine.method)
        if names and other.fair_key != board.fair_key:
            fields = differing(mine.fair.fair or {}, other.first.fair.fair or {})
            why = f"{names} under fair_key {other.fair_key}: {'; '.join(fields)}"
            gaps.append((len(fields), why))
    return ("not_comparable", f"alone under its fair_key; {min(gaps)[1]}") if gaps else None
