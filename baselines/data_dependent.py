"""Flow matching from the source plus noise of a fixed size; the network also sees the source.

Stochastic interpolants with data-dependent couplings (Albergo et al. 2024, arXiv:2310.03725): the
base x0 is computed from the target by a corruption m, plus sigma noise, and the velocity is given
m(x1) too. Here m(x1) is the task's source, as the enlarged picture in their super-resolution.

What differs: sigma is an option whose default is ours, the path any of `path`. Null rows keep x0
and lose the condition alone. Unlike noised_source, the source is not scaled down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from baselines.noised_source import StartsAtSource, applies
from crossflow.errors import InputError
from crossflow.network import Size
from crossflow.problem import Problem

NAME = "data_dependent"
__all__ = ["NAME", "Options", "applies", "method"]


@dataclass
class Options:
    """Of x0."""

    sigma: float = 0.3  # deviation of the noise; the source's own is 1


class DataDependent(StartsAtSource):
    """x0 = source + sigma noise."""

    def __init__(self, problem: Problem, size: Size, **options: Any) -> None:
        super().__init__(problem, size)
        self.spread = Options(**options).sigma
        if self.spread < 0:
            raise InputError(f"sigma={self.spread}: must not be negative")


method = DataDependent
