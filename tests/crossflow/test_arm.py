"""Arms of one match are equally large, and their weights follow from the seed alone."""

import math
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load, save
from scipy.optimize import linear_sum_assignment

from baselines import flow_matching, regression
from crossflow import crossflow
from crossflow.arm import TOLERANCE, build_arm, example_pair, resolve_options
from crossflow.draws import StepDraws
from crossflow.errors import InputError
from crossflow.method import Ends, training_loss
from crossflow.network import SIZES, Size, parameters_of
from crossflow.problem import MapShape, Pair, Problem, TokenShape
from tests.examples import minibatch_ot

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
    if name == "text":  # cross-attention costs depth or width
        assert arm.size.depth * arm.size.hidden < SIZES[size].depth * SIZES[size].hidden


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
    assert {name.split(".")[0] for name in state} == {"net", "method"}
    assert set(state) == {name for name, _ in first.named_parameters()}
    other.load_state_dict(load(save(state)), strict=True)


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


def test_a_weak_copy_is_a_second_network_that_samples() -> None:
    arm = build_arm(crossflow, PROBLEMS["text"], "toy", options={"guidance": "autoguidance"})
    networks = arm.cost.params_inference - arm.cost.params_encoder
    assert networks == 2 * parameters_of(arm.net)
    assert arm.params_ratio > 1.5


def test_a_dense_readout_fits_in_the_same_share() -> None:
    arm = build_arm(crossflow, PROBLEMS["text"], "T", options={"readout": "dense"})
    assert arm.cost.params_encoder <= 0.15 * arm.cost.params_inference
    assert abs(arm.params_ratio - 1) <= TOLERANCE
    assert arm.flops_ratio == 1


def test_unknown_names_and_methods_that_do_not_apply() -> None:
    with pytest.raises(InputError, match="T, S, B, L, XL, H"):
        build_arm(crossflow, PROBLEMS["depth"], "M")
    with pytest.raises(InputError, match="regression does not apply: the source is text"):
        build_arm(regression, PROBLEMS["text"], "toy")
    with pytest.raises(InputError, match=r"training\.batch=2: "):
        build_arm(crossflow, PROBLEMS["text"], "toy", batch=2)


class InBody(flow_matching.FlowMatching):
    """Chooses its path and time law in the class body."""

    interpolant = "sin_cos"
    time_law = "uniform"


def file(method: Any, **parts: Any) -> Any:
    """A method file called `own`."""
    return SimpleNamespace(NAME="own", applies=lambda _: None, method=method, **parts)


def test_path_and_times_of_a_method_stand_unless_the_user_gives_others() -> None:
    plain = build_arm(flow_matching, PROBLEMS["caption"], "toy")
    own = build_arm(file(InBody), PROBLEMS["caption"], "toy")
    assert (plain.laws, plain.options) == ({"path": "linear", "times": "logit_normal"}, {})
    assert own.laws == own.options == {"path": "sin_cos", "times": "uniform"}
    given = {"path": "linear", "times": "logit_normal"}
    other = build_arm(file(InBody), PROBLEMS["caption"], "toy", options=given)
    assert other.laws == other.options == given
    same = build_arm(flow_matching, PROBLEMS["caption"], "toy", options=own.options)
    pair, draws = example_pair(PROBLEMS["caption"], 8, "cpu"), StepDraws(0, 0, range(8), 8)
    losses = [
        training_loss(arm.net, arm.method, pair, draws).total.item()
        for arm in (plain, own, other, same)
    ]
    assert losses[0] == losses[2] != losses[1] == losses[3]


def test_an_arm_has_its_name_and_options() -> None:
    given = {"kl_weight": 1, "lr": 1e-2, "path": None}
    arm = build_arm(crossflow, PROBLEMS["text"], "toy", options=given, name="heavy_kl")
    assert arm.name == "heavy_kl"
    assert arm.method.weights == {"kl": 1, "contrastive": 1.0}
    assert arm.options == {**asdict(crossflow.Options(kl_weight=1)), "lr": 1e-2}
    assert build_arm(crossflow, PROBLEMS["text"], "toy").name == "crossflow"


@dataclass
class Options:
    """Of a method file."""

    heads: int = 2
    mode: Literal["fast", "slow"] = "fast"
    scale: float | None = None
    parts: list[int] | None = None
    big: bool = False


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"head": 3}, r"arm\.cf\.head: unknown\. Did you mean heads\? There are: path, "),
        ({"heads": 2.5}, r"arm\.cf\.heads=2\.5: must be int, and finite"),
        ({"heads": True}, r"arm\.cf\.heads=True"),
        ({"mode": "slower"}, r"mode=slower: must be .*'fast', 'slow'"),
        ({"scale": math.inf}, r"scale=inf: must be float \| None, and finite"),
        ({"big": 1}, "big=1"),
        ({"path": "sincos"}, "path=sincos: unknown. Did you mean sin_cos"),
        ({"times": 3}, "times=3"),
        ({"lr": 0}, "lr=0: must be positive"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0: must be positive"),
    ],
)
def test_options_that_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve_options(file(InBody, Options=Options), given, "cf")


def test_options_that_are_taken() -> None:
    given = {"heads": 3, "mode": "slow", "scale": 1, "parts": [1], "big": True, "weight_decay": 0}
    assert resolve_options(file(InBody, Options=Options), given, "cf") == given
    assert resolve_options(file(InBody), {"lr": 1}, "cf") == {"lr": 1}


@pytest.mark.parametrize(
    ("module", "problem", "option"),
    [
        (crossflow, "pixels", {"kl_weight": 1.0}),
        (crossflow, "pixels", {"stop_gradient": True}),
        (crossflow, "text", {"reconstruction_weight": 1.0}),
        (crossflow, "depth", {"contrastive_weight": 1.0}),
        (crossflow, "text", {"source_noise": 0.3}),
        (crossflow, "text", {"source_encoder": "plain", "kl_form": "standard"}),
        (crossflow, "text", {"encoding_loss": "none", "temperature": "raw"}),
        (crossflow, "text", {"null_rate": 0, "indicator": "adaln"}),
        (crossflow, "pixels", {"encoding_loss": "reconstruction"}),
        (crossflow, "pixels", {"source_encoder": "plain"}),
        (crossflow, "pixels", {"null_rate": 0.2}),
        (crossflow, "pixels", {"training": "separate"}),
        (crossflow, "text", {"first_stage": 0.5}),
        (crossflow, "text", {"weak_share": 0.5}),
        (crossflow, "text", {"null_rate": 0, "guidance": "indicator"}),
        (crossflow, "text", {"null_rate": 0.2, "guidance": "autoguidance"}),
        (crossflow, "pixels", {"guidance": "autoguidance"}),
        (crossflow, "text", {"training": "separate", "stop_gradient": True}),
        (crossflow, "depth", {"readout": "dense"}),
        (regression, "depth", {"path": "linear"}),
        (regression, "depth", {"times": "uniform"}),
    ],
)
def test_options_without_effect_are_refused(module: Any, problem: str, option: Any) -> None:
    with pytest.raises(InputError, match="would be ignored here"):
        build_arm(module, PROBLEMS[problem], "toy", options=option)


def test_a_method_that_cannot_run_on_the_meta_device_is_counted_on_real_rows() -> None:
    arm = build_arm(minibatch_ot, PROBLEMS["caption"], "toy", batch=64)
    same = build_arm(flow_matching, PROBLEMS["caption"], "toy", batch=64)
    assert (arm.size, arm.cost) == (same.size, same.cost)
    assert (arm.params_ratio, arm.flops_ratio) == (same.params_ratio, same.flops_ratio)


def test_transport_of_the_example_is_the_cheapest() -> None:
    pair, draws = example_pair(PROBLEMS["pixels"], 8, "cpu"), StepDraws(0, 0, range(8), 8)
    method = minibatch_ot.method(PROBLEMS["pixels"], SIZES["toy"])
    ends, drawn = method.train_ends(pair, draws), draws.normal("source", LATENT.sizes)
    cost = torch.cdist(drawn.flatten(1), ends.x1.flatten(1))
    least = cost[linear_sum_assignment(cost)].sum()
    assert (ends.x0 - ends.x1).flatten(1).norm(dim=1).sum() == pytest.approx(least)


def test_a_true_mistake_of_a_method_is_raised() -> None:
    class Wrong(flow_matching.FlowMatching):
        """Forgets x1."""

        def train_ends(self, pair: Pair, draws: StepDraws) -> Ends:
            return self.sample_ends(pair.source, draws)

    with pytest.raises(ValueError, match=r"Wrong\.train_ends gave no x1"):
        build_arm(file(Wrong), PROBLEMS["caption"], "toy")


def test_what_an_arm_costs_does_not_depend_on_the_processes_that_train_it(monkeypatch):
    source, target = TokenShape(4, vocabulary=9), MapShape(4, 4, 4)
    problem = Problem(source, target, 1, "variational", "contrastive")
    alone = build_arm(crossflow, problem, "T", batch=64, device="meta").cost
    monkeypatch.setattr("crossflow.world.size", lambda: 2)  # a gather would have no group
    assert build_arm(crossflow, problem, "T", batch=64, device="meta").cost == alone
