"""Paths start at x0, end at x1, and move by their derivative; times have their laws."""

import math

import pytest
import torch

from crossflow.draws import StepDraws
from crossflow.path import PATHS, SIGMA_MIN, TIMES, logit_normal, uniform


@pytest.fixture
def ends() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x0, x1 = torch.randn(2, 5, 2, 3, 4, generator=generator, dtype=torch.float64)
    return x0, x1


@pytest.mark.parametrize("name", PATHS)
def test_velocity_is_the_derivative(name: str, ends: tuple[torch.Tensor, torch.Tensor]) -> None:
    x0, x1 = ends
    t, h = torch.linspace(0.05, 0.95, 5, dtype=torch.float64), 1e-5
    difference = (PATHS[name](x0, x1, t + h)[0] - PATHS[name](x0, x1, t - h)[0]) / (2 * h)
    torch.testing.assert_close(PATHS[name](x0, x1, t)[1], difference, atol=1e-8, rtol=0)


def test_linear_ends_are_exact(ends: tuple[torch.Tensor, torch.Tensor]) -> None:
    x0, x1 = ends
    start, end = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    assert torch.equal(PATHS["linear"](x0, x1, start)[0], x0)
    residue = PATHS["linear"](x0, x1, end)[0] - x1
    torch.testing.assert_close(residue, SIGMA_MIN * x0, atol=1e-15, rtol=0)
    assert SIGMA_MIN == 1e-5


def test_sin_cos_ends_and_velocity(ends: tuple[torch.Tensor, torch.Tensor]) -> None:
    x0, x1 = ends
    start, end = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    x, u = PATHS["sin_cos"](x0, x1, start)
    assert torch.equal(x, x0)
    torch.testing.assert_close(u, math.pi / 2 * x1)
    x, u = PATHS["sin_cos"](x0, x1, end)
    torch.testing.assert_close(x, x1)
    torch.testing.assert_close(u, -math.pi / 2 * x0)


def draws(step: int = 0, rows: range | None = None, total: int = 20_000) -> StepDraws:
    return StepDraws(0, step, rows or range(total), total)


def test_laws_of_times() -> None:
    normal = torch.logit(logit_normal(draws()).double())
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03
    t = uniform(draws())
    assert abs(t.mean() - 0.5) < 0.01
    assert abs(t.var() - 1 / 12) < 0.002
    assert 0 <= t.min() <= t.max() < 1


@pytest.mark.parametrize("name", TIMES)
def test_rows_do_not_depend_on_the_process(name: str) -> None:
    whole = TIMES[name](draws(3, range(8), 8))
    part = TIMES[name](draws(3, range(4, 8), 8))
    assert torch.equal(whole[4:], part)
    assert not torch.equal(whole, TIMES[name](draws(4, range(8), 8)))
