"""The same network as flow_matching, trained to give the target in one pass: no noise, no flow.

It gives the mean of all targets that fit the source: the best squared error, and blurred where
several fit (the "Regression" row of the super-resolution tables).
"""

from __future__ import annotations

import torch
from torch import nn

from baselines.flow_matching import FlowMatching
from crossflow.draws import Draws, StepDraws
from crossflow.method import Ends
from crossflow.problem import Map, MapShape, Moments, Pair, Problem, Row, Source
from crossflow.solver import Grid, Sampled

NAME = "regression"


def applies(problem: Problem) -> str | None:
    """A reason for sources that are not maps."""
    if isinstance(problem.source, MapShape):
        return None
    return "the source is text: the mean of all pictures that fit it is not a picture"


class Regression(FlowMatching):
    """x0 and time are zero, the network's output is x1 itself. No null rows and no guidance."""

    guided = False

    def source_moments(self, source: Source) -> Moments:
        """Zero, without variance."""
        return torch.zeros(len(source), *self.problem.target.sizes), None

    def train_ends(self, pair: Pair, draws: StepDraws) -> Ends:
        """Every row keeps its source: there is no null branch to train."""
        ends = self.sample_ends(pair.source, draws)
        ends.x1 = pair.target
        return ends

    def sample_ends(self, source: Source, draws: Draws) -> Ends:
        """Zeros, and the source as the condition."""
        sizes = len(source), *self.problem.target.sizes
        zeros = torch.zeros(sizes, device=source.values.device)
        return Ends(zeros, None, self._condition(source), source.mask, self.no_nulls(zeros))

    def times(self, count: int, draws: StepDraws) -> Row:
        """Zero in every row."""
        return torch.zeros(count)

    def path(self, x0: Map, x1: Map, t: Row) -> tuple[Map, Map]:
        """The input is x0 = 0, the answer x1."""
        return x0, x1

    @torch.no_grad()
    def sample(self, net: nn.Module, ends: Ends, grid: Grid, guidance: float = 1.0) -> Sampled:
        """One evaluation, whatever the grid. Raises ValueError where guidance is not 1."""
        if guidance != 1:
            raise ValueError(f"regression has no null branch: guidance must be 1, not {guidance}")
        t = torch.zeros(len(ends.x0), device=ends.x0.device)
        return Sampled(net(ends.x0, t, ends.cond, ends.null, ends.cond_mask).float(), 1)


method = Regression
