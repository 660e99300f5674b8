"""Power-function moving average of the weights (Karras et al. 2024, EDM2, section 3.1).

An ordinary EMA with a fixed half-life averages over a fixed number of steps: right for one length
of training, wrong for all others. The power function's window is a fixed *share* of the training
so far, so arms and budgets of different length all get the same rule.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn


def gamma_from_width(width: float) -> float:
    """Exponent gamma whose averaging profile has the relative standard deviation `width`.

    EDM2 Eq. 126: width = (gamma + 1)^(1/2) (gamma + 2)^-1 (gamma + 3)^-(1/2), solved for its
    largest root. 0.05 gives 16.97 and 0.10 gives 6.94, as printed there.
    """
    if not 0 < width < 12**-0.5:
        raise ValueError(f"relative EMA width {width} is not in (0, 0.288): no gamma > 0 gives it")
    inverse = width**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


class PowerEMA:
    """The average theta_hat of a module's weights, kept in `module` (a copy, no gradients).

    After step t (EDM2 Eq. 123-127), theta_hat <- beta theta_hat + (1 - beta) theta with
    beta = (1 - 1/t)^(gamma + 1). Here t is any measure of progress that grows: with p the
    progress before a step and q after it, beta = (p / q)^(gamma + 1), the same number for equal
    steps and the right one for unequal steps (a budget in seconds). The first step copies.
    """

    def __init__(self, module: nn.Module, width: float = 0.10) -> None:
        self.gamma = gamma_from_width(width)
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        # Tied weights appear once in parameters(), so they are averaged once.
        self._average: list[Tensor] = list(self.module.parameters())
        self._source: list[Tensor] = list(module.parameters())
        self._buffers = list(zip(self.module.buffers(), module.buffers(), strict=True))

    def beta(self, before: float, after: float) -> float:
        """Weight of the old average for a step that takes progress from `before` to `after`."""
        if not 0 <= before <= after:
            raise ValueError(f"progress must grow: {before} -> {after}")
        return (before / after) ** (self.gamma + 1) if after > 0 else 0.0

    @torch.no_grad()
    def update(self, before: float, after: float) -> None:
        """Takes in the weights after a step; buffers are copied."""
        torch._foreach_lerp_(self._average, self._source, 1.0 - self.beta(before, after))
        for average, source in self._buffers:
            average.copy_(source)
