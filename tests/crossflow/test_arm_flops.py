"""FLOP counts of known layers, and of a whole arm against a count by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from crossflow import crossflow
from crossflow.arm import count_sampling, count_training
from crossflow.encoder import EncoderSize
from crossflow.method import Method
from crossflow.network import DiT, Size
from crossflow.problem import MapShape, Problem, TokenShape


def count(forward: object, x: torch.Tensor, backward: bool = False) -> int:
    with FlopCounterMode(display=False) as counter:
        y = forward(x)  # type: ignore[operator]
        if backward:
            y.sum().backward()
    return counter.get_total_flops()


def attention(x: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(x, x, x)


def test_known_layers() -> None:
    with torch.device("meta"):
        linear, conv = nn.Linear(64, 128), nn.Conv2d(3, 16, 3, padding=1)
        mlp = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))

    def recomputed(x: torch.Tensor) -> torch.Tensor:
        # Saving the generator's state for the recomputation would touch a device that is not there.
        return checkpoint(mlp, x, use_reentrant=False, preserve_rng_state=False)

    # Forward alone, with the backward pass to the weights, and with the one to the input too.
    for layer, shape, forward, weights, both in (
        (linear, (32, 64), 524288, 1048576, 1572864),
        (conv, (2, 3, 8, 8), 110592, 221184, 331776),
        (attention, (2, 4, 16, 8), 65536, None, 196608),
        (mlp, (8, 64), 524288, None, 1572864),
        (recomputed, (8, 64), None, None, 1835008),
    ):
        x, moved = (torch.empty(shape, device="meta", requires_grad=g) for g in (False, True))
        assert forward is None or count(layer, x) == forward
        assert weights is None or count(layer, x, backward=True) == weights
        assert count(layer, moved, backward=True) == both


TINY = Size(depth=3, width=32, heads=2, hidden=64)


def test_backbone_by_hand() -> None:
    shape = MapShape(2, 8, 8)
    problem = Problem(shape, shape, 2, "identity", None, 0)
    net, method = DiT(problem, TINY), crossflow.CrossFlow(problem, TINY)
    n, d, p = 16, 32, 2 * 2 * 2
    block = n * (2 * d * 4 * d + 2 * 2 * d * 64) + 4 * n * n * d + 2 * d * 6 * d
    rest = 2 * n * p * d + 2 * 256 * d + 2 * d * d + 2 * d * 2 * d + 2 * n * d * p
    assert count_sampling(net, method) == (0, 3 * block + rest)


def test_training_charges_encoder_tower_and_all_backward_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crossflow, "encoder_size", lambda *_: EncoderSize(2, 32, 2))
    problem = Problem(
        TokenShape(12, vocabulary=20), MapShape(4, 4, 4), 1, "variational", "contrastive"
    )

    def train(**options: object) -> tuple[float, Method]:
        method = crossflow.method(problem, TINY, **options)
        return count_training(DiT(problem, TINY), method, 8), method

    joint, method = train()
    forward = sum(count_sampling(DiT(problem, TINY), method))
    assert forward < joint
    assert (
        3 * forward < joint < 5 * forward
    )  # backward is twice the forward; the tower comes on top
    # Without a gradient to x0 the first layer of the network has one product less.
    assert train(stop_gradient=True)[0] < joint


def test_counting_leaves_the_arm_as_it_was() -> None:
    shape = MapShape(2, 8, 8)
    problem = Problem(shape, shape, 2, "identity", None)
    net, method = DiT(problem, TINY), crossflow.CrossFlow(problem, TINY)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    count_training(net, method, 4)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
