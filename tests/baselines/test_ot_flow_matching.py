"""Transport on a line is the sorted order; conditions hold noise back; all processes agree."""

from dataclasses import replace

import pytest
import torch

from baselines import flow_matching, ot_flow_matching
from baselines.ot_flow_matching import assigned, weight
from crossflow import world
from crossflow.draws import StepDraws
from crossflow.network import Size
from crossflow.problem import MapShape, Pair, Problem, Source, TokenShape

DOT = MapShape(1, 1, 1)
SMALL = Size(depth=4, width=64, heads=2, hidden=128)
ROWS = 12


def pair(classes: int = 2, rows: int = ROWS) -> Pair:
    """Numbers; their conditions are captions of one word."""
    target = torch.randn(rows, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    words = (torch.arange(rows) % classes)[:, None]
    return Pair(Source(words, torch.ones(rows, 1).bool()), target, torch.arange(rows))


def problem(classes: int, null_rate: float = 0.0) -> Problem:
    return Problem(TokenShape(1, vocabulary=classes), DOT, 1, "variational", None, null_rate)


def draws(rows: range = range(ROWS)) -> StepDraws:
    return StepDraws(0, 3, rows, ROWS)


def ranks(x: torch.Tensor) -> list[int]:
    return x.flatten().argsort().argsort().tolist()


def test_blind_transport_on_a_line_sorts_and_only_the_noise_moves() -> None:
    batch = pair()
    plain = flow_matching.method(problem(2), SMALL).train_ends(batch, draws())
    ends = ot_flow_matching.method(problem(2), SMALL, blind=True).train_ends(batch, draws())
    assert ranks(ends.x0) == ranks(batch.target) != ranks(plain.x0)
    assert torch.equal(ends.x0.flatten().sort()[0], plain.x0.flatten().sort()[0])
    assert ends.x1 is batch.target
    assert ends.cond_mask is batch.source.mask


def test_noise_stays_with_its_condition_and_is_sorted_there() -> None:
    """What the paper wants of discrete conditions: noise of each keeps its distribution."""
    batch = pair()
    before = flow_matching.method(problem(2), SMALL).train_ends(batch, draws()).x0.flatten()
    method = ot_flow_matching.method(problem(2), SMALL, share=0.01)
    after = method.train_ends(batch, draws()).x0.flatten()
    for rows in (slice(0, None, 2), slice(1, None, 2)):
        assert torch.equal(after[rows].sort()[0], before[rows].sort()[0])
        assert ranks(after[rows]) == ranks(batch.target[rows])


def test_null_rows_exchange_noise_among_themselves_alone() -> None:
    batch, chosen = pair(classes=ROWS), problem(ROWS, null_rate=0.5)
    before = flow_matching.method(chosen, SMALL).train_ends(batch, draws())
    after = ot_flow_matching.method(chosen, SMALL, share=0.01).train_ends(batch, draws())
    assert before.null is not None
    kept = ~before.null
    assert torch.equal(after.x0[kept], before.x0[kept])
    assert ranks(after.x0[before.null]) == ranks(batch.target[before.null])


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_the_share_of_pairs_that_still_pay_is_exact(share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(20, 20, generator=generator)
    apart = torch.rand(20, 20, generator=generator) * (1 - torch.eye(20))
    w = weight(cost, apart, share)
    assert w > 0
    pays = cost + w * apart <= cost.diag()[:, None] + 1e-6
    assert pays.fill_diagonal_(False).sum() == round(share * 20 * 19)


def test_the_cost_is_least_of_all_orders() -> None:
    """Rows of x0 for rows of x1, not the other way round: a cycle of three tells them apart."""
    x1 = torch.tensor([0.0, 1.0, 2.0])[:, None, None, None]
    x0 = torch.tensor([1.1, 2.1, 0.1])[:, None, None, None]
    assert assigned(x0, x1, None, 1.0).tolist() == [2, 0, 1]


@pytest.mark.parametrize("width", [None, 3])
def test_padding_is_not_compared(width: int | None) -> None:
    source = TokenShape(4, vocabulary=9) if width is None else TokenShape(4, width=width)
    method = ot_flow_matching.method(
        Problem(source, MapShape(1, 4, 4), 1, "variational", None, 0.0), SMALL
    )
    values = torch.randint(9, (2, 4)) if width is None else torch.randn(2, 4, width)
    mask = torch.tensor([[True, True, False, False]] * 2)
    other = values.clone()
    other[:, 2:] = 0
    assert not torch.equal(values, other)
    seen = [method.compared(Source(given, mask)) for given in (values, other)]
    assert torch.equal(*seen)
    order = method.compared(Source(values.flip(1), mask.flip(1)))
    torch.testing.assert_close(order, seen[0])


def test_it_does_not_matter_which_rows_a_process_has(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, chosen = pair(classes=3), problem(3, null_rate=0.25)
    method = ot_flow_matching.method(chosen, SMALL)
    whole: list[torch.Tensor] = []
    monkeypatch.setattr(world, "all_rows", lambda rows: whole.pop(0))
    alone = method.train_ends(batch, draws())
    noise = flow_matching.method(chosen, SMALL).train_ends(batch, draws())
    assert noise.null is not None
    null = noise.null[:, None].float()
    words = torch.nn.functional.one_hot(batch.source.values[:, 0], 3) * (1 - null)
    whole += [batch.groups, noise.x0, batch.target, torch.cat([words, null], dim=1)]
    half = range(ROWS // 2, ROWS)
    rows = slice(half.start, half.stop)
    part = Source(batch.source.values[rows], batch.source.mask[rows])
    mine = replace(batch, source=part, target=batch.target[rows], groups=batch.groups[rows])
    assert torch.equal(method.train_ends(mine, draws(half)).x0, alone.x0[rows])
