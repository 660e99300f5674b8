"""The one seam: what a method is. Everything else is shared between the arms of a match.

A method decides which x0 goes with which x1, what the network may see of the source and what else
it is charged. A method file defines `NAME`, `applies(problem)` (None, or the reason why not),
`method(problem, size, **options)` and, where it has options, a dataclass `Options`.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from crossflow.chunks import in_chunks
from crossflow.dimr import DiMR, backbone
from crossflow.draws import Draws, StepDraws
from crossflow.errors import InputError
from crossflow.network import Backbone, Size
from crossflow.path import PATHS, TIMES
from crossflow.problem import Map, Moments, Pair, Problem, Row, Source, Words
from crossflow.solver import Grid, Sampled, solve

# Rows up to which both branches of guidance are one batch. Model T on one thread, over two passes:
# 1.15 times as fast at 1 row, 1.06 at 4, 0.9 at 8 and at 64. Not measured on a GPU.
TOGETHER = 4


@dataclass
class Ends:
    """Rows that travel together: where each path starts and ends and what the network may see."""

    x0: Map | Words  # words: of a method that is no flow
    x1: Map | None
    cond: Tensor | None = None  # token features (b, length, width) or a map (b, c, h, w)
    cond_mask: Bool[Tensor, "b length"] | None = None
    null: Bool[Tensor, " b"] | None = None  # True: source dropped; None: no null branch
    # Means per dimension, added to the loss with the method's weights.
    charges: dict[str, Float[Tensor, ""]] = field(default_factory=dict)


class Method(nn.Module):
    """Base of all methods. Sub-modules (encoder, towers) train together with the backbone."""

    condition: str = "none"  # one of `crossflow.network.CONDITIONS`
    cond_width: int = 0  # width of those tokens, or channels of that map
    stages: tuple[float, ...] = (0.0,)  # shares of the budget at which stages of training begin
    guided: bool = True  # whether there is a branch to guide by; where not, guidance must be 1
    weak_at: float = math.inf  # share of the budget at which the average is kept as `weak`
    training_only: tuple[str, ...] = ()  # names of modules and parameters sampling does not use
    ignored: tuple[str, ...] = ()  # names of options that have no effect on this problem
    indicator: str | None = None  # of null rows: token or adaln; None: as the model has it
    interpolant: str = "linear"  # one of `crossflow.path.PATHS`; a method's own overrides `path`
    time_law: str = "logit_normal"  # one of TIMES; a method's own overrides `times`
    size: Size | None = None  # of a network that the method brings; None: it has the size asked for

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem
        self.null_rate = problem.null_rate  # share of training rows without their own source
        self.weights: dict[str, float] = {}  # of each charge in the loss
        # The network as it was early in training, kept to guide by in place of null rows.
        self.weak: nn.Module | None = None
        self.settled: dict[str, Any] = {}  # options not given whose values follow from the problem
        self.apart: dict[str, Any] = {}  # help that other arms do not have: part of the fair key

    def parameters_at_inference(self) -> int:
        """Parameters of what samples with the network: source encoder or condition trunk."""
        named = self.named_parameters()
        return sum(p.numel() for name, p in named if name.split(".")[0] not in self.training_only)

    def network(self, size: Size) -> Backbone:
        """Its network of a size, which is the reference's or matched to it; asked for once."""
        rated = replace(self.problem, null_rate=self.null_rate)
        return backbone(rated, size, self.condition, self.cond_width, self.indicator)

    def loss(self, net: Backbone, pair: Pair, draws: StepDraws) -> Loss:
        """Of one batch; what is no flow has its own."""
        return training_loss(net, self, pair, draws)

    def train_ends(self, pair: Pair, draws: StepDraws) -> Ends:
        """Both ends of the paths of one training batch. A stage (`draws.stage`) may have charges
        alone, and no x1: then the network does not run."""
        raise NotImplementedError

    def sample_ends(self, source: Source, draws: Draws) -> Ends:
        """Where sampling starts: ends without x1."""
        raise NotImplementedError

    def stage(self, spent: float) -> tuple[int, float]:
        """The stage at a share of the budget, and the share of that stage which is over."""
        number = bisect(self.stages, spent) - 1
        start, end = (*self.stages, 1.0)[number : number + 2]
        return number, (spent - start) / (end - start)

    def no_nulls(self, x0: Map) -> Bool[Tensor, " b"] | None:
        """The null indicator of rows that all keep their source; None at null rate 0."""
        rated = self.null_rate > 0
        return torch.zeros(len(x0), dtype=torch.bool, device=x0.device) if rated else None

    def source_moments(self, source: Source) -> Moments | None:
        """Of x0 given the source; None where nothing flows."""
        return None

    def reader(self) -> nn.Module | None:
        """What gives the source, its words as logits, of an x0; None: nothing is trained to."""
        return None

    def times(self, count: int, draws: StepDraws) -> Row:
        """Training times, one a row."""
        return TIMES[self.time_law](draws)

    def path(self, x0: Map, x1: Map, t: Row) -> tuple[Map, Map]:
        """The network's input xt and what it must give there, ut = d(xt)/dt."""
        return PATHS[self.interpolant](x0, x1, t)

    def solver_name(self, grid: Grid) -> str:
        """What `sample` solves by, as records name it. InputError where it cannot take the grid."""
        return grid.solver

    @torch.no_grad()
    def sample(self, net: nn.Module, ends: Ends, grid: Grid, guidance: float = 1.0) -> Sampled:
        """Follows w v(null = 0) + (1 - w) v(null = 1) from `ends.x0` to time 1 (CrossFlow Eq. 3).

        With a weak copy the second is its v (autoguidance: Karras et al. 2024, arXiv:2406.02507).
        Both branches see the same xt and count as evaluations; w = 1 costs one. InputError where w
        is another and no null branch was trained (`ends.null` is None).
        """
        own, weak = (ends.cond, ends.null, ends.cond_mask), self.weak
        if guidance == 1:
            return solve(lambda x, t: net(x, t, *own).float(), ends.x0, grid)
        if weak is not None:

            def apart(x: Map, t: Row) -> Map:
                strong, other = (each(x, t, *own).float() for each in (net, weak))
                return guidance * strong + (1 - guidance) * other

            sampled = solve(apart, ends.x0, grid)
            return Sampled(sampled.x, sampled.nfe * 2)
        if ends.null is None:
            raise InputError(f"guidance={guidance}: needs a null branch (null_rate above 0)")
        copies = 2 if len(ends.x0) <= TOGETHER else 1

        def repeated(rows: Tensor | None) -> Tensor | None:
            return None if rows is None else torch.cat([rows] * copies)

        cond, mask = repeated(ends.cond), repeated(ends.cond_mask)
        both = torch.cat([ends.null, torch.ones_like(ends.null)])
        nulls = both.split(copies * len(ends.x0))

        def velocity(x: Map, t: Row) -> Map:
            x, t = torch.cat([x] * copies), torch.cat([t] * copies)
            parts = torch.cat([net(x, t, cond, null, mask).float() for null in nulls])
            kept, dropped = parts.chunk(2)
            return guidance * kept + (1 - guidance) * dropped

        sampled = solve(velocity, ends.x0, grid)
        return Sampled(sampled.x, sampled.nfe * 2)

    @torch.no_grad()
    def invert(self, net: nn.Module, x1: Map, grid: Grid) -> Sampled:
        """Follows the flow from x1 at time 1 back to x0, by the same steps and without guidance.

        ValueError where the network also sees the source: then x0 alone does not hold it.
        """
        if self.condition != "none":
            raise ValueError(f"a flow with a condition ({self.condition}) is not inverted")
        null = self.no_nulls(x1)
        return solve(lambda x, t: -net(x, 1 - t, None, null, None).float(), x1, grid)


@dataclass
class Loss:
    """Loss of one batch."""

    total: Float[Tensor, ""]  # with its gradient
    terms: dict[str, Float[Tensor, ""]]  # its unweighted parts, detached


def flow_loss(velocities: Sequence[Tensor], ut: Map) -> Float[Tensor, ""]:
    """Mean square error of the last velocity, and of coarser ones with the official weights.

    Their targets are sums over r x r squares of ut, over r: of a variance that is that of ut where
    its pixels are independent. Weights: 1/4 for the coarsest, 1/2 for those between, 1.
    """
    loss = F.mse_loss(velocities[-1].float(), ut)
    for i, velocity in enumerate(velocities[:-1]):
        ratio = ut.shape[-1] // velocity.shape[-1]
        error = F.mse_loss(velocity.float(), ratio * F.avg_pool2d(ut, ratio))
        loss = loss + (0.5 if i else 0.25) * error
    return loss


def _network_loss(net: Backbone, ut: Map, *given: Any) -> Float[Tensor, ""]:
    return flow_loss(net.velocities(*given) if isinstance(net, DiMR) else [net(*given)], ut)


def training_loss(net: Backbone, method: Method, pair: Pair, draws: StepDraws) -> Loss:
    """The seam itself: one batch through any method, all on one device.

    Gradient flows through x0 into xt and ut, as in the official code, unless the method stops it.
    """
    ends = method.train_ends(pair, draws)
    if ends.x1 is None and not ends.charges:
        raise ValueError(f"{type(method).__name__}.train_ends gave no x1")
    charged: Any = sum(method.weights[name] * charge for name, charge in ends.charges.items())
    terms = {name: charge.detach() for name, charge in ends.charges.items()}
    if ends.x1 is None:
        return Loss(charged, terms)
    t = method.times(len(ends.x1), draws).to(ends.x1.device)
    xt, ut = method.path(ends.x0, ends.x1, t)
    rows = ut, xt, t, ends.cond, ends.null, ends.cond_mask
    flow = in_chunks(partial(_network_loss, net), rows, net.parameters(), net.accumulate)
    return Loss(flow + charged, {"flow": flow.detach()} | terms)
