"""Sampling the items of a split with a trained arm; guidance is chosen on validation.

A sample depends on (seed, item, draw) alone: neither the batch size nor the order of the items
changes it (beyond the last bits of a matrix product).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.metrics.score import Score, Scored
    from crossflow.arm import Arm
    from crossflow.draws import ItemDraws
    from crossflow.method import Ends
    from crossflow.solver import Grid
    from crossflow.store import Store

# The same for every arm; extended while the best lies at an end (design: never on the edge).
GUIDANCE = (1.0, 1.5, 2.0, 3.0, 4.0)
LOWEST, HIGHEST = 0.5, 32.0


class Predictions(NamedTuple):
    values: list[Any]  # one an item
    nfe: int  # network calls a sample took


@dataclass(frozen=True)
class Sampler:
    """How an arm is sampled: the same settings for every arm of a match, but for guidance."""

    grid: Grid
    batch: int
    seed: int
    device: str
    draw: int = 0  # which of the independent samples of an item; scores are of the first
    # The flip test of AdaBins and ZoeDepth: the mean of the prediction and the mirrored prediction
    # for the mirrored source, each limited to its range by `decode`, with equal draws.
    flip: bool = False
    precision: str = "fp32"  # of the network's matrix products; encoder and solver stay in fp32

    def predict(
        self,
        arm: Arm,
        store: Store,
        decode: Callable[[Any], Sequence[Any]],
        guidance: float,
        report: Callable[[int, int], None] = lambda done, total: None,
        among: range | None = None,
    ) -> Predictions:
        """One prediction for each row of `store`, or for those `among` them, in its order."""
        import torch

        from crossflow.problem import Source

        values, names, nfe = list[Any](), store.ids, 0
        among = range(len(store)) if among is None else among
        for start in range(0, len(among), self.batch):
            rows = among[start : start + self.batch]
            source = store.pairs(list(rows)).source.to(self.device)
            mirrored = Source(source.values.flip(-1), source.mask) if self.flip else source
            draws, decoded, calls = self.draws([names[row] for row in rows]), list[Any](), 0
            for given in (source, mirrored)[: 1 + self.flip]:
                with torch.no_grad():
                    ends = arm.method.sample_ends(given, draws)
                target, more = self.follow(arm, store, ends, guidance)
                decoded.append(decode(target if given is source else target.flip(-1)))
                calls += more
            pairs = zip(*decoded, strict=True)
            values += [(a + b) / 2 for a, b in pairs] if self.flip else decoded[0]
            nfe = max(nfe, calls)
            report(len(values), len(among))
        return Predictions(values, nfe)

    def draws(self, names: Sequence[str]) -> ItemDraws:
        """The random numbers of items, by their names: their places in a list may change."""
        from crossflow.draws import ItemDraws

        return ItemDraws(self.seed, [item_number(name) for name in names], self.draw)

    def follow(self, arm: Arm, store: Store, ends: Ends, guidance: float) -> tuple[Tensor, int]:
        """Where the flow from any ends leads, in the store's units, and the network calls."""
        import torch

        from crossflow.store import unstandardise

        half, kind = self.precision == "bf16", torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            sampled = arm.method.sample(arm.net, ends, self.grid, guidance)
        return unstandardise(sampled.x, store.statistics["target"]), sampled.nfe


def item_number(name: str) -> int:
    """A number for the draws of an item, from its id."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "little")


class Trial(NamedTuple):
    """One point of a sweep on validation items."""

    guidance: float
    steps: int
    nfe: int
    metric: str
    score: Score


class Result(NamedTuple):
    """How an arm did on the test split."""

    arm: Arm  # with the averaged weights: what is sampled and exported
    scored: Scored
    guidance: float
    nfe: int
    trials: list[Trial]  # from which the guidance was chosen


def choose_guidance(measure: Callable[[float], Trial]) -> tuple[float, list[Trial]]:
    """The best weight of the grid by `measure`, and every trial in order of the weight. The grid
    grows or shrinks by half while the best is at its end, to HIGHEST or LOWEST."""

    def cost(trial: Trial) -> tuple[float, float]:
        value = trial.score.value * (-1 if trial.score.better == "higher" else 1)
        # Among equals the weight nearest to 1, where one network evaluation is enough.
        return value if math.isfinite(value) else math.inf, abs(math.log(trial.guidance))

    trials = {weight: measure(weight) for weight in GUIDANCE}
    while True:
        best = min(trials.values(), key=cost).guidance
        if best == max(trials) and best * 1.5 <= HIGHEST:
            following = best * 1.5
        elif best == min(trials) and best / 2 >= LOWEST:
            following = best / 2
        else:
            return best, [trials[weight] for weight in sorted(trials)]
        trials[following] = measure(following)
