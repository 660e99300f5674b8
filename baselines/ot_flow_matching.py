"""Flow matching whose noise goes to targets by minibatch optimal transport within conditions.

C2OT (Cheng and Schwing 2025, arXiv:2503.10636): noise drawn with one row's condition may move to
another row at the cost |x0 - x1|^2 + w (1 - cosine of both conditions). Without the second term
(`blind`: Tong et al. 2024, arXiv:2302.00482) training sees noise that depends on the condition, and
sampling does not. As in the authors' code, w is found anew in every batch, so that a given share of
exchanges still pays.

What differs: transport is within the training batch (theirs for ImageNet: 50 batches at a time). w
is that of the share exactly, over pairs of two rows. Null rows have a condition of their own: their
noise moves among them. Texts are compared by the counts of their words or the mean of their
features (theirs: CLIP features), maps as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from baselines.flow_matching import FlowMatching, applies
from crossflow.draws import StepDraws
from crossflow.errors import InputError
from crossflow.method import Ends
from crossflow.network import Size
from crossflow.problem import Map, Pair, Problem, Source, TokenShape

NAME = "ot_flow_matching"
__all__ = ["NAME", "Options", "applies", "method"]
Conditions = Float[Tensor, "b d"]
ALIKE = 1e-6  # conditions that are no further apart are equal


@dataclass
class Options:
    """Of the transport."""

    blind: bool = False  # the cost does not see the condition
    share: float = 0.2  # of pairs that still pay to exchange (0.2: theirs for captioned ImageNet)


class OTFlowMatching(FlowMatching):
    """x0 is permuted over the global batch; x1, condition and null keep their rows."""

    def __init__(self, problem: Problem, size: Size, **options: Any) -> None:
        super().__init__(problem, size)
        self.chosen = Options(**options)
        if not 0 < self.chosen.share <= 1:
            raise InputError(f"share={self.chosen.share}: give a share above 0, at most 1")
        self.ignored = ("share",) if self.chosen.blind else ()

    def train_ends(self, pair: Pair, draws: StepDraws) -> Ends:
        """The ends of flow matching, and of all its noise the cheapest order."""
        ends = super().train_ends(pair, draws)
        assert ends.x1 is not None
        x0, x1, conditions = draws.whole_batch(ends.x0), draws.whole_batch(ends.x1), None
        if not self.chosen.blind:
            rows = F.normalize(self.compared(pair.source))
            if ends.null is not None:
                null = ends.null[:, None].float()
                rows = torch.cat([rows * (1 - null), null], dim=1)
            conditions = draws.whole_batch(rows)
        ends.x0 = draws.mine(x0[assigned(x0, x1, conditions, self.chosen.share)])
        return ends

    def compared(self, source: Source) -> Conditions:
        """What of a source is compared, up to its length."""
        values, shape = source.values, self.problem.source
        if source.mask is None or not isinstance(shape, TokenShape):
            return values.float().flatten(1)
        if shape.vocabulary is None:
            return (values.float() * source.mask[..., None]).sum(1)
        counts = torch.zeros(len(values), shape.vocabulary, device=values.device)
        return counts.scatter_add_(1, values.long(), source.mask.float())


def assigned(x0: Map, x1: Map, conditions: Conditions | None, share: float) -> Int[Tensor, " b"]:
    """For each row of x1 the row of x0 that it gets. conditions: of length 1."""
    # As in `crossflow.Contrastive`: bfloat16 has too few digits, the meta device no autocast.
    with torch.autocast("cpu" if x0.is_meta else x0.device.type, enabled=False):
        a, b = x1.float().flatten(1), x0.float().flatten(1)
        squares = a.square().sum(1)[:, None] + b.square().sum(1)
        cost = (squares - 2 * a @ b.T).double()
        if conditions is not None:
            apart = (1 - conditions @ conditions.T).double()
            apart = torch.where(apart > ALIKE, apart, 0)
            cost += weight(cost, apart, share) * apart
    if cost.is_meta or type(cost) is not Tensor:  # FLOPs or memory are counted: no numbers
        return torch.arange(len(x0), device=x0.device)
    return torch.from_numpy(linear_sum_assignment(cost.cpu().numpy())[1])


def weight(
    cost: Float[Tensor, "b b"], apart: Float[Tensor, "b b"], share: float
) -> Float[Tensor, ""]:
    """w at which cost + w apart is at most what a target has now in this share of other pairs."""
    gained = cost.diag()[:, None] - cost
    endless = torch.where(gained >= 0, torch.inf, -torch.inf)
    most = torch.where(apart > 0, gained / apart, endless)  # the largest w at which a pair pays
    most.fill_diagonal_(-torch.inf)
    pairs = max(1, round(share * len(cost) * (len(cost) - 1)))
    return most.flatten().topk(pairs).values[-1].clamp(0, 1e8)


method = OTFlowMatching
