"""FLOPs of a whole arm against a count by hand; those of each shipped method are frozen."""

import pytest
import torch

from crossflow import crossflow
from crossflow.arm import count_sampling, count_training
from crossflow.encoder import EncoderSize
from crossflow.method import Method
from crossflow.network import DiT, Size
from crossflow.problem import MapShape, Problem, TokenShape

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
    first = count_training(DiT(problem, TINY), train(training="two_stage")[1], 8, stage=0)
    network = count_sampling(DiT(problem, TINY), method)[1]
    assert 2.8 * network < joint - first <= 3 * network  # it does not run in the first stage
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
