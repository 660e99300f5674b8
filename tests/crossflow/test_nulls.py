"""Null rows: how many, which, and that none keeps its own image's target."""

import pytest
import torch

from crossflow.draws import StepDraws
from crossflow.errors import InputError
from crossflow.nulls import LEAST_BATCH, choose_nulls
from crossflow.order import Order


def draws(step: int, total: int, rows: range | None = None) -> StepDraws:
    return StepDraws(0, step, rows or range(total), total)


@pytest.mark.parametrize(
    ("total", "rate", "count"), [(64, 0.1, 6), (8, 0.1, 2), (256, 0.1, 26), (10, 0.35, 4)]
)
def test_count_and_rows_that_change_with_the_step_alone(
    total: int, rate: float, count: int
) -> None:
    x1, seen = torch.arange(float(total)).view(total, 1, 1, 1), []
    for step in (0, 1, 2, 0):
        chosen = choose_nulls(torch.arange(total), draws(step, total), rate)
        assert chosen is not None
        assert chosen.mask.sum() == count
        new = chosen.retarget(x1, draws(step, total))
        assert torch.equal((new != x1).flatten(), chosen.mask)  # all others keep their target
        assert sorted(new.flatten().tolist()) == x1.flatten().tolist()
        seen.append(chosen.mask.tolist())
    assert seen[0] == seen[3] != seen[1]
    assert choose_nulls(torch.arange(total), draws(0, total), 0) is None


def test_no_null_row_keeps_its_target_or_its_image() -> None:
    # Few images, many rows of each: the hard case.
    for step in range(200):
        groups = torch.randint(0, 4, (24,), generator=torch.Generator().manual_seed(step))
        chosen = choose_nulls(groups, draws(step, 24), 0.4)
        assert chosen is not None
        assert sorted(chosen.targets.tolist()) == list(range(24))
        assert chosen.mask.sum() == 10
        assert torch.equal(groups != groups[chosen.targets], chosen.mask)


def test_two_processes_choose_and_exchange_like_one(monkeypatch: pytest.MonkeyPatch) -> None:
    groups, x1 = torch.arange(16) // 2, torch.arange(16.0).view(16, 1)
    whole = choose_nulls(groups, draws(2, 16), 0.3)
    assert whole is not None
    expected = whole.retarget(x1, draws(2, 16))

    def gather(parts: list[torch.Tensor], mine: torch.Tensor) -> None:
        # What the two processes hold, whichever of the two tensors is asked for.
        source = groups if mine.dtype == groups.dtype else x1
        for part, rows in zip(parts, source.chunk(2), strict=True):
            part.copy_(rows)

    monkeypatch.setattr("crossflow.world.size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather", gather)
    for rows in (range(8), range(8, 16)):
        local = draws(2, 16, rows)
        chosen = choose_nulls(groups[rows.start : rows.stop], local, 0.3)
        assert chosen is not None
        mine = slice(rows.start, rows.stop)
        assert torch.equal(chosen.mask, whole.mask[mine])
        assert torch.equal(chosen.retarget(x1[mine], local), expected[mine])


def test_too_few_images_is_an_input_error() -> None:
    with pytest.raises(InputError, match="null_rate 0"):
        choose_nulls(torch.zeros(8, dtype=torch.long), draws(0, 8), 0.1)
    with pytest.raises(InputError, match=r"training\.batch"):
        choose_nulls(torch.arange(1), draws(0, 1), 0.1)


def test_small_batches_never_run_out_at_the_end_of_an_epoch() -> None:
    """The seam of two epochs can show one image twice: the least batch leaves two others."""
    order = Order(0, 61, LEAST_BATCH)
    for step in range(2000):
        rows, _ = order.step(step)
        assert choose_nulls(torch.tensor(rows), draws(step, LEAST_BATCH), 0.1) is not None
