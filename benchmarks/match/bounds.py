"""Floor and oracle of a match: scored before anything is trained.

What is wrong with the weights or the options of a score is told then, while it costs nothing.
"""

from __future__ import annotations

from benchmarks.config import registry
from benchmarks.match import arm, recording
from benchmarks.match.job import Match
from benchmarks.records import keys, samples
from benchmarks.records import record as records
from crossflow.errors import InputError


def score(match: Match, rows: dict[str, records.Record]) -> None:
    """Scores the bounds that `rows` lacks and puts their records there.

    All are scored before the first is written: InputError leaves nothing behind.
    """
    from benchmarks.tasks import bounds

    prepared, scored = match.prepared, {}
    for name in (name for name in registry.BOUNDS if name not in rows):
        match.progress(f"{name}: scoring", 0, 1)
        if name == "floor":
            values = prepared.floor()
        else:
            values = bounds.oracle(prepared.test, prepared.decode)
        scored[name] = values, prepared.truth.score(values)
        match.progress(f"{name}: scoring", 1, 1)
        _require_primary(match, scored[name][1].unavailable)
    if scored:
        truth, ends = prepared.truth, samples.ends(keys.digest(match.score))
        samples.keep(match.out, match.config.task.name, ends, truth.ids, truth.cells)
    for name, (values, scores) in scored.items():
        arm.keep(match, name, values, scores)
        rows[name] = recording.of_bound(match, name, scores)
        records.write(rows[name], match.out)


def _require_primary(match: Match, unavailable: dict[str, str]) -> None:
    """InputError where the score that ranks cannot be computed: no arm would have it either."""
    primary = match.score["primary"]
    if primary in unavailable and not match.config.quick:
        raise InputError(
            f"{primary}, which ranks the arms of {match.config.task.name}, cannot be computed: "
            f"{unavailable[primary]}; quick=true runs without, for rows that are not compared"
        )
