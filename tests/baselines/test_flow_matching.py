"""The baseline: starts from noise, sees the source, and drops it at null rows."""

from dataclasses import replace

import pytest
import torch

from baselines import flow_matching
from crossflow.arm import example_pair
from crossflow.draws import ItemDraws, StepDraws
from crossflow.network import DiT, Size
from crossflow.problem import MapShape, Pair, Problem, Source, TokenShape

BACKBONE = Size(depth=4, width=64, heads=2, hidden=256)
MAP = MapShape(2, 8, 8)
TEXT = Problem(TokenShape(6, vocabulary=9), MAP, 2, "variational", "contrastive", 0.25)
DEPTH = Problem(MapShape(3, 8, 8), MAP, 2, "variational", "reconstruction", 0.25)
PLAIN = Problem(MAP, MAP, 2, "identity", None, 0)


def pair(problem: Problem) -> Pair:
    torch.manual_seed(0)
    return example_pair(problem, 16, "cpu")


def draws(step: int = 0, rows: int = 16) -> StepDraws:
    return StepDraws(0, step, range(rows), rows)


@pytest.mark.parametrize("problem", [TEXT, DEPTH, PLAIN])
def test_starts_from_noise_and_keeps_every_target(problem: Problem) -> None:
    batch, method = pair(problem), flow_matching.method(problem, BACKBONE)
    ends = method.train_ends(batch, draws())
    assert torch.equal(ends.x0, draws().normal("source", MAP.sizes))
    assert ends.x1 is batch.target
    assert ends.charges == {}
    assert (ends.null is None) == (problem.null_rate == 0)
    sampled = method.sample_ends(batch.source, ItemDraws(0, range(16)))
    assert torch.equal(sampled.x0, ItemDraws(0, range(16)).normal("source", MAP.sizes))
    assert sampled.x1 is None
    assert sampled.null is None or not sampled.null.any()


def test_condition_is_tokens_or_a_map_with_the_source_in_it() -> None:
    text = flow_matching.method(TEXT, BACKBONE)
    ends = text.train_ends(pair(TEXT), draws())
    assert ends.cond is not None
    assert ends.cond.shape == (16, 6, text.cond_width)
    assert ends.cond_mask is not None
    depth = flow_matching.method(DEPTH, BACKBONE)
    batch = pair(DEPTH)
    cond = depth.train_ends(batch, draws()).cond
    assert cond is not None
    assert cond.shape[1] == depth.cond_width == 3 + 2
    assert torch.equal(cond[:, :3], batch.source.values)
    plain = flow_matching.method(PLAIN, BACKBONE)
    batch = pair(PLAIN)
    assert plain.train_ends(batch, draws()).cond is batch.source.values


@pytest.mark.parametrize("problem", [TEXT, DEPTH])
def test_null_rows_train_without_their_source(problem: Problem) -> None:
    torch.manual_seed(0)
    method = flow_matching.method(problem, BACKBONE)
    net = DiT(problem, BACKBONE, method.condition, method.cond_width)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    batch = pair(problem)
    other = replace(batch, source=Source(batch.source.values.flip(0), batch.source.mask))
    t = torch.full((16,), 0.5)
    outputs = []
    for each in (batch, other):
        ends = method.train_ends(each, draws())
        outputs.append(net(ends.x0, t, ends.cond, ends.null, ends.cond_mask))
    changed = ((outputs[0] - outputs[1]).abs().flatten(1).amax(1) > 1e-5).tolist()
    null = method.train_ends(batch, draws()).null
    assert null is not None
    assert changed == (~null).tolist()
