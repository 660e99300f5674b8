"""Arms that references know and records lack, though a match that should have made them is there.

A reference counts for a match by its score_key and, for an arm, its fair_key. An arm is missed
where `methods` of such a match asks for it; floor and oracle, which every match has, where the
match's would have the reference's protocol. An evaluation belongs to no match and is never missed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from benchmarks.config.registry import FRAMING
from benchmarks.records.keys import canonical
from benchmarks.records.record import Record
from benchmarks.report.references import Reference, frame_of, protocol


def vanished(
    records: Sequence[Record], references: Sequence[Reference]
) -> list[tuple[Reference, str]]:
    """A reference of each arm that is missed, and in words which match should have made it."""
    here = {(one.task, one.method, canonical(protocol(one))) for one in records}
    runs: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda one: (one.task, one.run_id)):
        if record.kind == "run":
            runs[record.score_key].append(record)
    arms = {row.identity[:3]: row for row in sorted(references, key=lambda row: row.identity)}
    found = []
    for identity, row in arms.items():
        beside = next((run for run in runs[row.score_key] if _should_have(run, row)), None)
        if identity not in here and beside is not None:
            found.append((row, _told(row, beside)))
    return found


def _should_have(run: Record, row: Reference) -> bool:
    """Whether the match of a run makes, or was asked to make, the arm of a reference."""
    if row.method in FRAMING:
        frame = frame_of(run, row.method)
        return row.fair_key is None and canonical(frame) == canonical(row.protocol["frame"])
    asked = run.config.get("methods")
    same_race = row.fair_key is not None and run.fair_key == row.fair_key
    return same_race and isinstance(asked, list) and row.method in asked


def _told(row: Reference, beside: Record) -> str:
    absent = beside.fair.proof.get("absent")
    reason = absent.get(row.method) if isinstance(absent, dict) else None
    return f"no record of it beside {beside.run_id}" + (f": {reason}" if reason else "")
