"""Flow matching whose text tokens join the picture's in self-attention: no cross-attention.

In-context conditioning of DiT (Peebles and Xie 2023, arXiv:2212.09748), with one token a word where
theirs has one for the class. MM-DiT (Esser et al. 2024, arXiv:2403.03206) too attends over both at
once, but has weights of its own for each.

What differs from MM-DiT: one set of weights for both, no pooled text beside the time. From DiT:
time modulates the layers and is no token. From both: the tokens are those of flow_matching's
condition trunk. At null rows all of them are the null token.
"""

from __future__ import annotations

from torch import Tensor

from baselines.flow_matching import FlowMatching
from crossflow.network import Size
from crossflow.problem import Problem, Source, TokenShape

NAME = "joint_attention"


def applies(problem: Problem) -> str | None:
    """A reason for sources that are maps."""
    if isinstance(problem.source, TokenShape):
        return None
    return "the source is a map: it has no tokens beside the target's patches"


class JointAttention(FlowMatching):
    """x0 is noise; the condition is among the network's tokens."""

    def __init__(self, problem: Problem, size: Size) -> None:
        super().__init__(problem, size)
        self.condition = "joint"

    def _condition(self, source: Source) -> Tensor:
        return self.trunk(source)


method = JointAttention
