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
    """A field that would be ignored is refused: its user would believe that it had worked."""
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
    config, prepared = match.config, match.prepared
    sampling, items = config.sampling, len(prepared.validation_truth.ids)
    primary, guided = match.primary_on_validation, prepared.problem.null_rate > 0
    if sampling.guidance is not None and not (guided or config.quick):
        # The quick preset gives one weight for all its tasks; it is not for comparison.
        raise InputError(
            f"sampling.guidance={sampling.guidance:g}: {config.task.name} trains no null rows, so "
            "there is nothing to guide by; leave it out"
        )
    tuned = (guided and sampling.guidance is None) or sampling.curve
    reason = match.task.unscored() if tuned else None
    if reason is not None:
        raise InputError(
            f"guidance or a curve is chosen by {primary}, which cannot be computed: "
            f"{reason}; or give sampling.guidance and no sampling.curve"
        )
    if tuned and primary.startswith("kid") and items < 100:
        raise InputError(
            f"task.validation_limit={items}: guidance or a curve by KID needs 100 validation "
            "items; raise it, or give sampling.guidance and no sampling.curve"
        )


def expected(config: Config) -> list[Reference] | None:
    """The references of `check=true`, None without it. InputError where there are none."""
    if not config.check:
        return None
    file = references.default_file()
    if file is None:
        raise InputError(
            "check=true: this package lies in no checkout with results/public; after the run, "
            "python -m benchmarks.report check --against FILE compares its records"
        )
    return references.read(file)


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
        if not stored:
            raise InputError(
                f"check=true: {file} has no reference of {task.name} {name}; run without check, "
                "then python -m benchmarks.report check --accept makes one"
            )
        if differences:
            raise InputError(
                f"check=true: {task.name} {name} cannot be compared with {file}: another protocol "
                f"(this run / reference): {'; '.join(differences)}"
            )
