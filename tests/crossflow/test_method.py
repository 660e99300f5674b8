"""Guidance mixes the two branches, and every network call is counted."""

import pytest
import torch

from crossflow.errors import InputError
from crossflow.method import Ends, Guided, Method
from crossflow.problem import MapShape, Problem
from crossflow.solver import Grid

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
def test_velocity(weight: float, velocity: float) -> None:
    guided = Guided(Branches(), ends(), weight)
    x = guided(torch.zeros(2, 1, 2, 2), torch.zeros(2))
    torch.testing.assert_close(x, torch.full((2, 1, 2, 2), velocity))


@pytest.mark.parametrize(
    ("weight", "grid", "calls"),
    [(1.0, Grid(4, "euler"), 4), (2.0, Grid(4, "euler"), 8), (2.0, Grid(4, "heun"), 16)],
)
def test_every_call_counts(weight: float, grid: Grid, calls: int) -> None:
    net = Branches()
    sampled = Method(PROBLEM).sample(net, ends(), grid, weight)
    assert sampled.nfe == net.calls == calls
    torch.testing.assert_close(sampled.x, torch.full((2, 1, 2, 2), weight * 2 + 1))


def test_adaptive_solver_counts_both_branches() -> None:
    net = Branches()
    assert Method(PROBLEM).sample(net, ends(), Grid(1, "dopri5"), 3.0).nfe == net.calls
    assert net.calls % 2 == 0


def test_without_a_null_branch_only_weight_one() -> None:
    with pytest.raises(InputError, match="null_rate"):
        Guided(Branches(), ends(null=False), 2.0)
    assert Method(PROBLEM).sample(Branches(), ends(null=False), Grid(2), 1.0).nfe == 4
