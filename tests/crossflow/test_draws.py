"""Draws depend on what they are for and on nothing else."""

import torch

from crossflow.draws import ItemDraws, StepDraws


def test_evaluation_draws_do_not_depend_on_batch_or_order() -> None:
    whole = ItemDraws(0, range(10)).normal("source", (2, 3, 4))
    halves = [ItemDraws(0, items).normal("source", (2, 3, 4)) for items in (range(3), range(3, 10))]
    assert torch.equal(whole, torch.cat(halves))
    assert torch.equal(whole[7], ItemDraws(0, [7]).normal("source", (2, 3, 4))[0])


def test_evaluation_draws_differ_by_seed_item_draw_and_name() -> None:
    base = ItemDraws(0, [5]).normal("source", (8,))
    others = (
        ItemDraws(1, [5]).normal("source", (8,)),
        ItemDraws(0, [6]).normal("source", (8,)),
        ItemDraws(0, [5], draw=1).normal("source", (8,)),
        ItemDraws(0, [5]).normal("other", (8,)),
    )
    assert not any(torch.equal(base, other) for other in others)


def test_training_draws_ignore_global_state_and_split_by_rows() -> None:
    torch.manual_seed(1)
    whole = StepDraws(0, 7, range(6), 6).normal("source", (3,))
    torch.manual_seed(2)
    parts = [StepDraws(0, 7, rows, 6).normal("source", (3,)) for rows in (range(2), range(2, 6))]
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole, StepDraws(0, 8, range(6), 6).normal("source", (3,)))


def test_permutation_is_of_the_global_batch() -> None:
    part = StepDraws(0, 7, range(2), 6)
    assert sorted(part.permutation("null").tolist()) == list(range(6))
    assert torch.equal(part.permutation("null"), StepDraws(0, 7, range(6), 6).permutation("null"))
