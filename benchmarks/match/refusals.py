"""What a job asks for and cannot have, told before anything is trained or written."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.config import registry
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.tasks.task import Prepared, Task


def refuse_what_is_not_built(config: Config) -> None:
    """A field that would be ignored is refused: its user would believe that it had worked."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("torchrun: a match runs in one process so far; start it with python -m")
    if config.track != "defaults":
        raise InputError(f"track={config.track}: only track=defaults is built so far")


def applicable(config: Config, prepared: Prepared) -> tuple[dict[str, Any], dict[str, str]]:
    """Modules of the methods that apply to the problem, and why the others do not."""
    modules, absent = {}, {}
    for name in config.methods:
        module = registry.method_of(config, name)
        reason = module.applies(prepared.problem)
        if reason is None:
            modules[name] = module
        else:
            absent[name] = reason
            print(f"{config.task.name}: no arm {name}: {reason}", file=sys.stderr)
    if not modules:
        raise InputError(f"methods: none of them applies to {config.task.name}: {absent}")
    return modules, absent


def refuse_sampling_without_effect(config: Config, task: Task[Any], prepared: Prepared) -> None:
    """Guidance of arms that have no null branch, and a tuning whose score cannot be computed."""
    sampling, items = config.sampling, len(prepared.validation_truth.ids)
    primary, guided = task.primary(items), prepared.problem.null_rate > 0
    if sampling.guidance is not None and not (guided or config.quick):
        # The quick preset gives one weight for all its tasks; it is not for comparison.
        raise InputError(
            f"sampling.guidance={sampling.guidance:g}: {config.task.name} trains no null rows, so "
            "there is nothing to guide by; leave it out"
        )
    tuned = (guided and sampling.guidance is None) or sampling.curve
    if tuned and prepared.unscored is not None:
        raise InputError(
            f"guidance or a curve is chosen by {primary}, which cannot be computed: "
            f"{prepared.unscored}; or give sampling.guidance and no sampling.curve"
        )
    if tuned and primary.startswith("kid") and items < 100:
        raise InputError(
            f"task.validation_limit={items}: guidance or a curve by KID needs 100 validation "
            "items; raise it, or give sampling.guidance and no sampling.curve"
        )
