"""What an arm needs for several processes to train it as one does: tried before the first step."""

from __future__ import annotations

import copy
from collections.abc import Container

import torch
from torch import Tensor, nn

from crossflow import world
from crossflow.arm import Arm
from crossflow.draws import StepDraws
from crossflow.errors import ArmError
from crossflow.order import Order
from crossflow.store import Store

ROWS = 32  # of a batch that is tried, at least two a process: all might not fit into memory
TOLERANCE = 1e-4  # relative; the order of a sum in fp32 makes 1e-6
NOISE = 0.02  # on all weights: a layer that is zero at first hides what stands before it


@torch.no_grad()
def require_same_loss(
    whole_arm: Arm, trained: nn.Module, store: Store, order: Order, device: torch.device
) -> None:
    """ArmError where a batch's loss is not the mean of its parts', one a process. whole_arm: a copy
    of `trained`, which may be in shards."""
    if world.size() == 1:
        return
    arm = copy.deepcopy(whole_arm).to(device)
    for module, other in zip(arm.modules(), trained.modules(), strict=True):
        module.train(other.training)
    for parameter in arm.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=NOISE)
    each = min(order.batch // world.size(), max(2, ROWS // world.size()))
    total, losses = each * world.size(), list[float]()
    for part in (range(total), world.share(total)):
        rows, captions = (column[part.start : part.stop] for column in order.step(0))
        pair, loss = store.pairs(rows, captions).to(device), torch.zeros((), device=device)
        for stage in range(len(arm.method.stages)):
            draws = StepDraws(order.seed, 0, part, total, stage)
            loss += copy.deepcopy(arm)(pair, draws).total
        losses.append(float(world.mean(loss)))
    whole, parts = losses
    if abs(parts - whole) > TOLERANCE * abs(whole):
        what = "the loss depends on which rows share a process"
        hint = "see StepDraws.whole_batch, and take random numbers from the draws alone"
        raise ArmError(f"{arm.name}: {what} ({whole:.6g} of all, {parts:.6g} of parts): {hint}")


def require_gradients(name: str, module: nn.Module, moved: Container[Tensor] = ()) -> None:
    """ArmError where backward passes left a parameter without a gradient; one process may.
    moved: parameters that an optimizer moved, in whatever stage."""
    trained = [(path, p) for path, p in module.named_parameters() if p.requires_grad]
    without = [path for path, p in trained if p.grad is None and p not in moved]
    if without and world.size() > 1:
        what = f"no gradient reaches {', '.join(without)}"
        raise ArmError(f"{name}: {what}: with several processes every parameter needs one")
