"""Regression: the same network, one pass, no noise, no guidance."""

import pytest
import torch

from baselines import flow_matching, regression
from crossflow.arm import build_arm
from crossflow.draws import ItemDraws, StepDraws
from crossflow.network import SIZES, DiT, Size
from crossflow.problem import MapShape, Pair, Problem, Source
from crossflow.solver import Grid

MAP = MapShape(1, 4, 4)
PROBLEM = Problem(MAP, MAP, 1, "identity", None, 0.1)
SMALL = Size(depth=2, width=32, heads=2, hidden=64)


def batch(step: int) -> Pair:
    x = torch.randn(32, *MAP.sizes, generator=torch.Generator().manual_seed(step))
    return Pair(Source(x), x.flip(-1) + 1, torch.arange(32))


def draws(step: int) -> StepDraws:
    return StepDraws(0, step, range(32), 32)


def test_network_is_that_of_flow_matching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "toy", SMALL)
    ours, theirs = (build_arm(m, PROBLEM, "toy", batch=8) for m in (regression, flow_matching))
    assert ours.size == theirs.size
    assert ours.cost == theirs.cost
    state = theirs.state_dict()
    assert all(torch.equal(state[name], value) for name, value in ours.state_dict().items())


def test_input_is_the_source_alone_and_the_answer_is_the_target() -> None:
    method, pair = regression.method(PROBLEM, SMALL), batch(0)
    ends = method.train_ends(pair, draws(0))
    assert ends.x1 is not None
    assert ends.null is not None
    assert not ends.null.any()
    t = method.times(32, draws(0))
    xt, ut = method.path(ends.x0, ends.x1, t)
    assert (xt == 0).all()
    assert (t == 0).all()
    assert ut is pair.target
    assert ends.cond is pair.source.values


def test_one_evaluation_is_the_sample_whatever_the_grid_and_there_is_no_guidance() -> None:
    method = regression.method(PROBLEM, SMALL)
    net = DiT(PROBLEM, SMALL, method.condition, method.cond_width)
    torch.nn.init.normal_(net.velocity.weight)
    ends = method.sample_ends(batch(0).source, ItemDraws(0, range(32)))
    sampled = method.sample(net, ends, Grid(50), 1.0)
    assert sampled.nfe == 1
    assert torch.equal(sampled.x, net(ends.x0, torch.zeros(32), ends.cond, ends.null))
    with pytest.raises(ValueError, match="guidance must be 1"):
        method.sample(net, ends, Grid(50), 2.0)
