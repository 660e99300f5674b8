"""Null rows: which training rows lose their own source, and which target they get instead.

The choice depends on (seed, step) and on the images of the global batch alone, so all arms and
processes choose alike. At a rate > 0 a batch has max(2, round(rate * batch)): never by chance none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from crossflow.draws import StepDraws
from crossflow.errors import InputError

# Where one epoch ends and the next begins a batch may show images twice; four rows still show two.
LEAST_BATCH = 4


@dataclass(frozen=True)
class Nulls:
    """Null rows of this process, and whose x1 each row gets where null rows are re-targeted.

    `targets` are rows of the global batch. Null rows exchange theirs: none keeps its own, nor gets
    one of the same image; every other row keeps its own.
    """

    mask: Bool[Tensor, " b"]
    targets: Int[Tensor, " b"]

    def retarget(self, x1: Float[Tensor, "b ..."], draws: StepDraws) -> Float[Tensor, "b ..."]:
        """x1 with the targets of null rows exchanged; `x1` itself is left as it is."""
        return draws.whole_batch(x1)[self.targets.to(x1.device)]


def choose_nulls(groups: Int[Tensor, " b"], draws: StepDraws, rate: float) -> Nulls | None:
    """Null rows of one global batch, or None at rate 0.

    groups: image of each row of this process, on the CPU. Raises InputError where the batch has
    too few images for every null row to get another one.
    """
    if rate == 0:
        return None
    images = draws.whole_batch(groups).tolist()
    count = max(2, round(rate * draws.total))
    rows: list[int] = []
    taken: Counter[int] = Counter()
    # At most half of the null rows may show one image: then, and only then, all can be exchanged.
    for row in draws.permutation("null").tolist():
        if len(rows) < count and taken[images[row]] < count // 2:
            rows.append(row)
            taken[images[row]] += 1
    if len(rows) < count:
        few = f"{count} rows of {len(set(images))} images cannot exchange targets"
        raise InputError(f"{few}: use a larger training.batch or null_rate 0")
    # Sorted by image, a shift by the largest image's count leaves every image's block.
    order = list(taken)  # of their first rows
    rows.sort(key=lambda row: order.index(images[row]))
    shift = max(taken.values())
    targets = torch.arange(draws.total)
    targets[rows] = torch.tensor(rows[shift:] + rows[:shift])
    return Nulls(draws.mine(targets != torch.arange(draws.total)), draws.mine(targets))
