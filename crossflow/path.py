"""Paths from x0 (time 0) to x1 (time 1), with their velocity, and the law of training times."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from crossflow.draws import StepDraws

SIGMA_MIN = 1e-5  # what is left of x0 at time 1 (CrossFlow section 5.1, Eq. 1)


def per_row(t: Float[Tensor, " b"], like: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """Times with as many trailing axes as `like` has."""
    return t.view(-1, *[1] * (like.ndim - 1))


def linear(
    x0: Float[Tensor, "b ..."], x1: Float[Tensor, "b ..."], t: Float[Tensor, " b"]
) -> tuple[Float[Tensor, "b ..."], Float[Tensor, "b ..."]]:
    """Straight path, CrossFlow Eq. 1 and 2: xt = t x1 + (1 - (1 - sigma_min) t) x0."""
    s = per_row(t, x0)
    return s * x1 + (1 - (1 - SIGMA_MIN) * s) * x0, x1 - (1 - SIGMA_MIN) * x0


def sin_cos(
    x0: Float[Tensor, "b ..."], x1: Float[Tensor, "b ..."], t: Float[Tensor, " b"]
) -> tuple[Float[Tensor, "b ..."], Float[Tensor, "b ..."]]:
    """Quarter circle of Albergo et al. 2023: xt = cos(pi t / 2) x0 + sin(pi t / 2) x1."""
    angle = math.pi / 2 * per_row(t, x0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    return cos * x0 + sin * x1, math.pi / 2 * (cos * x1 - sin * x0)


Interpolant = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
PATHS: dict[str, Interpolant] = {"linear": linear, "sin_cos": sin_cos}


def logit_normal(count: int, draws: StepDraws) -> Float[Tensor, " b"]:
    """Sigmoid of a standard normal: more training in the middle (SD3; CrossFlow section 5.1)."""
    return _one_a_row(torch.sigmoid(draws.normal("time", ())), count)


def uniform(count: int, draws: StepDraws) -> Float[Tensor, " b"]:
    """Uniform in [0, 1)."""
    return _one_a_row(draws.uniform("time"), count)


def _one_a_row(times: Float[Tensor, " b"], count: int) -> Float[Tensor, " b"]:
    if len(times) != count:
        raise ValueError(f"{count} rows but draws for {len(times)}: rows and draws must agree")
    return times


Times = Callable[[int, StepDraws], Tensor]
TIMES: dict[str, Times] = {"logit_normal": logit_normal, "uniform": uniform}
