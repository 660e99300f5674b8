"""Training times, one a row, from draws that depend on (seed, step, row) alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from crossflow.draws import StepDraws


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
