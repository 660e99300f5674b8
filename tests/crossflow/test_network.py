"""The backbone: shapes, conditions, positions, indicator, and that no input is ignored."""

from dataclasses import astuple

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from crossflow.layers import attend, patchify, position_table, unpatchify
from crossflow.network import SIZES, DiT, OfficialSize, Size, parameters_of
from crossflow.problem import MapShape, Problem

TINY = Size(depth=2, width=32, heads=2, hidden=64)
WIDE = MapShape(2, 8, 16)  # not square: rows and columns must not be mixed up


def problem(null_rate: float = 0.1) -> Problem:
    return Problem(WIDE, WIDE, 4, "identity", None, null_rate)


def awake(net: DiT) -> DiT:
    """With random weights everywhere: adaLN-Zero starts as a constant function."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, *WIDE.sizes, generator=generator), torch.rand(3, generator=generator)


def test_unpatchify_undoes_patchify() -> None:
    x = torch.arange(2 * 3 * 8 * 12.0).view(2, 3, 8, 12)
    patches = patchify(x, 4)
    assert patches.shape == (2, 6, 48)
    assert torch.equal(unpatchify(patches, 4, (2, 3)), x)
    # The second token is the patch right of the first one.
    assert torch.equal(patches[0, 1].view(3, 4, 4), x[0, :, :4, 4:8])


def test_positions_differ_and_tell_rows_from_columns() -> None:
    table = position_table((2, 3), 16)
    assert table.shape == (6, 16)
    assert len(table.unique(dim=0)) == 6
    assert torch.equal(table[0, :8], table[2, :8])  # one row
    assert torch.equal(table[1, 8:], table[4, 8:])  # one column


def test_starts_at_zero_velocity_and_has_null_vectors_where_there_is_a_null_rate() -> None:
    x, t = batch()
    net, without = DiT(problem(), TINY), DiT(problem(0), TINY)
    for out in (net(x, t, None, torch.zeros(3, dtype=torch.bool)), without(x, t)):
        assert out.shape == x.shape
        assert (out == 0).all()
    assert parameters_of(net) - parameters_of(without) == 2 * TINY.width


def test_every_input_matters() -> None:
    x, t = batch()
    null = torch.zeros(3, dtype=torch.bool)
    net = awake(DiT(problem(), TINY))
    base = net(x, t, None, null)
    moved = x.clone()
    moved[:, 0, 0, 0] += 1
    for other in (net(moved, t, None, null), net(x, t / 2, None, null), net(x, t, None, ~null)):
        assert (other != base).flatten(1).any(1).all()
    # A change in one corner reaches the far corner: attention is global.
    assert (net(moved, t, None, null)[..., -1, -1] != base[..., -1, -1]).all()


def test_rows_of_a_batch_do_not_mix_and_bfloat16_is_close() -> None:
    x, t = batch()
    null = torch.tensor([False, True, False])
    net = awake(DiT(problem(), TINY))
    whole = net(x, t, None, null)
    alone = net(x[1:2], t[1:2], None, null[1:2])
    torch.testing.assert_close(whole[1:2], alone, atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(x, t, None, null)
    assert ((rounded - whole).abs().mean() / whole.abs().mean()).item() < 0.05


def test_cross_attention_reads_kept_tokens_and_drops_null_rows() -> None:
    x, t = batch()
    net = awake(DiT(problem(), TINY, "cross", 12))
    tokens = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[True] * 3 + [False] * 2] * 3)
    null = torch.tensor([False, False, True])
    base = net(x, t, tokens, null, mask)
    padding, word = tokens.clone(), tokens.clone()
    padding[:, 4], word[:, 1] = 9.0, 9.0
    torch.testing.assert_close(net(x, t, padding, null, mask), base)
    changed = (net(x, t, word, null, mask) - base).flatten(1).abs().amax(1) > 1e-4
    assert changed.tolist() == [True, True, False]


def test_channels_are_seen_except_at_null_rows() -> None:
    x, t = batch()
    net = awake(DiT(problem(), TINY, "channels", 3))
    cond = torch.randn(3, 3, 8, 16, generator=torch.Generator().manual_seed(1))
    null = torch.tensor([False, True, False])
    changed = net(x, t, cond, null) != net(x, t, cond + 1, null)
    assert changed.flatten(1).any(1).tolist() == [True, False, True]
    # A dropped source is not the same as a source of zeros.
    zeros = torch.zeros_like(cond)
    assert (net(x, t, zeros, null)[1] != net(x, t, zeros, ~null)[1]).any()


def test_misfits_are_refused() -> None:
    x, t = batch()
    null = torch.zeros(3, dtype=torch.bool)
    with pytest.raises(ValueError, match="condition 'none'"):
        DiT(problem(), TINY)(x, t, x, null)
    with pytest.raises(ValueError, match="condition 'none'"):
        DiT(problem(), TINY)(x, t, None, None)
    with pytest.raises(ValueError, match="condition 'channels'"):
        DiT(problem(0), TINY, "channels", 3)(x, t)
    with pytest.raises(ValueError, match="width 0"):
        DiT(problem(), TINY, "cross")


@pytest.mark.parametrize("cached", [1, 2**21])  # one row a part, all rows in one
def test_written_out_attention_agrees_with_the_fused_kernel(
    monkeypatch: pytest.MonkeyPatch, cached: int
) -> None:
    monkeypatch.setattr("crossflow.layers.CACHED", cached)
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 6, 8, generator=generator)
    keep = torch.rand(2, 1, 1, 6, generator=generator) > 0.3
    keep[..., 0] = True
    exact = attend(q, k, v, keep)
    rounded = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), keep)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=0.03, rtol=0.03)


def test_the_official_variant_has_its_parameters_and_flops() -> None:
    latent = MapShape(4, 32, 32)
    given = Problem(latent, latent, 2, "identity", None)
    with torch.device("meta"):
        huge, net = DiT(given, SIZES["dit_h"]), DiT(given, SIZES["dit_xl"])
        with FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, *latent.sizes), torch.zeros(1), None, torch.zeros(1).bool())
    assert parameters_of(huge) == pytest.approx(1067.7e6, rel=0.005)
    assert counter.get_total_flops() == pytest.approx(237.24e9, rel=0.005)


def test_indicator_through_adaln_and_times_as_they_are() -> None:
    x, t = batch()
    null = torch.tensor([False, True, False])
    net = awake(DiT(problem(), OfficialSize(*astuple(TINY))))
    assert (net(x, t, None, null) != net(x, t, None, ~null)).flatten(1).any(1).all()
    # Without the indicator's vectors the state says nothing.
    torch.nn.init.zeros_(net.null_vectors)
    assert torch.equal(net(x, t, None, null), net(x, t, None, ~null))
    stretched = awake(DiT(problem(), TINY, indicator="adaln"))
    torch.nn.init.zeros_(stretched.null_vectors)
    zero = torch.zeros(3)  # there only the GELU differs
    near = net(x, zero, None, null) - stretched(x, zero, None, null)
    far = net(x, t, None, null) - stretched(x, t, None, null)
    assert 0 < near.abs().max() < 0.1 * far.abs().max()


def test_parameters_of_dit_b_2() -> None:
    # Published DiT-B/2 has 130 M with a class embedding of 0.77 M and twice our output channels.
    latent = MapShape(4, 32, 32)
    with torch.device("meta"):
        net = DiT(Problem(latent, latent, 2, "identity", None), SIZES["B"])
    assert parameters_of(net) == pytest.approx(129.7e6, rel=0.01)
