"""ODE solvers from time 0 to time 1 on one uniform grid, and an adaptive one.

Each reports its number of function evaluations (NFE). Step i of N starts at i / N and ends at
(i + 1) / N; `euler_official`, for results of CrossFlow's authors, takes their grid instead: steps
of (1 - 1e-5) / N, the velocity of step i at time (1 - 1e-5) i / (N - 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from crossflow.errors import InputError

Velocity = Callable[[Tensor, Tensor], Tensor]  # (x, times of the rows) -> d(x)/dt
STAGES = {"euler": 1, "heun": 2, "midpoint": 2, "euler_official": 1}
OFFICIAL_END = 1 - 1e-5
SOLVERS = (*STAGES, "dopri5")


@dataclass(frozen=True)
class Grid:
    """How to integrate: in `steps` equal steps, or (these unused) by dopri5 to a tolerance."""

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

    x: Float[Tensor, "b ..."] | Int[Tensor, "b length"]  # the latter: word ids
    nfe: int


def solve(velocity: Velocity, x0: Float[Tensor, "b ..."], grid: Grid) -> Sampled:
    """Follows `velocity` from x0 at time 0 to time 1; NFE counts calls of `velocity`."""
    calls = 0

    def at(t: Tensor | float, x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return velocity(x, torch.as_tensor(t, dtype=torch.float32, device=x.device).expand(len(x)))

    if grid.solver == "dopri5":
        import torchdiffeq

        ends = torch.tensor([0.0, 1.0], device=x0.device, dtype=torch.float64)
        within = {"atol": grid.tolerance, "rtol": grid.tolerance}
        return Sampled(torchdiffeq.odeint(at, x0, ends, method="dopri5", **within)[-1], calls)
    x, share = x0, 1 / grid.steps
    if grid.solver == "euler_official":
        for i in range(grid.steps):
            x = x + OFFICIAL_END * share * at(OFFICIAL_END * i / max(grid.steps - 1, 1), x)
        return Sampled(x, calls)
    for i in range(grid.steps):
        start, end = i * share, (i + 1) * share
        h, first = end - start, at(start, x)
        if grid.solver == "euler":
            x = x + h * first
        elif grid.solver == "midpoint":
            x = x + h * at(start + h / 2, x + h / 2 * first)
        else:  # Heun
            x = x + h / 2 * (first + at(end, x + h * first))
    return Sampled(x, calls)
