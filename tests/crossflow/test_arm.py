"""Arms of one match are equally large, and their weights follow from the seed alone."""

import math
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load, save

from baselines import flow_matching, regression
from crossflow import crossflow
from crossflow.arm import TOLERANCE, build_arm
from crossflow.errors import InputError
from crossflow.network import SIZES, Size, parameters_of
from crossflow.problem import MapShape, Problem, TokenShape

LATENT = MapShape(16, 8, 8)
PROBLEMS = {
    "text": Problem(TokenShape(40, vocabulary=100), LATENT, 1, "variational", "contrastive"),
    "caption": Problem(LATENT, LATENT, 1, "variational", None),
    "depth": Problem(MapShape(3, 32, 32), MapShape(1, 32, 32), 4, "variational", "reconstruction"),
    "pixels": Problem(LATENT, LATENT, 1, "identity", None, 0),
}


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    # Counting takes time per layer: what is not about a shipped size uses a shallow one.
    monkeypatch.setitem(SIZES, "toy", Size(depth=4, width=64, heads=2, hidden=256))


@pytest.mark.parametrize(("name", "size"), [*((name, "T") for name in PROBLEMS), ("text", "S")])
def test_baseline_is_matched(name: str, size: str) -> None:
    reference = build_arm(crossflow, PROBLEMS[name], size)
    arm = build_arm(flow_matching, PROBLEMS[name], size)
    assert (reference.params_ratio, reference.flops_ratio) == (1, 1)
    assert arm.params_ratio == arm.cost.params_inference / reference.cost.params_inference
    assert abs(arm.params_ratio - 1) <= TOLERANCE
    assert abs(arm.flops_ratio - 1) <= TOLERANCE
    assert reference.size == SIZES[size]
    assert arm.size.width == SIZES[size].width


def test_cross_attention_costs_depth_or_width() -> None:
    arm = build_arm(flow_matching, PROBLEMS["text"], "T")
    assert arm.size.depth * arm.size.hidden < SIZES["T"].depth * SIZES["T"].hidden


def test_where_both_cannot_hold_flops_do() -> None:
    class Heavy(crossflow.CrossFlow):
        """Samples with a large part that no network evaluation runs."""

        def __init__(self, problem: Problem, size: object) -> None:
            super().__init__(problem, size)  # type: ignore[arg-type]
            self.ballast = torch.nn.Linear(1000, 5000)

    heavy = SimpleNamespace(NAME="heavy", applies=lambda _: None, method=Heavy)
    arm = build_arm(heavy, PROBLEMS["caption"], "toy")
    assert arm.params_ratio > 1 + TOLERANCE
    assert arm.flops_ratio == pytest.approx(1, abs=0.01)


def test_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    first = build_arm(crossflow, PROBLEMS["depth"], "toy", seed=3)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)  # the global generator is left alone
    again = build_arm(crossflow, PROBLEMS["depth"], "toy", seed=3)
    other = build_arm(crossflow, PROBLEMS["depth"], "toy", seed=4)
    state = first.state_dict()
    assert all(torch.equal(state[name], value) for name, value in again.state_dict().items())
    assert any(not torch.equal(state[name], value) for name, value in other.state_dict().items())


def test_state_dict_is_named_and_safe() -> None:
    arm = build_arm(crossflow, PROBLEMS["text"], "toy")
    state = arm.state_dict()
    assert {name.split(".")[0] for name in state} == {"net", "method"}
    assert set(state) == {name for name, _ in arm.named_parameters()}
    arm.load_state_dict(load(save(state)), strict=True)


def test_cost_adds_up() -> None:
    arm = build_arm(crossflow, PROBLEMS["text"], "toy", batch=16)
    cost = arm.cost
    assert cost.params_encoder <= 0.15 * cost.params_inference
    assert isinstance(arm.method, crossflow.CrossFlow)
    tower = parameters_of(arm.method.tower)
    assert cost.params_trained == cost.params_inference + tower + 1  # and the temperature
    assert arm.flops_sample(7) == cost.flops_source + 7 * cost.flops_eval
    assert cost.flops_train > 3 * (cost.flops_eval + cost.flops_source)
    assert math.isfinite(cost.flops_train)


def test_unknown_names_and_methods_that_do_not_apply() -> None:
    with pytest.raises(InputError, match="T, S, B, L, XL, H"):
        build_arm(crossflow, PROBLEMS["depth"], "M")
    with pytest.raises(InputError, match="path=curved"):
        build_arm(crossflow, PROBLEMS["depth"], "toy", path="curved")
    with pytest.raises(InputError, match="regression does not apply: the source is text"):
        build_arm(regression, PROBLEMS["text"], "toy")
    with pytest.raises(InputError, match=r"training\.batch=2: "):
        build_arm(crossflow, PROBLEMS["text"], "toy", batch=2)
