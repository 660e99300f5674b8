"""Arms of equal size: a method and its network, matched to the reference arm of the problem.

The reference is `crossflow` with the named backbone. Another method gets the depth, then the MLP
width, for which its parameters at inference (encoder or trunk included) and its FLOPs per network
evaluation are within 5 % of the reference's; where both cannot hold, the FLOPs.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from crossflow import crossflow
from crossflow.draws import StepDraws
from crossflow.errors import InputError
from crossflow.method import Ends, Method, training_loss
from crossflow.network import SIZES, DiT, Size, parameters_of
from crossflow.nulls import require_batch
from crossflow.path import PATHS, TIMES
from crossflow.problem import MapShape, Pair, Problem, Source

Net = TypeVar("Net", bound=nn.Module)
TOLERANCE = 0.05
HIDDEN_STEP = 8  # the MLP's width stays a multiple of this


class MethodFile(Protocol):
    """What a method file defines; a module is one."""

    NAME: str

    def applies(self, problem: Problem) -> str | None: ...
    def method(self, problem: Problem, size: Size, *args: Any, **options: Any) -> Method: ...


@dataclass(frozen=True)
class Cost:
    """Parameters and FLOPs of an arm.

    params_inference: network and what samples with it; params_encoder: the latter alone;
    params_trained: also what only training uses. flops_eval: one network evaluation of one sample;
    flops_source: encoder or trunk, once a sample; flops_train: one training step, a sample.
    """

    params_inference: int
    params_encoder: int
    params_trained: int
    flops_eval: int
    flops_source: int
    flops_train: float


class Arm(nn.Module):
    """A method and its network. Its state dict has the prefixes `net.` and `method.`.

    size: the backbone after matching. cost: counted. params_ratio, flops_ratio: parameters at
    inference and FLOPs per network evaluation over the reference arm's.
    """

    def __init__(self, name: str, method: Method, net: DiT, size: Size, batch: int) -> None:
        super().__init__()
        self.name, self.size = name, size
        self.method, self.net = method, net
        inference = inference_parameters(method)
        self.cost = Cost(
            params_inference=parameters_of(net) + inference,
            params_encoder=inference,
            params_trained=parameters_of(self),
            flops_eval=count_evaluation(net, method),
            flops_source=count_source(method),
            flops_train=count_training(net, method, batch),
        )
        self.params_ratio = self.flops_ratio = 1.0

    def flops_sample(self, nfe: int) -> int:
        """FLOPs of one sample with `nfe` network evaluations."""
        return self.cost.flops_source + nfe * self.cost.flops_eval


def inference_parameters(method: Method) -> int:
    """Parameters of what samples with the network: source encoder or condition trunk."""
    return sum(
        parameter.numel()
        for name, parameter in method.named_parameters()
        if name.split(".")[0] not in method.training_only
    )


def build_arm(
    module: MethodFile,
    problem: Problem,
    size: str,
    *,
    seed: int = 0,
    batch: int = 64,
    path: str = "linear",
    times: str = "logit_normal",
    options: dict[str, Any] | None = None,
) -> Arm:
    """The arm of a method file on a problem, matched to the reference.

    seed: of the initial weights, whatever the global generator's state. batch: training rows, for
    the FLOPs of a training step. options: of the method. Raises InputError for unknown names and
    where the method does not apply or the batch cannot hold the problem's null rows.
    """
    named_choices = ((size, SIZES, "model"), (path, PATHS, "path"), (times, TIMES, "times"))
    for value, known, field in named_choices:
        if value not in known:
            raise InputError(f"{field}={value} is unknown: use one of {', '.join(known)}")
    reason = module.applies(problem)
    if reason is not None:
        raise InputError(f"method {module.NAME} does not apply: {reason}")
    require_batch(batch, problem.null_rate)
    named = SIZES[size]
    reference = _reference(problem, named)
    matched = named
    if module is not crossflow:
        matched = _matched_size(module, problem, named, options or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method, net = _modules(module, problem, named, matched, options or {})
    method.interpolant, method.time_law = PATHS[path], TIMES[times]
    arm = Arm(module.NAME, method, net, matched, batch)
    arm.params_ratio = arm.cost.params_inference / reference.params
    arm.flops_ratio = arm.cost.flops_eval / reference.flops
    return arm


class _Matched(NamedTuple):
    """What arms are matched on: parameters at inference, FLOPs per network evaluation."""

    params: float
    flops: float


@lru_cache
def _reference(problem: Problem, named: Size) -> _Matched:
    return _probe(crossflow, problem, named, named, {})


def _probe(
    module: MethodFile, problem: Problem, named: Size, backbone: Size, options: dict[str, Any]
) -> _Matched:
    with torch.device("meta"):
        method, net = _modules(module, problem, named, backbone, options)
    params = parameters_of(net) + inference_parameters(method)
    return _Matched(params, count_evaluation(net, method))


def _modules(
    module: MethodFile, problem: Problem, named: Size, backbone: Size, options: dict[str, Any]
) -> tuple[Method, DiT]:
    # The encoder's width follows the named size, the backbone is the matched one.
    method = module.method(problem, named, **options)
    return method, DiT(problem, backbone, method.condition, method.cond_width)


def _matched_size(
    module: MethodFile, problem: Problem, named: Size, options: dict[str, Any]
) -> Size:
    """Depth, then MLP width, of the backbone that costs what the reference costs.

    Each depth gets the MLP width of the smallest error, the larger one of parameters and FLOPs.
    Among depths whose error is within 5 %, the one that distorts the MLP ratio least; where there
    is none, the size nearest in FLOPs. Both costs are affine in depth and in depth x MLP width, so
    three probes give them for every size.
    """

    base, deep, wide = (
        _probe(module, problem, named, replace(named, depth=depth, hidden=hidden), options)
        for depth, hidden in ((1, 1), (2, 1), (1, 2))
    )
    reference = _reference(problem, named)

    def errors(depth: int, hidden: int) -> tuple[float, float]:
        """Relative deviation: the larger of both, and that of FLOPs alone."""
        params, work = (
            (b + (depth - 1) * (d - b) + depth * (hidden - 1) * (w - b)) / r
            for b, d, w, r in zip(base, deep, wide, reference, strict=True)
        )
        return max(abs(params - 1), abs(work - 1)), abs(work - 1)

    widths = range(HIDDEN_STEP, 2 * named.hidden + 1, HIDDEN_STEP)
    depths = range(1, 2 * named.depth + 1)
    fits = [min(((d, h) for h in widths), key=lambda fit: errors(*fit)[0]) for d in depths]
    within = [fit for fit in fits if errors(*fit)[0] <= TOLERANCE]
    if within:
        depth, hidden = min(within, key=lambda fit: abs(math.log(fit[1] / named.hidden)))
    else:
        every = ((d, h) for d in depths for h in widths)
        depth, hidden = min(every, key=lambda fit: errors(*fit)[::-1])
    return replace(named, depth=depth, hidden=hidden)


CONVENTION = "a multiply-add is 2; products, convolutions and attention; meta device"


def meta_pair(problem: Problem, batch: int) -> Pair:
    """A batch of the problem's shapes without content, every row another image."""
    shape = problem.source
    with torch.device("meta"):
        target = torch.empty(batch, *problem.target.sizes)
        mask = None
        if isinstance(shape, MapShape):
            values = torch.empty(batch, *shape.sizes)
        elif shape.vocabulary is not None:
            values = torch.empty(batch, shape.length, dtype=torch.int16)
        else:
            assert shape.width is not None
            values = torch.empty(batch, shape.length, shape.width)
        if not isinstance(shape, MapShape):
            mask = torch.empty(batch, shape.length, dtype=torch.bool)
    return Pair(Source(values, mask), target, torch.arange(batch, device="cpu"))


def count_evaluation(net: nn.Module, method: Method) -> int:
    """Forward FLOPs of one network evaluation for one sample (one branch of guidance)."""
    net, method = _on_meta(net).requires_grad_(False), _on_meta(method).requires_grad_(False)
    ends = _ends(method)
    with FlopCounterMode(display=False) as counter:
        net(ends.x0, torch.empty(1, device="meta"), ends.cond, ends.null, ends.cond_mask)
    return counter.get_total_flops()


def count_source(method: Method) -> int:
    """Forward FLOPs for one sample of what runs once: source encoder or condition trunk."""
    method = _on_meta(method).requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        _ends(method)
    return counter.get_total_flops()


def count_training(net: nn.Module, method: Method, batch: int) -> float:
    """Forward and backward FLOPs of a training step, a sample of `batch`: encoder, towers, charges.

    The batch matters only to the contrastive charge, which compares all of it with all of it.
    """
    net, method = _on_meta(net), _on_meta(method)
    pair, draws = meta_pair(method.problem, batch), StepDraws(0, 0, range(batch), batch)
    with FlopCounterMode(display=False) as counter:
        training_loss(net, method, pair, draws).total.backward()
    return counter.get_total_flops() / batch


def _on_meta(module: Net) -> Net:
    return copy.deepcopy(module).to("meta")


def _ends(method: Method) -> Ends:
    source = meta_pair(method.problem, 1).source
    return method.sample_ends(source, StepDraws(0, 0, range(1), 1))
