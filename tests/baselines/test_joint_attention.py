"""Text among the network's own tokens: seen, masked, dropped at null rows, and counted."""

import pytest
import torch

from baselines import joint_attention
from crossflow.arm import count_sampling
from crossflow.network import DiT, Size
from crossflow.problem import MapShape, Problem, TokenShape

SMALL = Size(depth=3, width=32, heads=2, hidden=64)
PROBLEM = Problem(TokenShape(6, vocabulary=9), MapShape(2, 8, 8), 2, "variational", None, 0.25)


@pytest.fixture
def net() -> DiT:
    torch.manual_seed(0)
    net = DiT(PROBLEM, SMALL, "joint", 16)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net


@torch.no_grad()
def test_words_are_seen_but_padding_and_null_rows_are_not(net: DiT) -> None:
    x, t = torch.randn(3, 2, 8, 8), torch.full((3,), 0.5)
    cond, null = torch.randn(3, 6, 16), torch.tensor([False, False, True])
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2, [True] * 6])
    before = net(x, t, cond, null, mask)
    for token, changed in ((0, [True, True, False]), (5, [True, False, False])):
        other = cond.clone()
        other[:, token] += 1
        after = net(x, t, other, null, mask)
        assert ((after - before).abs().flatten(1).amax(1) > 1e-5).tolist() == changed
    # Without a mask all are real.
    assert torch.equal(
        net(x[:1], t[:1], cond[:1], null[:1]), net(x[:1], t[:1], cond[:1], null[:1], mask[:1])
    )


@torch.no_grad()
def test_no_order_is_known_but_what_the_tokens_say(net: DiT) -> None:
    """One set of weights: words have no place of their own in the network."""
    x, t, null = torch.randn(1, 2, 8, 8), torch.full((1,), 0.5), torch.tensor([False])
    cond = torch.randn(1, 6, 16)
    torch.testing.assert_close(net(x, t, cond, null), net(x, t, cond.flip(1), null))


def test_flops_by_hand() -> None:
    """Every layer works on words and patches alike."""
    size = Size(depth=4, width=64, heads=2, hidden=128)
    method = joint_attention.method(PROBLEM, size)
    net = DiT(PROBLEM, size, "joint", method.cond_width)
    n, m, d, p = 16, 6, 64, 2 * 2 * 2
    both = n + m
    block = both * (2 * d * 4 * d + 2 * 2 * d * 128) + 4 * both**2 * d + 2 * d * 6 * d
    rest = 2 * n * p * d + 2 * m * method.cond_width * d + 2 * 256 * d + 2 * d * d
    rest += 2 * d * 2 * d + 2 * n * d * p
    assert count_sampling(net, method)[1] == 4 * block + rest
