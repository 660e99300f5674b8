"""Draws depend on what they are for and on nothing else."""

import torch

from crossflow.draws import ItemDraws, StepDraws


def test_evaluation_draws_depend_on_seed_item_draw_and_name_alone() -> None:
    whole = ItemDraws(0, range(10)).normal("source", (2, 3, 4))
    halves = [ItemDraws(0, items).normal("source", (2, 3, 4)) for items in (range(3), range(3, 10))]
    assert torch.equal(whole, torch.cat(halves))
    base = ItemDraws(0, [7]).normal("source", (2, 3, 4))
    assert torch.equal(whole[7], base[0])
    for seed, item, draw, name in ((1, 7, 0, "source"), (0, 7, 1, "source"), (0, 7, 0, "other")):
        assert not torch.equal(base, ItemDraws(seed, [item], draw).normal(name, (2, 3, 4)))
    assert not torch.equal(whole[6], base[0])


def test_training_draws_ignore_global_state_and_split_by_rows() -> None:
    torch.manual_seed(1)
    whole = StepDraws(0, 7, range(6), 6).normal("source", (3,))
    torch.manual_seed(2)
    parts = [StepDraws(0, 7, rows, 6).normal("source", (3,)) for rows in (range(2), range(2, 6))]
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole, StepDraws(0, 8, range(6), 6).normal("source", (3,)))
