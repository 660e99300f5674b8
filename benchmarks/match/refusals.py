"""What a job asks for and cannot have, told before anything is trained or written."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.config import registry
from benchmarks.match import recording
from benchmarks.report import references
from benchmarks.report.check import nearest
from crossflow.errors import ArmError, InputError, guard

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.match.job import Match
    from benchmarks.report.references import Reference


def refuse_what_is_not_built(config: Config) -> None:
    """A field that would be ignored: its user would believe that it had worked."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("torchrun: a match runs in one process so far; start it with python -m")
    if config.track != "defaults":
        raise InputError(f"track={config.track}: only track=defaults is built so far")


def find_arms(match: Match) -> None:
    """Fills modules, absent and failures of the match. InputError where no arm applies."""
    config = match.config
    for name in config.methods:
        module, reason = registry.method_of(config, name), None
        try:
            with guard(name, inspect.getfile(module)):
                reason = module.applies(match.prepared.problem)
        except ArmError as error:
            match.failures[name] = error
        if reason is None:
            match.modules[name] = module
        else:
            match.absent[name] = reason
            print(f"{config.task.name}: no arm {name}: {reason}", file=sys.stderr)
    if not match.modules:
        raise InputError(f"methods: none of them applies to {config.task.name}: {match.absent}")


def refuse_sampling_without_effect(match: Match) -> None:
    """Guidance of arms that have no null branch, and a tuning whose score cannot be computed."""
    config, items = match.config, len(match.prepared.validation_truth.ids)
    given, guided = config.sampling.guidance, match.prepared.problem.null_rate > 0
    # The quick preset gives one weight for all its tasks; it is not for comparison.
    if given is not None and not guided and not config.quick:
        raise InputError(
            f"sampling.guidance={given:g}: {config.task.name} trains no null rows, so there is "
            "nothing to guide by; leave it out"
        )
    primary = match.primary_on_validation
    if (guided and given is None) or config.sampling.curve:
        reason = match.task.unavailable()
        if primary.startswith("kid") and items < 100:
            reason = reason or f"KID needs 100 items, task.validation_limit={items}"
        if reason is not None:
            raise InputError(
                f"guidance or a curve is chosen by {primary}, which cannot be computed: {reason}; "
                "or give sampling.guidance and no sampling.curve"
            )


def expected(config: Config) -> list[Reference] | None:
    """The references of `check=true`, None without it. InputError where there are none."""
    if not config.check:
        return None
    return references.read(references.default_file())


def require_references(match: Match, rows: Sequence[Reference] | None) -> None:
    """InputError unless every row of the match has a reference of its protocol; None: no check."""
    if rows is None:
        return
    prepared, task = match.prepared, match.config.task
    crawled = prepared.train.digest if match.task.crawled() else None
    known: dict[str, dict[str, Any]] = {
        name: {
            "fair": None,
            "frame": references.bound_fields(name, task.train_limit, prepared.frozen, crawled),
        }
        for name in registry.BOUNDS
    }
    fair = recording.fair_fields(match)
    known |= {name: {"fair": fair, "frame": {}} for name in match.modules}
    file = references.default_file()
    for name, fields in known.items():
        stored, differences = nearest(rows, task.name, name, {"score": match.score, **fields})
        if not stored or differences:
            why = "; ".join(differences) or "python -m benchmarks.report check --accept makes one"
            raise InputError(
                f"check=true: {file} has no reference of {task.name} {name} of this protocol "
                f"(this run / reference): {why}"
            )
