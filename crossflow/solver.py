"""ODE solvers from time 0 to time 1 on one uniform grid, and an adaptive one.

Each reports its number of function evaluations (NFE). The official code evaluates Euler steps at
i / (N - 1) while stepping 1 / N; here step i starts at i / N and ends at (i + 1) / N.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from crossflow.errors import InputError

Velocity = Callable[[Tensor, Tensor], Tensor]  # (x, times of the rows) -> d(x)/dt
STAGES = {"euler": 1, "heun": 2, "midpoint": 2}
SOLVERS = (*STAGES, "dopri5")


@dataclass(frozen=True)
class Grid:
    """How to integrate: `steps` equal steps of a fixed solver, or "dopri5" to a tolerance.

    dopri5 ignores `steps`; its samples depend on the batch within `tolerance`.
    """

    steps: int
    solver: str = "heun"
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise InputError(f"solver {self.solver!r} is unknown: use one of {', '.join(SOLVERS)}")
        if self.solver in STAGES and self.steps < 1:
            raise InputError(f"{self.steps} sampling steps: give at least 1")


@dataclass
class Sampled:
    """Where the paths end, and how many network evaluations each row took (both branches)."""

    x: Float[Tensor, "b ..."]
    nfe: int


def solve(velocity: Velocity, x0: Float[Tensor, "b ..."], grid: Grid) -> Sampled:
    """Follows `velocity` from x0 at time 0 to time 1; NFE counts calls of `velocity`."""
    if grid.solver == "dopri5":
        return _adaptive(velocity, x0, grid.tolerance)
    x, h = x0, 1 / grid.steps
    for i in range(grid.steps):
        x = _step(grid.solver, velocity, x, i * h, (i + 1) * h)
    return Sampled(x, STAGES[grid.solver] * grid.steps)


def _step(solver: str, velocity: Velocity, x: Tensor, start: float, end: float) -> Tensor:
    def at(x: Tensor, t: float) -> Tensor:
        return velocity(x, torch.full((len(x),), t, device=x.device))

    h = end - start
    first = at(x, start)
    if solver == "euler":
        return x + h * first
    if solver == "midpoint":
        return x + h * at(x + h / 2 * first, start + h / 2)
    return x + h / 2 * (first + at(x + h * first, end))  # Heun


def _adaptive(velocity: Velocity, x0: Tensor, tolerance: float) -> Sampled:
    import torchdiffeq

    calls = 0

    def field(t: Tensor, x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return velocity(x, t.to(torch.float32).expand(len(x)))

    ends = torch.tensor([0.0, 1.0], device=x0.device, dtype=torch.float64)
    path = torchdiffeq.odeint(field, x0, ends, method="dopri5", atol=tolerance, rtol=tolerance)
    return Sampled(path[-1], calls)
