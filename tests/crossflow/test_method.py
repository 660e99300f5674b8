"""Guidance mixes the two branches, and every network call is counted."""

import pytest
import torch

from baselines import flow_matching
from crossflow import crossflow
from crossflow.arm import build_arm, example_pair
from crossflow.draws import ItemDraws
from crossflow.errors import InputError
from crossflow.method import TOGETHER, Ends, Method
from crossflow.problem import MapShape, Problem, Source, TokenShape
from crossflow.solver import STAGES, Grid

SHAPE = MapShape(1, 2, 2)
PROBLEM = Problem(SHAPE, SHAPE, 1, "identity", None)


class Branches(torch.nn.Module):
    """Velocity 3 with the source, 1 without; counts the rows it sees."""

    rows = 0

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        cond: None,
        null: torch.Tensor | None,
        cond_mask: None,
    ) -> torch.Tensor:
        self.rows += len(x)
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
    assert sampled.nfe * 2 == net.rows
    if grid.solver != "dopri5":
        assert sampled.nfe == grid.steps * STAGES[grid.solver] * (1 if weight == 1 else 2)


def test_a_weak_copy_is_the_other_branch() -> None:
    method, net, weak = Method(PROBLEM), Branches(), Branches()
    method.weak = weak
    weak.forward = lambda x, *_: torch.ones_like(x)  # type: ignore[method-assign]
    sampled = method.sample(net, ends(null=False), Grid(4, "heun"), 4.0)
    torch.testing.assert_close(sampled.x, torch.full((2, 1, 2, 2), 9.0))
    assert sampled.nfe * 2 == 2 * net.rows == 32


def test_without_a_null_branch_only_weight_one() -> None:
    with pytest.raises(InputError, match="null_rate"):
        Method(PROBLEM).sample(Branches(), ends(null=False), Grid(2), 2.0)
    assert Method(PROBLEM).sample(Branches(), ends(null=False), Grid(2), 1.0).nfe == 4


@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_the_inverted_flow_returns_to_its_beginning(rate: float) -> None:
    problem = Problem(TokenShape(5, vocabulary=9), MapShape(2, 4, 4), 1, "variational", None, rate)
    arm = build_arm(crossflow, problem, "T").eval()
    torch.manual_seed(0)
    for parameter in arm.net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    begin = Ends(torch.randn(3, 2, 4, 4), None, null=torch.zeros(3).bool() if rate else None)
    end = arm.method.sample(arm.net, begin, Grid(25))
    back = arm.method.invert(arm.net, end.x, Grid(25))
    assert (end.x - begin.x0).norm() > 0.2 * begin.x0.norm(), "it has gone somewhere"
    assert (back.x - begin.x0).norm() < 1e-3 * begin.x0.norm()
    assert back.nfe == end.nfe
    with pytest.raises(ValueError, match="condition"):
        build_arm(flow_matching, problem, "T").method.invert(arm.net, end.x, Grid(2))


@pytest.mark.parametrize("module", [crossflow, flow_matching], ids=["no cond", "tokens and mask"])
def test_both_branches_in_one_batch_are_the_two_passes(module: object) -> None:
    """Few rows are sampled in one batch, more of them branch after branch."""
    problem = Problem(TokenShape(5, vocabulary=9), MapShape(2, 4, 4), 1, "variational", None, 0.25)
    arm = build_arm(module, problem, "T").eval()
    torch.manual_seed(0)
    for parameter in arm.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # a new network's velocity is zero
    whole = example_pair(problem, TOGETHER + 1, "cpu").source
    mask = torch.arange(5) < torch.arange(1, TOGETHER + 2)[:, None]
    sampled = []
    for rows in (TOGETHER + 1, 3):
        source = Source(whole.values[:rows], mask[:rows])
        with torch.no_grad():
            ends = arm.method.sample_ends(source, ItemDraws(0, range(rows)))
        sampled.append(arm.method.sample(arm.net, ends, Grid(2), 3.0))
    assert sampled[0].nfe == sampled[1].nfe == 8
    difference = (sampled[0].x[:3] - sampled[1].x).norm() / sampled[1].x.norm()
    assert difference < 1e-5
