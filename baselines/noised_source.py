"""Flow matching from a noised copy of the source, which the network also sees without noise.

DepthFM (Gui et al. 2024, arXiv:2403.13788): the image's latent, taken some steps along a cosine
schedule, is x0; the clean latent is the condition; the path to the depth's latent is straight.

What differs: nothing is pretrained, and there is no loss on surface normals and no ensemble. The
time in the schedule is an option whose default is ours (theirs is kept in their checkpoint). Null
rows keep their x0 and lose the clean source alone: guidance weighs that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from baselines.flow_matching import FlowMatching
from crossflow.draws import Draws
from crossflow.errors import InputError
from crossflow.method import Ends
from crossflow.network import Size
from crossflow.problem import Moments, Problem, Source

NAME = "noised_source"


@dataclass
class Options:
    """Of x0."""

    time: float = 0.4  # in the cosine schedule: 0 is the source itself, 1 is noise alone


def applies(problem: Problem) -> str | None:
    """A reason where the source has not the target's shape."""
    if problem.source == problem.target:
        return None
    return "the source has not the target's shape, so that no path can start at it"


class StartsAtSource(FlowMatching):
    """x0 = keep source + spread noise; the condition is the source. Each method sets both."""

    keep, spread = 1.0, 0.0

    def source_moments(self, source: Source) -> Moments:
        """Known exactly."""
        mean = self.keep * source.values
        if self.spread == 0:
            return mean, None
        return mean, torch.full_like(mean, 2 * math.log(self.spread))

    def from_noise(self, source: Source, draws: Draws) -> Ends:
        """Of the same noise as in flow matching."""
        ends = super().from_noise(source, draws)
        ends.x0 = self.keep * source.values + self.spread * ends.x0
        return ends


class NoisedSource(StartsAtSource):
    """Of unit variance where the source has that."""

    def __init__(self, problem: Problem, size: Size, **options: Any) -> None:
        super().__init__(problem, size)
        time = Options(**options).time
        if not 0 <= time <= 1:
            raise InputError(f"time={time}: give a number from 0 to 1")
        self.keep, self.spread = math.cos(math.pi / 2 * time), math.sin(math.pi / 2 * time)


method = NoisedSource
