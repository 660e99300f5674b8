"""Guidance mixes the two branches, and every network call is counted."""

import pytest
import torch

from crossflow.errors import InputError
from crossflow.method import Ends, Method
from crossflow.problem import MapShape, Problem
from crossflow.solver import STAGES, Grid

SHAPE = MapShape(1, 2, 2)
PROBLEM = Problem(SHAPE, SHAPE, 1, "identity", None)


class Branches(torch.nn.Module):
    """Velocity 3 with the source, 1 without; counts its calls."""

    calls = 0

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        cond: None,
        null: torch.Tensor | None,
        cond_mask: None,
    ) -> torch.Tensor:
        self.calls += 1
        dropped = torch.zeros(len(x)) if null is None else null.float()
        return (3 - 2 * dropped)[:, None, None, None].expand_as(x)


def ends(null: bool = True) -> Ends:
    return Ends(torch.zeros(2, 1, 2, 2), None, null=torch.zeros(2).bool() if null else None)


@pytest.mark.parametrize(("weight", "velocity"), [(0.0, 1.0), (0.5, 2.0), (1.0, 3.0), (4.0, 9.0)])
@pytest.mark.parametrize("grid", [Grid(1, "euler"), Grid(4, "heun"), Grid(1, "dopri5")])
def test_velocity_and_that_every_call_counts(weight: float, velocity: float, grid: Grid) -> None:
    net = Branches()
    sampled = Method(PROBLEM).sample(net, ends(), grid, weight)
    torch.testing.assert_close(sampled.x, torch.full((2, 1, 2, 2), velocity))
    assert sampled.nfe == net.calls
    if grid.solver != "dopri5":
        assert net.calls == grid.steps * STAGES[grid.solver] * (1 if weight == 1 else 2)


def test_without_a_null_branch_only_weight_one() -> None:
    with pytest.raises(InputError, match="null_rate"):
        Method(PROBLEM).sample(Branches(), ends(null=False), Grid(2), 2.0)
    assert Method(PROBLEM).sample(Branches(), ends(null=False), Grid(2), 1.0).nfe == 4
