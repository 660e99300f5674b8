"""Where flows from a noised source begin: as DepthFM's schedule, as Albergo's coupling."""

import math

import pytest
import torch

from baselines import data_dependent, flow_matching, noised_source
from baselines.noised_source import StartsAtSource
from crossflow.draws import ItemDraws
from crossflow.network import Size
from crossflow.problem import MapShape, Problem, Source

MAP = MapShape(2, 8, 8)
PROBLEM = Problem(MAP, MAP, 2, "identity", None, 0.1)
SMALL = Size(depth=2, width=32, heads=2, hidden=64)
SOURCE = Source(torch.randn(4, *MAP.sizes, generator=torch.Generator().manual_seed(0)))


def cosine_schedule(time: float) -> tuple[float, float]:
    """Root of alpha bar and of its rest, as `q_sample` of the authors' code has them."""
    bar = 1 / (1 + math.exp(2 * math.log(math.tan(math.pi * time / 2) + 1e-5)))
    return bar**0.5, (1 - bar) ** 0.5


@pytest.mark.parametrize(
    ("method", "keep", "spread"),
    [
        *(
            (noised_source.method(PROBLEM, SMALL, time=time), *cosine_schedule(time))
            for time in (0.1, 0.4, 0.9)
        ),
        (noised_source.method(PROBLEM, SMALL), *cosine_schedule(0.4)),
        (noised_source.method(PROBLEM, SMALL, time=0.0), 1.0, 0.0),
        (data_dependent.method(PROBLEM, SMALL), 1.0, 0.3),
        (data_dependent.method(PROBLEM, SMALL, sigma=0.0), 1.0, 0.0),
    ],
)
def test_x0_its_moments_and_the_clean_condition(
    method: StartsAtSource, keep: float, spread: float
) -> None:
    draws = ItemDraws(0, range(4))
    noise = flow_matching.method(PROBLEM, SMALL).sample_ends(SOURCE, draws).x0
    ends = method.sample_ends(SOURCE, draws)
    torch.testing.assert_close(ends.x0, keep * SOURCE.values + spread * noise, rtol=0, atol=1e-4)
    assert ends.cond is SOURCE.values
    mean, logvar = method.source_moments(SOURCE)
    torch.testing.assert_close(mean, keep * SOURCE.values, rtol=0, atol=1e-4)
    if spread == 0:
        assert logvar is None
    else:
        assert logvar is not None
        torch.testing.assert_close(
            torch.exp(0.5 * logvar), torch.full_like(mean, spread), rtol=0, atol=1e-4
        )
