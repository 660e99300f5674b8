"""Brownian bridge from the source to the target, whose drift also sees where the bridge began.

Augmented bridge matching (De Bortoli et al. 2023, arXiv:2311.06978): xt = (1 - t) x0 + t x1 + sigma
sqrt(t (1 - t)) noise, with the drift (E[x1] - xt) / (1 - t). Only where the expectation is given x0
too do bridges keep their pairs. BBDM (Li et al. 2023, arXiv:2205.07680) and I2SB (Liu et al. 2023,
arXiv:2302.05872) need xt alone: so does the null branch here.

What differs: the network gives x1, so that the loss stays finite up to time 1; drift matching would
weigh it by 1 / (1 - t)^2. Sampling draws every step from the bridge towards that x1: exact for any
step where it is right. A step is one evaluation; there are as many as the solver would take.
sigma's default is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from baselines.noised_source import StartsAtSource, applies
from crossflow.draws import Draws, StepDraws
from crossflow.errors import InputError
from crossflow.method import Ends
from crossflow.network import Size
from crossflow.problem import Map, Pair, Problem, Row, Source
from crossflow.solver import STAGES, Grid, Sampled

NAME = "bridge"
__all__ = ["NAME", "Options", "applies", "method"]


@dataclass
class Options:
    """Of the bridge."""

    sigma: float = 1.0  # of the Brownian motion: halfway the deviation is sigma / 2


@dataclass
class BridgeEnds(Ends):
    """Where sampling starts, and the noise that it meets."""

    draws: Draws | None = None


class Bridge(StartsAtSource):
    """x0 is the source itself."""

    def __init__(self, problem: Problem, size: Size, **options: Any) -> None:
        super().__init__(problem, size)
        self.sigma = Options(**options).sigma
        if self.sigma < 0:
            raise InputError(f"sigma={self.sigma}: must not be negative")

    def train_ends(self, pair: Pair, draws: StepDraws) -> Ends:
        """x0 has the noise of the path as further channels: `path` is given the ends alone."""
        ends = super().train_ends(pair, draws)
        noise = draws.normal("bridge", self.problem.target.sizes).to(ends.x0.device)
        ends.x0 = torch.cat([ends.x0, noise], dim=1)
        return ends

    def path(self, x0: Float[Tensor, "b both h w"], x1: Map, t: Row) -> tuple[Map, Map]:
        """A point of the bridge; what the network must give there is x1."""
        s = t[:, None, None, None]
        start, noise = x0.chunk(2, dim=1)
        return (1 - s) * start + s * x1 + self.sigma * (s * (1 - s)).sqrt() * noise, x1

    def sample_ends(self, source: Source, draws: Draws) -> Ends:
        """The source, as x0 and as the condition."""
        ends = super().sample_ends(source, draws)
        return BridgeEnds(ends.x0, None, ends.cond, ends.cond_mask, ends.null, draws=draws)

    def solver_name(self, grid: Grid) -> str:
        """Its own steps, whatever the solver. InputError for dopri5, whose number is not known."""
        if grid.solver not in STAGES:
            raise InputError(f"sampling.solver={grid.solver}: a bridge needs fixed steps")
        return NAME

    @torch.no_grad()
    def sample(self, net: nn.Module, ends: Ends, grid: Grid, guidance: float = 1.0) -> Sampled:
        """Follows the bridge. InputError: dopri5, guidance without a null branch."""
        self.solver_name(grid)
        branches = [(guidance, ends.null)]
        if guidance != 1:
            if ends.null is None:
                raise InputError(f"guidance={guidance}: needs a null branch (null_rate above 0)")
            branches.append((1 - guidance, torch.ones_like(ends.null)))
        x, steps = ends.x0, grid.steps * STAGES[grid.solver]
        draws = ends.draws if isinstance(ends, BridgeEnds) else None  # none where calls are counted
        for i in range(steps):
            start, end = i / steps, (i + 1) / steps
            t = torch.full((len(x),), start, device=x.device)
            x1 = torch.zeros_like(x)
            for share, null in branches:
                x1 += share * net(x, t, ends.cond, null, ends.cond_mask).float()
            x = x + (end - start) / (1 - start) * (x1 - x)
            if draws is not None and end < 1:
                spread = self.sigma * ((end - start) * (1 - end) / (1 - start)) ** 0.5
                x = x + spread * draws.normal(f"bridge {i}", x.shape[1:]).to(x.device)
        return Sampled(x, steps * len(branches))


method = Bridge
