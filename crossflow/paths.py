"""Paths from x0 (time 0) to x1 (time 1): the point xt and its velocity ut = d(xt)/dt."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

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


Path = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
PATHS: dict[str, Path] = {"linear": linear, "sin_cos": sin_cos}
