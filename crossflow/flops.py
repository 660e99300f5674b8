"""FLOPs of training and sampling, counted on the meta device: nothing is computed.

Convention (torch.utils.flop_counter): a multiply-add is 2; matrix products, convolutions and
attention count, element-wise work does not; attention counts in full whatever its mask; a
recomputed activation counts again. A Linear from m to n on r rows is 2 r m n forward.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from crossflow.draws import StepDraws
from crossflow.methods import Ends, Method, training_loss
from crossflow.problem import MapShape, Pair, Problem, Source

Net = TypeVar("Net", bound=nn.Module)
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
