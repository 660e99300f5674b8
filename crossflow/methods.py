"""The one seam: what a method is. Everything else is shared between the arms of a match.

A method decides which x0 goes with which x1, what the network may see of the source and what else
it is charged. A method file defines `NAME`, `applies(problem)` (None, or the reason why not) and
`method(problem, size)`, which returns a `Method`; it never sees x1 when it samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossflow.draws import Draws, StepDraws
from crossflow.problem import Pair, Problem, Source


@dataclass
class Ends:
    """Rows that travel together: where each path starts and ends and what the network may see.

    cond: None, token features (b, length, width) or a map (b, c, h, w), with its mask.
    null: True at rows that train the unconditional branch; the network reads it as the indicator
    (cond is None) or as "source dropped".
    charges: named scalars, means per dimension, added to the loss with the method's weights.
    """

    x0: Float[Tensor, "b c h w"]
    x1: Float[Tensor, "b c h w"] | None
    cond: Tensor | None = None
    cond_mask: Bool[Tensor, "b length"] | None = None
    null: Bool[Tensor, " b"] | None = None
    charges: dict[str, Float[Tensor, ""]] = field(default_factory=dict)


class Method(nn.Module):
    """Base of all methods. Sub-modules (encoder, towers) train together with the backbone.

    condition: what the backbone takes: "none", "cross" (tokens) or "channels" (a map).
    weights: weight of each charge in the loss.
    """

    condition: str = "none"
    weights: dict[str, float]

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem
        self.weights = {}

    def train_ends(self, pair: Pair, draws: StepDraws) -> Ends:
        """Both ends of the paths of one training batch."""
        raise NotImplementedError

    def sample_ends(self, source: Source, draws: Draws) -> Ends:
        """Where sampling starts: ends without x1."""
        raise NotImplementedError
