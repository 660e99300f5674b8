"""The learned source: its draw, its charges in closed form, what trains it."""

import math

import pytest
import torch

from baselines import conditional_source, flow_matching
from crossflow.arm import example_pair
from crossflow.draws import StepDraws
from crossflow.method import training_loss
from crossflow.network import DiT, Size
from crossflow.problem import MapShape, Problem, TokenShape

SMALL = Size(depth=4, width=64, heads=2, hidden=128)
MAP = MapShape(2, 8, 8)
TEXT = Problem(TokenShape(6, vocabulary=9), MAP, 2, "variational", "contrastive", 0.25)
DEPTH = Problem(MapShape(3, 8, 8), MAP, 2, "variational", "reconstruction", 0.25)
SAME = Problem(MAP, MAP, 2, "identity", None, 0.25)
DRAWS = StepDraws(0, 0, range(8), 8)


@pytest.mark.parametrize("problem", [TEXT, DEPTH, SAME])
def test_x0_is_a_draw_from_what_is_read_and_null_rows_keep_it(problem: Problem) -> None:
    method, pair = conditional_source.method(problem, SMALL), example_pair(problem, 8, "cpu")
    mean, logvar = method.source_moments(pair.source)
    assert logvar is not None
    ends = method.train_ends(pair, DRAWS)
    noise = DRAWS.normal("source", MAP.sizes)
    torch.testing.assert_close(ends.x0, mean + torch.exp(0.5 * logvar) * noise)
    assert ends.x1 is pair.target
    assert ends.null is not None
    assert ends.null.sum() == 2
    plain = flow_matching.method(problem, SMALL)
    assert method.condition == plain.condition
    assert ends.cond is not None
    if problem is not TEXT:
        assert ends.cond.shape[1] == method.cond_width == problem.source.channels + 2
        assert torch.equal(ends.cond[:, : problem.source.channels], pair.source.values)


@pytest.mark.parametrize(
    ("scale", "sigma", "variance", "alignment"),
    [
        (3.0, 1.0, 0.0, 0.0),
        (torch.arange(1.0, 9.0)[:, None], 1.0, 0.0, 0.0),  # each row of pixels has a direction
        (-0.5, 2.0, 0.5 * (4 - 1 - math.log(4)), 4 / 8),
    ],
)
def test_charges_leave_the_size_of_the_mean_free(
    monkeypatch: pytest.MonkeyPatch,
    scale: float | torch.Tensor,
    sigma: float,
    variance: float,
    alignment: float,
) -> None:
    method, pair = conditional_source.method(DEPTH, SMALL), example_pair(DEPTH, 8, "cpu")
    cond, logvar = torch.zeros(8, 5, 8, 8), torch.full((8, *MAP.sizes), 2 * math.log(sigma))
    monkeypatch.setattr(method, "read", lambda source: (cond, scale * pair.target, logvar))
    charges = method.train_ends(pair, DRAWS).charges
    assert charges["variance"].item() == pytest.approx(variance, abs=1e-5)
    assert charges["alignment"].item() == pytest.approx(alignment, abs=1e-5)


def test_the_flow_loss_alone_trains_the_source() -> None:
    method = conditional_source.method(TEXT, SMALL, variance_weight=0.0, alignment_weight=0.0)
    net = DiT(TEXT, SMALL, method.condition, method.cond_width)
    training_loss(net, method, example_pair(TEXT, 8, "cpu"), DRAWS).total.backward()
    assert method.readout.head.weight.grad is not None
    assert method.readout.head.weight.grad.abs().sum() > 0
