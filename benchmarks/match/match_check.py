"""`run check=true`: the records of a match against the references of the checkout.

Whatever would make the comparison impossible is refused before the first step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.config import registry
from benchmarks.match import arm_record
from benchmarks.records.record import Record
from benchmarks.report import check_command, references
from benchmarks.report.check import compare, nearest
from benchmarks.report.references import Reference, bound_fields
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.match.match import Match


def expected(config: Config) -> list[Reference] | None:
    """The references, None without check=true. InputError where there are none."""
    if not config.check:
        return None
    file = references.default_file()
    if file is None:
        raise InputError(
            "check=true: this package lies in no checkout with results/public; after the run, "
            "python -m benchmarks.report check --against FILE compares its records"
        )
    return references.read(file)


def require(
    rows: Sequence[Reference] | None, task: str, protocols: Mapping[str, Mapping[str, Any]]
) -> None:
    """InputError unless every arm has a reference of its protocol; None: nothing is asked for.

    protocols: by method, what is known of each before a step is taken: score, and fair and frame
    where they are known. Before that, methods that do not apply are not told apart from those that
    lack a reference, so that only a framing row, which every match has, is missed.
    """
    if rows is None:
        return
    file = references.default_file()
    for method, known in protocols.items():
        framing = method in registry.BOUNDS
        found, differences = nearest(rows, task, method, not framing, known)
        if not found and (framing or "fair" in known):
            raise InputError(
                f"check=true: {file} has no reference of {task} {method}; run without check, then "
                "python -m benchmarks.report check --accept makes one"
            )
        if differences:
            raise InputError(
                f"check=true: {task} {method} cannot be compared with {file}: another protocol "
                f"(this run / reference): {'; '.join(differences)}"
            )


def conclude(rows: list[Reference] | None, records: Sequence[Record]) -> int:
    """Compares the records of a match and prints the checks; status as of `report check`."""
    if rows is None:
        return 0
    file = references.default_file()
    assert file is not None  # `expected` read it
    checks = compare(records, rows)
    print()
    check_command.print_checks(checks, [row for row in rows if row.task == records[0].task], file)
    return check_command.status(checks, file)


def protocols(match: Match) -> dict[str, dict[str, Any]]:
    """By method, what a reference of it must be equal in: see `report.references.protocol`."""
    score, fair = match.score_fields, arm_record.fair_fields(match)
    limit, prepared = match.config.task.train_limit, match.prepared
    crawled = prepared.train.digest if prepared.training else None
    frames = {n: bound_fields(n, limit, prepared.frozen, crawled) for n in registry.BOUNDS}
    return {name: {"score": score, "fair": None, "frame": frames[name]} for name in frames} | {
        name: {"score": score, "fair": fair, "frame": {}} for name in match.modules
    }
