"""A match in several processes: the first leads, the others wait for its word and do their part.

Preparing, training, sampling and decoding are shared. The first alone scores, writes and decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.match.sampling import Predictions
from crossflow import world

if TYPE_CHECKING:
    from benchmarks.match.job import Match
    from benchmarks.match.sampling import Sampler
    from crossflow.arm import Arm


def tell(*word: object) -> None:
    """What the others do next, and with what; nothing: their work is done."""
    world.from_first(word)


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


def part(
    match: Match,
    arm: Arm,
    split: str,
    sampler: Sampler,
    guidance: float,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Predictions]:
    """Predicts this process's items; gives every process's part in the first, elsewhere nothing."""
    store, here = getattr(match.prepared, split), replace(sampler, device=match.device)
    mine: Predictions | Exception
    try:
        rows = world.share(len(store))
        mine = here.predict(arm, store, match.prepared.decode, guidance, report, rows)
    except Exception as error:  # raised in the first: the others would wait for this part
        mine = error
    parts = world.gathered(mine)
    for each in parts:
        if isinstance(each, Exception):
            raise each
    return [each for each in parts if isinstance(each, Predictions)]
