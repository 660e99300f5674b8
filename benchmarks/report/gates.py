"""What bars an arm from a rank, or two arms from a verdict, whatever their scores are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

from benchmarks.records.keys import differing
from benchmarks.records.record import Record
from benchmarks.report.rows import Board, Row

FLOPS_TOLERANCE = 0.05  # parameters have no gate: where both cannot be matched, FLOPs are
FLOPS = "FLOPs per network evaluation"
Closed = tuple[str, str]  # the word where there is no verdict, and why


def clock_is_invalid(record: Record) -> bool:
    """Whether throughput changed so much that seconds differ in worth, under a budget of them."""
    timed = record.budget is not None and record.budget.kind == "device_seconds"
    return timed and str(record.volatile.host.get("clock", "")).startswith("invalid")


def bars_arm(arm: Row) -> Closed | None:
    """What bars an arm from every rank."""
    if any(map(clock_is_invalid, arm.records)):
        return "invalid", f"{arm.name}: trained on a slowed clock"
    if any(record.quick for record in arm.records):
        return "not_comparable", f"{arm.name}: a quick preset is too small to compare methods"
    return None


def bars_pair(arm: Row, reference: Row) -> Closed | None:
    """What bars a verdict on two arms of one fair_key."""
    for row in (arm, reference):
        if all(record.status == "failed" for record in row.records):
            return "invalid", f"{row.name}: no run was completed"
        if closed := bars_arm(row):
            return closed
        # Matching is to CrossFlow: two arms may be near one another and both far from it.
        for record in row.records:
            ratio = record.fair.proof.get("evaluation_flops_ratio_to_crossflow")
            if isinstance(ratio, int | float) and abs(ratio - 1) > FLOPS_TOLERANCE:
                return "invalid", f"{row.name}: {ratio:.2f} times CrossFlow's {FLOPS}"
    for record, other in product(arm.records, reference.records):
        if record.seed != other.seed:
            continue
        if not _read_the_same(record, other):
            return "invalid", f"{record.run_id} and {other.run_id}: other training rows"
        if record.model is None or other.model is None or "failed" in (record.status, other.status):
            continue
        ours, theirs = record.model.evaluation_flops, other.model.evaluation_flops
        ratio = 1.0 if ours == theirs else ours / theirs if theirs else math.inf
        if abs(ratio - 1) > FLOPS_TOLERANCE:
            return "invalid", f"{arm.name}: {ratio:.2f} times the {FLOPS} of {reference.name}"
    return None


def _read_the_same(one: Record, other: Record) -> bool:
    """By what their match recorded, and by their chains of ids after steps that both know."""
    chains = []
    for record, beside in ((one, other), (other, one)):
        proof: Any = record.fair.proof
        denied = (proof.get("same_ids_as") or {}).get(beside.method) is False
        if denied and record.match == beside.match is not None:
            return False
        ids = proof.get("training_ids") or {}
        chains.append({**(ids.get("marks") or {}), str(ids.get("steps")): ids.get("value")})
    return all(chains[0][step] == chains[1][step] for step in chains[0].keys() & chains[1].keys())


def bars_alone(board: Board, same_items: Sequence[Board]) -> Closed | None:
    """The rivals of an arm that stands alone, of `same_items`, and how the nearest one differs."""
    mine, gaps = board.first, []
    for other in same_items if len(board.arms) == 1 else []:
        names = ", ".join(arm.name for arm in other.arms if arm.method != mine.method)
        if names and other.fair_key != board.fair_key:
            fields = differing(mine.fair.fair or {}, other.first.fair.fair or {})
            why = f"{names} under fair_key {other.fair_key}: {'; '.join(fields)}"
            gaps.append((len(fields), why))
    return ("not_comparable", f"alone under its fair_key; {min(gaps)[1]}") if gaps else None
