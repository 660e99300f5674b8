"""Paths from x0 (time 0) to x1 (time 1), with their velocity, and the law of training times."""

from __future__ import annotations

import math

import torch

from crossflow.draws import StepDraws
from crossflow.problem import Map, Row

SIGMA_MIN = 1e-5  # what is left of x0 at time 1 (CrossFlow section 5.1, Eq. 1)


def linear(x0: Map, x1: Map, t: Row) -> tuple[Map, Map]:
    """Straight path, CrossFlow Eq. 1 and 2: xt = t x1 + (1 - (1 - sigma_min) t) x0."""
    s = t[:, None, None, None]
    return s * x1 + (1 - (1 - SIGMA_MIN) * s) * x0, x1 - (1 - SIGMA_MIN) * x0


def sin_cos(x0: Map, x1: Map, t: Row) -> tuple[Map, Map]:
    """Quarter circle of Albergo et al. 2023: xt = cos(pi t / 2) x0 + sin(pi t / 2) x1."""
    angle = math.pi / 2 * t[:, None, None, None]
    cos, sin = torch.cos(angle), torch.sin(angle)
    return cos * x0 + sin * x1, math.pi / 2 * (cos * x1 - sin * x0)


PATHS = {"linear": linear, "sin_cos": sin_cos}


def logit_normal(draws: StepDraws) -> Row:
    """Sigmoid of a standard normal: more training in the middle (SD3; CrossFlow section 5.1)."""
    return torch.sigmoid(draws.normal("time", ()))


def uniform(draws: StepDraws) -> Row:
    """Uniform in [0, 1)."""
    return draws.uniform("time")


TIMES = {"logit_normal": logit_normal, "uniform": uniform}
