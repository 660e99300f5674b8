"""DiMR: sizes, inputs, conditions and the loss over its scales. Its numbers: test_official.py."""

from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from crossflow import crossflow
from crossflow.arm import build_arm
from crossflow.dimr import DiMR, StageSize, backbone, stages_of
from crossflow.errors import InputError
from crossflow.method import flow_loss
from crossflow.network import SIZES, DiMRSize, parameters_of
from crossflow.problem import MapShape, Problem, TokenShape

TINY = DiMRSize(3, 32, 4, 64, conv_depth=3)
WIDE = MapShape(2, 8, 16)  # not square: rows and columns must not be mixed up


def problem(null_rate: float = 0.1, patch: int = 4, target: MapShape = WIDE) -> Problem:
    return Problem(target, target, patch, "identity", None, null_rate)


def awake(condition: str = "none", width: int = 0) -> DiMR:
    """With random weights everywhere."""
    torch.manual_seed(0)
    net = backbone(problem(), TINY, condition, width)
    assert isinstance(net, DiMR)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, *WIDE.sizes, generator=generator), torch.rand(3, generator=generator)


@pytest.mark.parametrize(
    ("name", "side", "patch", "millions"),
    [
        ("dimr_70m", 32, 2, 70),
        ("dimr_150m", 32, 2, 150),
        ("dimr_300m", 32, 2, 300),
        ("dimr_500m", 32, 2, 504.1),
        ("dimr_1b", 32, 2, 950.8),  # t2i_256px_clip_dimr
        ("dimr_1b", 64, 4, 985.4),  # t2i_512px_clip_dimr
    ],
)
def test_parameters(name: str, side: int, patch: int, millions: float) -> None:
    with torch.device("meta"):
        net = backbone(problem(0.1, patch, MapShape(4, side, side)), SIZES[name])
    published = millions > 500
    rel = 0.005 if published else 0.04
    assert parameters_of(net) == pytest.approx(millions * 1e6, rel=rel)


def test_stages_go_down_to_pixels() -> None:
    def patches(patch: int) -> list[int]:
        return [stage.patch for stage in stages_of(TINY, patch)]

    assert patches(4) == [4, 2, 1]
    assert patches(1) == patches(2) == [2, 1]
    assert patches(6) == [6, 3, 1]
    with pytest.raises(InputError, match="patches of 2"):
        backbone(problem(0.1, 1, MapShape(2, 7, 8)), TINY)
    with pytest.raises(InputError, match="odd number of blocks, not 2"):
        DiMR(problem(), [StageSize(2, 32, 64, 4, 4)])


def test_every_input_matters_and_rows_do_not_mix() -> None:
    (x, t), null = batch(), torch.tensor([False, True, False])
    net = awake()
    base = net(x, t, None, null)
    moved = x.clone()
    moved[:, 0, 0, 0] += 1
    for other in (net(moved, t, None, null), net(x, t / 2, None, null), net(x, t, None, ~null)):
        assert (other != base).flatten(1).any(1).all()
    assert (net(moved, t, None, null)[..., -1, -1] != base[..., -1, -1]).all()
    alone = net(x[1:2], t[1:2], None, null[1:2])
    torch.testing.assert_close(base[1:2], alone, atol=1e-4, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(x, t, None, null)
    assert ((rounded - base).abs().mean() / base.abs().mean()).item() < 0.05


def test_conditions_are_seen_except_at_null_rows() -> None:
    (x, t), null = batch(), torch.tensor([False, False, True])
    generator = torch.Generator().manual_seed(1)
    net, tokens = awake("cross", 12), torch.randn(3, 5, 12, generator=generator)
    mask = torch.tensor([[True] * 3 + [False] * 2] * 3)
    base, padding, word = net(x, t, tokens, null, mask), tokens.clone(), tokens.clone()
    padding[:, 4], word[:, 1] = 9.0, 9.0
    torch.testing.assert_close(net(x, t, padding, null, mask), base)
    changed = (net(x, t, word, null, mask) - base).flatten(1).abs().amax(1) > 1e-3
    assert changed.tolist() == [True, True, False]
    net, cond = awake("channels", 3), torch.randn(3, 3, 8, 16, generator=generator)
    changed = net(x, t, cond, null) != net(x, t, cond + 1, null)
    assert changed.flatten(1).any(1).tolist() == [True, True, False]


def test_recomputed_blocks_have_the_same_gradients() -> None:
    (x, t), null, net = batch(), torch.tensor([False, True, False]), awake()
    gradients = []
    for net.recompute in (False, True):
        net.zero_grad()
        with mock.patch("crossflow.network.checkpoint", side_effect=checkpoint) as repeated:
            flow_loss(net.velocities(x, t, None, null, None), x).backward()
        assert repeated.call_count == (9 if net.recompute else 0)
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_coarse_targets_are_sums_over_squares() -> None:
    ut = torch.randn(2, 2, 4, 8, generator=torch.Generator().manual_seed(0))
    sums = ut.unflatten(2, (2, 2)).unflatten(4, (4, 2)).sum(dim=(3, 5)) / 2
    zeros = [torch.zeros(2, 2, 1, 2), torch.zeros_like(sums), torch.zeros_like(ut)]
    quarter, half, whole = ut.unflatten(3, (2, 4)).sum(dim=(2, 4)) / 4, sums, ut
    expected = quarter.square().mean() / 4 + half.square().mean() / 2 + whole.square().mean()
    torch.testing.assert_close(flow_loss(zeros, ut), expected)


def test_arms_of_one_size_cost_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import baselines.flow_matching

    monkeypatch.setitem(SIZES, "tiny_dimr", DiMRSize(9, 64, 4, 128, conv_depth=3))
    words = TokenShape(6, vocabulary=11)
    given = Problem(words, MapShape(4, 8, 8), 2, "variational", "contrastive")
    reference = build_arm(crossflow, given, "tiny_dimr", batch=8)
    arm = build_arm(baselines.flow_matching, given, "tiny_dimr", batch=8)
    assert isinstance(arm.net, DiMR) and arm.size.depth % 2 == 1
    assert arm.size.depth < reference.size.depth or arm.size.hidden < reference.size.hidden
    assert arm.flops_ratio == pytest.approx(1, abs=0.05)
    assert arm.params_ratio == pytest.approx(1, abs=0.05)


def test_a_condition_of_joint_tokens_is_refused():
    with pytest.raises(InputError, match="takes no joint tokens"):
        backbone(problem(), TINY, "joint", 8)
