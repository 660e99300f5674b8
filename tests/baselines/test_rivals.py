"""What every rival keeps, whatever its idea: costs, gradients, finite losses, samples, a match."""

import copy
from functools import lru_cache
from types import ModuleType
from typing import Any

import pytest
import torch

from baselines import (
    autoregressive,
    bridge,
    conditional_source,
    data_dependent,
    flow_matching,
    joint_attention,
    noised_source,
    ot_flow_matching,
)
from benchmarks.match import planning
from benchmarks.tasks import caption_tabletop
from crossflow.arm import TOLERANCE, Arm, build_arm, example_pair
from crossflow.draws import ItemDraws, StepDraws
from crossflow.errors import InputError
from crossflow.method import Ends, training_loss
from crossflow.network import SIZES, Size
from crossflow.problem import MapShape, Problem, TokenShape
from crossflow.solver import Grid
from tests.match.tiny import by_method, call, places

MAP = MapShape(2, 8, 8)
PROBLEMS = {
    "words": Problem(TokenShape(6, vocabulary=9), MAP, 2, "variational", "contrastive", 0.25),
    "features": Problem(TokenShape(6, width=5), MAP, 2, "variational", "contrastive", 0.25),
    "depth": Problem(MapShape(3, 8, 8), MAP, 2, "variational", "reconstruction", 0.25),
    "same": Problem(MAP, MAP, 2, "identity", None, 0.25),
    "no nulls": Problem(MAP, MAP, 2, "identity", None, 0.0),
}
ANY, MAPS, TEXTS = set(PROBLEMS), {"same", "no nulls"}, {"words", "features"}
APPLY = {
    ot_flow_matching: ANY,
    conditional_source: ANY,
    noised_source: MAPS,
    data_dependent: MAPS,
    bridge: MAPS,
    joint_attention: TEXTS,
}
CASES = [(module, name) for module, names in APPLY.items() for name in sorted(names)]
CASE = pytest.mark.parametrize(
    ("module", "name"), CASES, ids=[f"{m.NAME} {name}" for m, name in CASES]
)
ROWS = 8


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "toy", Size(depth=4, width=64, heads=2, hidden=256))


@lru_cache
def built(module: ModuleType, name: str, **options: object) -> Arm:
    return build_arm(module, PROBLEMS[name], "toy", batch=ROWS, options=options)


def build(module: ModuleType, name: str, **options: object) -> Arm:
    """An arm that has seen some training: all its numbers are random."""
    arm = copy.deepcopy(built(module, name, **options))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in arm.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return arm


def loss(arm: Arm) -> torch.Tensor:
    torch.manual_seed(0)
    pair = example_pair(arm.method.problem, ROWS, "cpu")
    return training_loss(arm.net, arm.method, pair, StepDraws(0, 0, range(ROWS), ROWS)).total


@CASE
def test_equal_cost_finite_loss_gradients_and_samples(module: ModuleType, name: str) -> None:
    arm = build(module, name)
    assert abs(arm.flops_ratio - 1) <= TOLERANCE
    assert abs(arm.params_ratio - 1) <= TOLERANCE
    total = loss(arm)
    total.backward()
    assert torch.isfinite(total)
    without = [n for n, p in arm.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == [], "nothing is idle, which DDP refuses"
    source = example_pair(PROBLEMS[name], 3, "cpu").source
    nulls = PROBLEMS[name].null_rate > 0
    for weight, calls in ((1.0, 4), (2.0, 8)) if nulls else ((1.0, 4),):
        with torch.no_grad():
            ends = arm.method.sample_ends(source, ItemDraws(0, range(3)))
        sampled = arm.method.sample(arm.net, ends, Grid(2, "heun"), weight)
        assert sampled.nfe == calls
        assert sampled.x.shape == (3, *MAP.sizes)
        assert torch.isfinite(sampled.x).all()
    if not nulls:
        with pytest.raises(InputError, match="null_rate"):
            arm.method.sample(arm.net, ends, Grid(2), 2.0)


class Perfect(torch.nn.Module):
    """Knows where each row must end: the straight velocity there, or the end itself."""

    def __init__(self, target: torch.Tensor, velocity: bool) -> None:
        super().__init__()
        self.target, self.velocity = target, velocity

    def forward(self, x: torch.Tensor, t: torch.Tensor, *seen: object) -> torch.Tensor:
        if not self.velocity:
            return self.target
        return (self.target - x) / (1 - t)[:, None, None, None]


@CASE
def test_a_perfect_network_reaches_the_target(module: ModuleType, name: str) -> None:
    method, pair = built(module, name).method, example_pair(PROBLEMS[name], 3, "cpu")
    with torch.no_grad():
        ends = method.sample_ends(pair.source, ItemDraws(0, range(3)))
    perfect = Perfect(pair.target, velocity=module is not bridge)
    sampled = method.sample(perfect, ends, Grid(5, "euler"))
    assert sampled.nfe == 5
    torch.testing.assert_close(sampled.x, pair.target, rtol=0, atol=1e-5)


@pytest.mark.parametrize("module", APPLY, ids=lambda module: module.NAME)
def test_where_a_rival_does_not_apply_it_says_why(module: ModuleType) -> None:
    reasons = {name: module.applies(problem) for name, problem in PROBLEMS.items()}
    assert {name for name, reason in reasons.items() if reason is None} == APPLY[module]
    for name, reason in reasons.items():
        if reason is not None:
            assert "\n" not in reason
            with pytest.raises(InputError, match=f"{module.NAME} does not apply: {reason}"):
                build_arm(module, PROBLEMS[name], "toy")


@pytest.mark.parametrize(
    ("module", "name", "option"),
    [
        (ot_flow_matching, "words", {"blind": True}),
        (ot_flow_matching, "words", {"share": 0.01}),
        (noised_source, "same", {"time": 0.7}),
        (data_dependent, "same", {"sigma": 0.0}),
        (bridge, "same", {"sigma": 0.5}),
        (conditional_source, "words", {"variance_weight": 0.0}),
        (conditional_source, "depth", {"alignment_weight": 0.5}),
    ],
)
def test_every_option_changes_the_loss(module: ModuleType, name: str, option: dict) -> None:
    assert loss(build(module, name)) != loss(build(module, name, **option))


@pytest.mark.parametrize(
    ("module", "option"),
    [
        (ot_flow_matching, {"share": 0.0}),
        (noised_source, {"time": 1.5}),
        (data_dependent, {"sigma": -0.1}),
        (bridge, {"sigma": -0.1}),
        (ot_flow_matching, {"blind": True, "share": 0.5}),
        (bridge, {"path": "linear"}),
    ],
)
def test_options_that_cannot_be_are_refused(module: ModuleType, option: dict) -> None:
    with pytest.raises(InputError, match=rf"{list(option)[-1]}="):
        build_arm(module, PROBLEMS["same"], "toy", options=option)


def test_rivals_cost_what_flow_matching_costs_but_for_what_they_add() -> None:
    """Where the network's condition is flow matching's; transport adds its two matrix products."""
    cost = built(flow_matching, "same").cost
    for module in (noised_source, data_dependent, bridge):
        assert built(module, "same").cost == cost
    blind, seeing = (
        built(ot_flow_matching, "same", blind=True).cost,
        built(ot_flow_matching, "same").cost,
    )
    numbers = 2 * 8 * 8
    assert blind.flops_train - cost.flops_train == pytest.approx(2 * ROWS * numbers)
    assert seeing.flops_train - blind.flops_train == pytest.approx(2 * ROWS * (numbers + 1))
    assert blind.flops_eval == seeing.flops_eval == cost.flops_eval


@pytest.mark.parametrize("module", APPLY, ids=lambda module: module.NAME)
def test_a_plan_needs_no_numbers(module: ModuleType) -> None:
    """Its memory is counted, and the calls of a sample are, without a weight or a draw."""
    name = "words" if module is joint_attention else "same"
    arm = build_arm(module, PROBLEMS[name], "toy", batch=ROWS, device="meta")
    assert arm.cost == built(module, name).cost
    waiting, peak = planning.step_memory(arm, ROWS, "bf16", cpu=True)
    assert 0 < waiting < peak
    ends = Ends(torch.zeros(1, *MAP.sizes), None, null=torch.zeros(1).bool())
    still: Any = torch.nn.Module()
    still.forward = lambda x, *given: x
    assert arm.method.sample(still, ends, Grid(3, "heun"), 2.0).nfe == 12


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "rivals"),
    [
        ("t2i_tabletop", (ot_flow_matching, conditional_source, joint_attention)),
        (
            "sr_tabletop",
            (ot_flow_matching, conditional_source, noised_source, data_dependent, bridge),
        ),
        ("depth_tabletop", (ot_flow_matching, conditional_source)),
        ("caption_tabletop", (ot_flow_matching, conditional_source, autoregressive)),
    ],
)
def test_a_tiny_match(monkeypatch, tmp_path, task, rivals) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(caption_tabletop, "CODEC_STEPS", 2)
    names = [module.NAME for module in rivals]
    methods = f"methods={'+'.join(names)}"
    small = ["training.batch=4", "budget.samples=8", "sampling.guidance=1.5", "quick=true"]
    assert call(f"task={task}", methods, *small, *places(tmp_path)) == 0
    records = by_method(tmp_path / "out")
    assert {records[name].status for name in names} == {"completed"}
