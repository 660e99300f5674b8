"""A match in several processes: the first leads, the others wait for its word and do their part.

Preparing, training, sampling and decoding are shared. The first alone scores, writes and decides.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from benchmarks.config import registry
from benchmarks.match.sampling import Predictions
from crossflow import world
from crossflow.errors import InputError, guard
from crossflow.solver import STAGES

if TYPE_CHECKING:
    from benchmarks.match.job import Match
    from benchmarks.match.sampling import Sampler
    from crossflow.arm import Arm

Value = TypeVar("Value")


def tell(*word: object) -> None:
    """What the others do next, and with what; nothing: their work is done."""
    world.from_first(word)


def agreed(work: Callable[[], Value]) -> Value:
    """What `work` gives, which waits for no other process. A user's mistake in one is one in all:
    whoever raises InputError alone would leave the others waiting."""
    mistake: InputError | None = None
    try:
        value = work()
    except InputError as error:
        mistake = error
    mistakes = world.from_first(world.gathered(str(mistake or "")))
    for number, text in enumerate(mistakes):
        if text:
            raise mistake or InputError(f"{text} (in process {number} of {len(mistakes)})")
    return value


def alike(match: Match, build: Callable[[Match], dict[str, Arm]]) -> dict[str, Arm]:
    """The arms, where every process builds the same; else RuntimeError: they would wait for each
    other."""
    arms = agreed(lambda: build(match))
    reasons = str({name: str(error) for name, error in match.failures.items()})
    built = world.from_first(world.gathered((match.name, sorted(arms), reasons)))
    if any(each[:2] != built[0][:2] for each in built):
        why = "; ".join(f"process {number}: {each[2]}" for number, each in enumerate(built))
        raise RuntimeError(f"not every process can build the same arms: {why}")
    return arms


def predict(
    match: Match,
    arm: Arm,
    split: str,
    sampler: Sampler,
    guidance: float,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Predictions:
    """One prediction for each item of a split, in its order."""
    tell("predict", arm.name, split, sampler, guidance)
    parts = part(match, arm, split, sampler, guidance, report)
    return Predictions([one for each in parts for one in each.values], max(p.nfe for p in parts))


def share(items: int, sampler: Sampler) -> range:
    """This process's items. An adaptive solver's steps depend on who shares a batch: whole batches
    of those that one process would make."""
    each = 1 if sampler.grid.solver in STAGES else sampler.batch
    units = world.share(-(-items // each))
    return range(units.start * each, min(units.stop * each, items))


def part(
    match: Match,
    arm: Arm,
    split: str,
    sampler: Sampler,
    guidance: float,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Predictions]:
    """Predicts this process's items; gives every process's part in the first, elsewhere nothing."""
    mine: Predictions | Exception
    try:
        store, here = getattr(match.prepared, split), replace(sampler, device=match.device)
        rows = share(len(store), sampler)
        file = inspect.getfile(registry.method_of(match.config, arm.name))
        with guard(arm.name, file):  # here: what travels to the first loses its lines
            mine = here.predict(arm, store, match.prepared.decode, guidance, report, rows)
    except Exception as error:  # raised in the first: the others would wait for this part
        mine = error
    parts = world.gathered(mine)
    for each in parts:
        if isinstance(each, Exception):
            raise each
    return [each for each in parts if isinstance(each, Predictions)]
