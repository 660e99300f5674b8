"""FLOPs of training and sampling, by torch.utils.flop_counter.

A multiply-add is 2; matrix products, convolutions and attention (in full, whatever its mask) count,
element-wise work does not; a recomputed activation counts again. Counted on the meta device, or,
for a method that cannot run there (scipy, `.item()`), once on a few real rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from crossflow.draws import StepDraws
from crossflow.method import Method, training_loss
from crossflow.nulls import LEAST_BATCH
from crossflow.problem import MapShape, Pair, Problem, Source

Counted = TypeVar("Counted")


def count_source(method: Method) -> int:
    """Forward FLOPs for one sample of what runs once: source encoder or condition trunk."""
    return int(
        _flops(lambda _, method, pair, draws: method.sample_ends(pair.source, draws), method)
    )


def count_evaluation(net: nn.Module, method: Method) -> int:
    """Forward FLOPs of one network evaluation for one sample (one branch of guidance)."""

    def evaluate(net: nn.Module, method: Method, pair: Pair, draws: StepDraws) -> None:
        ends = method.sample_ends(pair.source, draws)
        time = torch.zeros(len(ends.x0), device=ends.x0.device)
        net(ends.x0, time, ends.cond, ends.null, ends.cond_mask)

    return int(_flops(evaluate, method, net)) - count_source(method)


def count_training(net: nn.Module, method: Method, batch: int) -> float:
    """Forward and backward FLOPs of a training step, a sample of `batch`: encoder, towers, charges.

    The batch matters only to charges that compare all of it with all of it.
    """
    return _flops(lambda *step: training_loss(*step).total.backward(), method, net, batch)


def _flops(
    work: Callable[..., object], method: Method, net: nn.Module | None = None, batch: int = 1
) -> float:
    """FLOPs a row of `work(net, method, pair, draws)` on copies of the modules."""

    def count(device: str) -> float:
        rows = batch if device == "meta" else min(batch, LEAST_BATCH)
        copies = [copy.deepcopy(module).to(device) for module in (net or nn.Identity(), method)]
        pair, draws = example_pair(method.problem, rows, device), StepDraws(0, 0, range(rows), rows)
        with FlopCounterMode(display=False) as counter:
            work(*copies, pair, draws)
        return counter.get_total_flops() / rows

    return on_meta_or_real(count)


def on_meta_or_real(count: Callable[[str], Counted]) -> Counted:
    """`count("meta")`; where that raises, `count("cpu")`, where a true mistake raises again."""
    try:
        return count("meta")
    except Exception:
        # The plain form of attention, as on the meta device: fused kernels recompute some products.
        with torch.random.fork_rng(devices=[]), sdpa_kernel(SDPBackend.MATH):
            return count("cpu")


def example_pair(problem: Problem, rows: int, device: str) -> Pair:
    """A batch of the problem's shapes with random content, every row another image."""
    shape = problem.source
    with torch.device(device):
        target = torch.randn(rows, *problem.target.sizes)
        if isinstance(shape, MapShape):
            source = Source(torch.randn(rows, *shape.sizes))
        else:
            mask = torch.ones(rows, shape.length, dtype=torch.bool)
            words = torch.zeros(rows, shape.length, dtype=torch.int16)
            wide = (rows, shape.length, shape.width or 0)
            source = Source(words if shape.width is None else torch.randn(wide), mask)
    return Pair(source, target, torch.arange(rows, device="cpu"))
