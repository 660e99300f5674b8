"""Training times: their laws, and that they belong to a step and a row."""

import pytest
import torch

from crossflow.draws import StepDraws
from crossflow.path import TIMES, logit_normal, uniform


def draws(step: int = 0, rows: range | None = None, total: int = 20_000) -> StepDraws:
    return StepDraws(0, step, rows or range(total), total)


def test_logit_normal_is_a_normal_before_the_sigmoid() -> None:
    normal = torch.logit(logit_normal(20_000, draws()).double())
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03


def test_uniform_moments() -> None:
    t = uniform(20_000, draws())
    assert abs(t.mean() - 0.5) < 0.01
    assert abs(t.var() - 1 / 12) < 0.002
    assert t.min() >= 0
    assert t.max() < 1


@pytest.mark.parametrize("name", TIMES)
def test_rows_do_not_depend_on_the_process(name: str) -> None:
    whole = TIMES[name](8, draws(3, range(8), 8))
    part = TIMES[name](4, draws(3, range(4, 8), 8))
    assert torch.equal(whole[4:], part)
    assert not torch.equal(whole, TIMES[name](8, draws(4, range(8), 8)))


def test_count_must_fit_the_draws() -> None:
    with pytest.raises(ValueError, match="agree"):
        uniform(7, draws(0, range(8), 8))
