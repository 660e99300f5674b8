"""Solvers converge at their order, count evaluations, and agree with one another."""

import math
from itertools import pairwise

import pytest
import torch

from crossflow.errors import InputError
from crossflow.solver import STAGES, Grid, solve

ORDER = {"euler": 1, "heun": 2, "midpoint": 2}


def field(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """dx/dt = x^2 cos(t)."""
    return x**2 * torch.cos(t)[:, None]


def solution(x0: torch.Tensor) -> torch.Tensor:
    """Its value at time 1."""
    return x0 / (1 - x0 * math.sin(1))


@pytest.mark.parametrize("solver", ORDER)
def test_order_of_convergence(solver: str) -> None:
    x0 = torch.full((2, 1), 0.5, dtype=torch.float64)
    errors = [
        (solve(field, x0, Grid(steps, solver)).x - solution(x0)).abs().max().item()
        for steps in (16, 32, 64)
    ]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(ORDER[solver], abs=0.25)


@pytest.mark.parametrize("solver", STAGES)
def test_constant_field_is_exact_and_evaluations_are_counted(solver: str) -> None:
    times: list[float] = []

    def constant(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        times.append(t[0].item())
        return torch.full_like(x, 2.0)

    result = solve(constant, torch.zeros(3, 1), Grid(5, solver))
    end = 2 - 2e-5 if solver == "euler_official" else 2.0
    torch.testing.assert_close(result.x, torch.full((3, 1), end), rtol=1e-6, atol=0)
    assert result.nfe == len(times) == 5 * STAGES[solver]
    assert min(times) == 0
    assert max(times) <= 1
    if solver == "euler":  # at the start of each step
        assert times == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    if solver == "euler_official":  # spread over the whole way; steps end just before 1
        assert times == pytest.approx([0, 0.25, 0.5, 0.75, 0.99999], abs=1e-5)


def test_adaptive_agrees_with_heun_and_the_truth() -> None:
    x0 = torch.linspace(-1, 0.5, 4)[:, None]
    adaptive = solve(field, x0, Grid(1, "dopri5", tolerance=1e-7))
    torch.testing.assert_close(adaptive.x, solution(x0), atol=1e-5, rtol=0)
    torch.testing.assert_close(adaptive.x, solve(field, x0, Grid(400)).x, atol=1e-4, rtol=0)
    assert adaptive.nfe > 6


def test_unknown_solver_and_no_steps_are_input_errors() -> None:
    with pytest.raises(InputError, match="euler, heun, midpoint, euler_official, dopri5"):
        Grid(5, "rk4")
    with pytest.raises(InputError, match="at least 1"):
        Grid(0)
