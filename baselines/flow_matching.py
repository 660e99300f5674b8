"""The baseline: flow matching from noise, with the source as a condition (CrossFlow section 5.1).

Tokens enter by cross-attention after each self-attention layer, maps as extra input channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crossflow.draws import Draws, StepDraws
from crossflow.encoder import MapTransformer, TokenTrunk, encoder_size
from crossflow.method import Ends, Method
from crossflow.network import Size
from crossflow.nulls import choose_nulls
from crossflow.problem import Moments, Pair, Problem, Source, TokenShape

NAME = "flow_matching"


def applies(problem: Problem) -> str | None:
    """None: any source can be a condition."""
    return None


class FlowMatching(Method):
    """x0 ~ N(0, I); the network sees the source, except at null rows.

    The condition trunk has the source encoder's architecture. A map is also concatenated as it is,
    as in the published baselines; where the encoder is the identity there is nothing else.
    """

    def __init__(self, problem: Problem, size: Size) -> None:
        super().__init__(problem)
        self.trunk: nn.Module
        width = encoder_size(problem, size)
        if isinstance(problem.source, TokenShape):
            self.condition, self.cond_width = "cross", width.width
            self.trunk = TokenTrunk(problem.source, width)
            return
        self.condition, self.cond_width = "channels", problem.source.channels
        if problem.encoder == "variational":
            out = problem.target.channels
            self.trunk = MapTransformer(problem.source, out, problem.patch, width.deeper())
            self.cond_width += out

    def source_moments(self, source: Source) -> Moments:
        """Standard normal, whatever the source."""
        shape = (len(source), *self.problem.target.sizes)
        zeros = torch.zeros(shape, device=source.values.device)
        return zeros, zeros

    def train_ends(self, pair: Pair, draws: StepDraws) -> Ends:
        """Null rows are the same as in every arm; they lose their source and keep their x1."""
        ends = self.from_noise(pair.source, draws)
        ends.x1 = pair.target
        if nulls := choose_nulls(pair.groups, draws, self.problem.null_rate):
            ends.null = nulls.mask.to(ends.x0.device)
        return ends

    def sample_ends(self, source: Source, draws: Draws) -> Ends:
        """Noise, and the source as the condition."""
        ends = self.from_noise(source, draws)
        ends.null = self.no_nulls(ends.x0)
        return ends

    def from_noise(self, source: Source, draws: Draws) -> Ends:
        """Noise as x0 and the source as the condition, in training as in sampling."""
        noise = draws.normal("source", self.problem.target.sizes).to(source.values.device)
        return Ends(noise, None, self._condition(source), source.mask)

    def _condition(self, source: Source) -> Tensor:
        if self.condition == "cross":
            return self.trunk(source)
        if self.problem.encoder == "identity":
            return source.values
        return torch.cat([source.values, self.trunk(source.values)], dim=1)


method = FlowMatching
