"""Flow matching from a learned source that depends on the condition, which the network keeps.

CSFM (Kim et al. 2026, arXiv:2602.05951): x0 ~ N(mu(c), sigma(c)^2) is trained through the flow
loss, with a charge on the variance alone, which leaves mu free, and an alignment of mu's direction
with that of x1: the mean square difference once each row of pixels has length 1. Both charges and
their weights are those of the authors' code and configuration.

What differs: sigma is learned (their configuration holds it at 1, where its charge says nothing).
The condition trunk reads the source for both uses (theirs: a Perceiver on frozen CLIP features).
Null rows keep their x0 and lose the condition alone: guidance weighs that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.flow_matching import FlowMatching, applies
from crossflow.draws import Draws, StepDraws
from crossflow.encoder import LOGVAR_RANGE, MapTransformer, TokenReadout, encoder_size
from crossflow.method import Ends
from crossflow.network import Size
from crossflow.nulls import choose_nulls
from crossflow.problem import Map, MapShape, Moments, Pair, Problem, Source

NAME = "conditional_source"
__all__ = ["NAME", "Options", "applies", "method"]


@dataclass
class Options:
    """Weights of charges, which are means per dimension."""

    variance_weight: float = 5.0  # of the KL of sigma
    alignment_weight: float = 1.0  # of mu with x1


class ConditionalSource(FlowMatching):
    """One trunk gives the condition, and mean and log-variance of x0."""

    def __init__(self, problem: Problem, size: Size, **options: Any) -> None:
        super().__init__(problem, size)
        chosen, channels = Options(**options), problem.target.channels
        self.weights = {"variance": chosen.variance_weight, "alignment": chosen.alignment_weight}
        # Also where the problem says that the source itself could be x0.
        width = encoder_size(replace(problem, encoder="variational"), size)
        if isinstance(problem.source, MapShape):
            self.trunk = MapTransformer(problem.source, 3 * channels, problem.patch, width.deeper())
            self.cond_width = problem.source.channels + channels
        else:
            self.readout = TokenReadout(problem, width)

    def read(self, source: Source) -> tuple[Tensor, Map, Map]:
        """The condition, and mean and log-variance of x0."""
        if self.condition == "cross":
            cond = self.trunk(source)
            moments = self.readout(cond, source.mask)
        else:
            channels = self.problem.target.channels
            seen, moments = self.trunk(source.values).split([channels, 2 * channels], dim=1)
            cond = torch.cat([source.values, seen], dim=1)
        mean, logvar = moments.float().chunk(2, dim=1)
        return cond, mean, logvar.clamp(*LOGVAR_RANGE)

    def source_moments(self, source: Source) -> Moments:
        """As learned."""
        return self.read(source)[1:]

    def train_ends(self, pair: Pair, draws: StepDraws) -> Ends:
        """Null rows lose their condition, and keep x0 and x1; every row is charged."""
        ends, mean, logvar = self.start(pair.source, draws)
        ends.x1 = pair.target
        if nulls := choose_nulls(pair.groups, draws, self.problem.null_rate):
            ends.null = nulls.mask.to(ends.x0.device)
        guess, truth = F.normalize(mean, dim=-1), F.normalize(pair.target, dim=-1)
        ends.charges["variance"] = 0.5 * (logvar.exp() - 1 - logvar).mean()
        ends.charges["alignment"] = F.mse_loss(guess, truth)
        return ends

    def from_noise(self, source: Source, draws: Draws) -> Ends:
        """A draw from the learned source, and the condition."""
        return self.start(source, draws)[0]

    def start(self, source: Source, draws: Draws) -> tuple[Ends, Map, Map]:
        """Also mean and log-variance of the draw."""
        cond, mean, logvar = self.read(source)
        noise = draws.normal("source", mean.shape[1:]).to(mean.device)
        x0 = mean + torch.exp(0.5 * logvar) * noise
        return Ends(x0, None, cond, source.mask), mean, logvar


method = ConditionalSource
