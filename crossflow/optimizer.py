"""What moves the weights: AdamW, the learning rate by the share of the budget, the average."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from crossflow import world

Module = TypeVar("Module", bound=nn.Module)
DECAYED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.MultiheadAttention)


def adamw(
    module: nn.Module,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.9),
    weight_decay: float = 0.03,
) -> torch.optim.AdamW:
    """AdamW over all trainable parameters of an arm, with the paper's values (section 5.1).

    Decayed are matrices that multiply activations: the scale of all others (norms, biases,
    embeddings, queries, temperatures) means something. Fused: one kernel, on CPU too.
    """
    multiply = [part for part in module.modules() if isinstance(part, DECAYED)]
    matrices = {id(p) for part in multiply for p in part.parameters(recurse=False) if p.ndim >= 2}
    groups: dict[float, list[Tensor]] = {weight_decay: [], 0.0: []}
    for parameter in module.parameters():
        if parameter.requires_grad:
            groups[weight_decay if id(parameter) in matrices else 0.0].append(parameter)
    parts = [{"params": group, "weight_decay": decay} for decay, group in groups.items() if group]
    return torch.optim.AdamW(parts, lr=lr, betas=betas, fused=True)


def rate_factor(fraction: float, warmup: float, cooldown: float) -> float:
    """Factor of the peak rate by the budget's share: warm-up, constant, cool-down (none: paper)."""
    rising = fraction / warmup if warmup > 0 else 1.0
    falling = (1.0 - fraction) / cooldown if cooldown > 0 else 1.0
    return max(0.0, min(1.0, rising, falling))


def gamma_from_width(width: float) -> float:
    """Exponent gamma whose averaging profile has the relative standard deviation `width`.

    EDM2 Eq. 126: width = (gamma + 1)^(1/2) (gamma + 2)^-1 (gamma + 3)^-(1/2), solved for its
    largest root. 0.05 gives 16.97 and 0.10 gives 6.94, as printed there.
    """
    inverse = width**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


class PowerEMA(Generic[Module]):
    """The average theta_hat of a module's weights, kept in `module` (a copy, no gradients).

    After step t (EDM2 Eq. 123-127), theta_hat <- beta theta_hat + (1 - beta) theta with
    beta = (1 - 1/t)^(gamma + 1). Here, with progress p before a step and q after it,
    beta = (p / q)^(gamma + 1): right for unequal steps too. The first step copies.
    """

    def __init__(self, module: Module, width: float = 0.10, average: Module | None = None) -> None:
        self.gamma = gamma_from_width(width)
        self.module = average or copy.deepcopy(module).eval().requires_grad_(False)
        # Tied weights appear once in parameters(), so they are averaged once.
        self._average, self._source = (
            [world.local(parameter.detach()) for parameter in each.parameters()]
            for each in (self.module, module)
        )
        self._buffers = list(zip(self.module.buffers(), module.buffers(), strict=True))

    def beta(self, before: float, after: float) -> float:
        """Weight of the old average for a step that takes progress from `before` to `after`."""
        return (before / after) ** (self.gamma + 1) if after > 0 else 0.0

    @torch.no_grad()
    def update(self, before: float, after: float) -> None:
        """Takes in the weights after a step; buffers are copied."""
        torch._foreach_lerp_(self._average, self._source, 1.0 - self.beta(before, after))
        for average, source in self._buffers:
            average.copy_(source)


class Finite:
    """The first step whose numbers are not finite, noted on their device: nothing waits for it."""

    def __init__(self, device: torch.device) -> None:
        self._step = torch.full((), -1, device=device)
        self._numbers: dict[str, Tensor] = {}

    def note(self, step: int, loss: Tensor, numbers: dict[str, Tensor]) -> None:
        """numbers: parts of the loss, and last the gradient's norm; one check is of both: a finite
        loss may have a gradient that is not."""
        self._numbers = numbers
        broken = ~torch.isfinite(loss + list(numbers.values())[-1])
        self._step = torch.where(broken & (self._step < 0), step, self._step)

    def broken(self) -> str:
        """The first such step, with the numbers of the newest; empty where all were finite."""
        if (step := int(self._step)) < 0:
            return ""
        return f"{step} ({ {name: float(value) for name, value in self._numbers.items()} })"
