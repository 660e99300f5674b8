"""FLOP counts of known layers, and of a whole arm against a count by hand."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from crossflow import crossflow, flops
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


@pytest.fixture
def meta() -> Iterator[None]:
    with torch.device("meta"):
        yield


@pytest.mark.usefixtures("meta")
def test_linear() -> None:
    layer = nn.Linear(64, 128)
    assert count(layer, torch.empty(32, 64)) == 524288
    assert count(layer, torch.empty(32, 64, requires_grad=True), backward=True) == 1572864
    assert count(layer, torch.empty(32, 64), backward=True) == 1048576


@pytest.mark.usefixtures("meta")
def test_convolution() -> None:
    layer = nn.Conv2d(3, 16, 3, padding=1)
    assert count(layer, torch.empty(2, 3, 8, 8)) == 110592
    assert count(layer, torch.empty(2, 3, 8, 8), backward=True) == 221184
    assert count(layer, torch.empty(2, 3, 8, 8, requires_grad=True), backward=True) == 331776


@pytest.mark.usefixtures("meta")
@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal: bool) -> None:
    def attention(x: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, x, x, is_causal=causal)

    assert count(attention, torch.empty(2, 4, 16, 8)) == 65536
    assert count(attention, torch.empty(2, 4, 16, 8, requires_grad=True), backward=True) == 196608


@pytest.mark.usefixtures("meta")
def test_mlp_and_recomputation() -> None:
    mlp = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))

    def recomputed(x: torch.Tensor) -> torch.Tensor:
        # Saving the generator's state for the recomputation would touch a device that is not there.
        return checkpoint(mlp, x, use_reentrant=False, preserve_rng_state=False)

    assert count(mlp, torch.empty(8, 64, requires_grad=True), backward=True) == 1572864
    assert count(recomputed, torch.empty(8, 64, requires_grad=True), backward=True) == 1835008


TINY = Size(depth=3, width=32, heads=2, hidden=64)


def test_backbone_by_hand() -> None:
    shape = MapShape(2, 8, 8)
    problem = Problem(shape, shape, 2, "identity", None, 0)
    net, method = DiT(problem, TINY), crossflow.CrossFlow(problem, TINY)
    n, d, p = 16, 32, 2 * 2 * 2
    block = n * (2 * d * 4 * d + 2 * 2 * d * 64) + 4 * n * n * d + 2 * d * 6 * d
    rest = 2 * n * p * d + 2 * 256 * d + 2 * d * d + 2 * d * 2 * d + 2 * n * d * p
    assert flops.count_evaluation(net, method) == 3 * block + rest
    assert flops.count_source(method) == 0


def test_training_charges_encoder_tower_and_all_backward_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crossflow, "encoder_size", lambda *_: EncoderSize(2, 32, 2))
    problem = Problem(
        TokenShape(12, vocabulary=20), MapShape(4, 4, 4), 1, "variational", "contrastive"
    )

    def train(**options: object) -> tuple[float, Method]:
        method = crossflow.method(problem, TINY, **options)
        return flops.count_training(DiT(problem, TINY), method, 8), method

    joint, method = train()
    forward = flops.count_evaluation(DiT(problem, TINY), method) + flops.count_source(method)
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
    flops.count_training(net, method, 4)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
