"""Classifier-free guidance by the null indicator, and the count of network evaluations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from crossflow.errors import InputError

if TYPE_CHECKING:
    from crossflow.methods import Ends

Network = Callable[..., Tensor]


class Guided:
    """v = w v(null = 0) + (1 - w) v(null = 1), CrossFlow Eq. 3; both branches see the same xt.

    `evaluations` counts network calls a row: one a call at w = 1, else two.
    Raises InputError where w is not 1 and no null branch was trained (`ends.null` is None).
    """

    def __init__(self, net: Network, ends: Ends, weight: float) -> None:
        if weight != 1 and ends.null is None:
            raise InputError(
                f"guidance {weight} needs a null branch: train with null_rate above 0, or use 1"
            )
        self.net, self.ends, self.weight = net, ends, weight
        self.evaluations = 0

    def __call__(
        self, x: Float[Tensor, "b c h w"], t: Float[Tensor, " b"]
    ) -> Float[Tensor, "b c h w"]:
        with_source = self._evaluate(x, t, self.ends.null)
        if self.ends.null is None or self.weight == 1:
            return with_source
        without = self._evaluate(x, t, torch.ones_like(self.ends.null))
        return self.weight * with_source + (1 - self.weight) * without

    def _evaluate(self, x: Tensor, t: Tensor, null: Tensor | None) -> Tensor:
        self.evaluations += 1
        return self.net(x, t, self.ends.cond, null, self.ends.cond_mask).float()
