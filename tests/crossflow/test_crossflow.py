"""The method crossflow: ends, null rows, gradients, its source, and charges by closed forms."""

import math
from dataclasses import replace
from typing import Any
from zlib import crc32

import pytest
import torch

from baselines import flow_matching
from crossflow import crossflow
from crossflow.arm import Arm, build_arm, example_pair
from crossflow.crossflow import Contrastive, kl_per_dimension
from crossflow.draws import ItemDraws, StepDraws
from crossflow.errors import InputError
from crossflow.method import training_loss
from crossflow.network import SIZES, DiMRSize, DiT, Size
from crossflow.problem import MapShape, Pair, Problem, Source, TokenShape

BACKBONE = Size(depth=4, width=64, heads=2, hidden=256)
MAP = MapShape(2, 8, 8)
TEXT = Problem(TokenShape(6, vocabulary=9), MAP, 2, "variational", "contrastive", 0.25)
DEPTH = Problem(MapShape(3, 8, 8), MAP, 2, "variational", "reconstruction", 0.25)
PLAIN = Problem(MAP, MAP, 2, "identity", None, 0.25)
FEATURES = replace(TEXT, source=TokenShape(6, width=5))


def pair(problem: Problem) -> Pair:
    """Two rows an image."""
    torch.manual_seed(0)
    return replace(example_pair(problem, 16, "cpu"), groups=torch.arange(16) // 2)


def draws(step: int = 0, rows: int = 16) -> StepDraws:
    return StepDraws(0, step, range(rows), rows)


def build(problem: Problem, **options: float | bool) -> crossflow.CrossFlow:
    torch.manual_seed(0)
    return crossflow.method(problem, BACKBONE, **options)


@pytest.mark.parametrize("problem", [TEXT, DEPTH, PLAIN])
def test_null_rows_get_another_image_and_the_rest_their_own(problem: Problem) -> None:
    batch = pair(problem)
    for step in range(20):
        ends = build(problem).train_ends(batch, draws(step))
        assert ends.x1 is not None
        assert ends.null is not None
        assert ends.null.sum() == 4
        assert torch.equal(ends.x1[~ends.null], batch.target[~ends.null])
        for row in ends.null.nonzero()[:, 0].tolist():
            images = (batch.target == ends.x1[row]).flatten(1).all(1).nonzero()[:, 0]
            assert batch.groups[images[0]] != batch.groups[row]
        if problem is not PLAIN:
            break


def test_null_rows_are_the_same_in_both_arms() -> None:
    batch = pair(TEXT)
    torch.manual_seed(0)
    baseline = flow_matching.method(TEXT, BACKBONE)
    for step in range(5):
        ours = build(TEXT).train_ends(batch, draws(step)).null
        theirs = baseline.train_ends(batch, draws(step)).null
        assert ours is not None
        assert theirs is not None
        assert torch.equal(ours, theirs)


def test_no_null_rows_at_rate_zero_and_identity_starts_from_the_source() -> None:
    problem = replace(TEXT, null_rate=0)
    assert build(problem).train_ends(pair(problem), draws()).null is None
    assert build(problem).sample_ends(pair(problem).source, ItemDraws(0, range(16))).null is None
    batch = pair(PLAIN)
    assert build(PLAIN).train_ends(batch, draws()).x0 is batch.source.values


def test_charges_see_the_original_pair() -> None:
    batch, method = pair(TEXT), build(TEXT)
    with_nulls = method.train_ends(batch, draws()).charges
    method.null_rate = 0
    without = method.train_ends(batch, draws()).charges
    assert set(with_nulls) == {"kl", "contrastive"} == set(method.weights)
    for name, charge in with_nulls.items():
        assert charge == without[name]
    assert set(build(DEPTH).train_ends(pair(DEPTH), draws()).charges) == {"kl", "reconstruction"}
    assert build(PLAIN).train_ends(pair(PLAIN), draws()).charges == {}


def test_x0_is_a_draw_from_the_encoder_in_training_and_in_sampling() -> None:
    batch, method = pair(TEXT), build(TEXT)
    mean, logvar = method.source_moments(batch.source)
    assert logvar is not None
    noise = draws(3).normal("source", MAP.sizes)
    x0 = method.train_ends(batch, draws(3)).x0
    torch.testing.assert_close(x0, mean + torch.exp(logvar / 2) * noise)
    sampled = method.sample_ends(batch.source, ItemDraws(0, range(16))).x0
    noise = ItemDraws(0, range(16)).normal("source", MAP.sizes)
    torch.testing.assert_close(sampled, mean + torch.exp(logvar / 2) * noise)


def test_samples_do_not_depend_on_the_batch() -> None:
    batch, method = pair(DEPTH), build(DEPTH)
    whole = method.sample_ends(batch.source, ItemDraws(0, range(16))).x0
    part = method.sample_ends(Source(batch.source.values[5:7]), ItemDraws(0, [5, 6])).x0
    torch.testing.assert_close(whole[5:7], part, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("stop", [False, True])
def test_flow_gradient_reaches_the_encoder_unless_stopped(stop: bool) -> None:
    torch.manual_seed(0)
    method = build(replace(DEPTH, charge=None), stop_gradient=stop, kl_weight=0)
    net = DiT(DEPTH, BACKBONE)
    training_loss(net, method, pair(DEPTH), draws()).total.backward()
    largest = max(0.0 if p.grad is None else p.grad.abs().max().item() for p in method.parameters())
    assert (largest == 0) == stop


def test_loss_is_the_flow_and_the_weighted_charges() -> None:
    torch.manual_seed(0)
    net, method = DiT(DEPTH, BACKBONE), build(DEPTH, kl_weight=2.0, reconstruction_weight=3.0)
    loss = training_loss(net, method, pair(DEPTH), draws())
    terms = loss.terms
    expected = terms["flow"] + 2 * terms["kl"] + 3 * terms["reconstruction"]
    torch.testing.assert_close(loss.total.detach(), expected)
    assert not terms["flow"].requires_grad
    # The network starts at zero velocity, so the first flow loss is E|ut|^2.
    ends = method.train_ends(pair(DEPTH), draws())
    assert ends.x1 is not None
    assert terms["flow"].item() == pytest.approx(
        ((ends.x1 - (1 - 1e-5) * ends.x0) ** 2).mean().item(), rel=1e-4
    )


def test_kl_has_its_closed_form_whatever_the_size() -> None:
    for shape in ((4, 3, 2, 2), (2, 4096)):
        assert kl_per_dimension(torch.zeros(shape), torch.zeros(shape)) == 0
        mean, logvar = torch.full(shape, 2.0), torch.full(shape, math.log(0.25))
        expected = 0.5 * (4 + 0.25 - 1 - math.log(0.25))
        assert kl_per_dimension(mean, logvar).item() == pytest.approx(expected)
        expected += 0.5 * (0.6**6 - 4)
        assert kl_per_dimension(mean, logvar, "official").item() == pytest.approx(expected)
    mean, logvar = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    normal = torch.distributions.Normal
    truth = torch.distributions.kl_divergence(normal(mean, (logvar / 2).exp()), normal(0, 1)).mean()
    assert kl_per_dimension(mean, logvar).item() == pytest.approx(truth.item(), rel=1e-5)


def test_contrastive_of_unrelated_and_of_equal_rows() -> None:
    contrastive = Contrastive()
    flat = torch.ones(8, 2, 2, 2)
    assert contrastive(flat, flat, torch.arange(8)).item() == pytest.approx(math.log(8), rel=1e-5)
    rows = torch.eye(8).view(8, 2, 2, 2)
    expected = math.log(1 + 7 * math.exp(-1 / 0.07))
    assert contrastive(rows, rows, torch.arange(8)).item() == pytest.approx(expected, abs=1e-5)


def test_contrastive_is_symmetric_and_rows_of_one_image_are_no_negatives() -> None:
    a, b = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    contrastive, labels = Contrastive(), torch.arange(4)
    x, y = (torch.nn.functional.normalize(v, dim=1) for v in (a, b))
    logits = x @ y.T / 0.07

    def expected() -> torch.Tensor:
        cross_entropy = torch.nn.functional.cross_entropy
        return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2

    plain = contrastive(a, b, labels)
    torch.testing.assert_close(plain, expected())
    logits[0, 1] = logits[1, 0] = float("-inf")
    masked = contrastive(a, b, torch.tensor([0, 0, 1, 2]))
    torch.testing.assert_close(masked, expected())
    assert masked < plain
    # Two rows of one image alone: nothing to tell apart, so no loss.
    one_image = torch.zeros(2, dtype=torch.int64)
    assert contrastive(a[:2], b[:2], one_image).item() == pytest.approx(0, abs=1e-6)
    plain.backward()  # the temperature is learned
    assert contrastive.scale.grad is not None
    assert contrastive.scale.grad != 0


def test_contrastive_is_exact_under_autocast() -> None:
    a, b = torch.randn(2, 8, 64, generator=torch.Generator().manual_seed(0))
    contrastive, groups = Contrastive(), torch.arange(8)
    with torch.no_grad():
        contrastive.scale.fill_(math.log(100))
    exact = contrastive(a, b, groups)
    with torch.no_grad():
        contrastive.scale.fill_(math.log(1000))
    torch.testing.assert_close(contrastive(a, b, groups), exact)  # capped at 100, as in CLIP
    with torch.autocast("cpu", torch.bfloat16):
        assert contrastive(a, b, groups) == exact


def arm(problem: Problem, model: str = "toy", **options: Any) -> Arm:
    """Every number is random and follows from its name: parts that two arms share are equal."""
    made = build_arm(crossflow, problem, model, batch=16, options=options)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            generator = torch.Generator().manual_seed(crc32(name.encode()))
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made


@pytest.fixture
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "toy", BACKBONE)
    monkeypatch.setitem(SIZES, "dimr", DiMRSize(5, 64, 2, 128, 1))


@pytest.mark.usefixtures("_toy")
@pytest.mark.parametrize(
    ("problem", "given", "changed"),
    [
        (TEXT, {}, {"source_encoder": "plain"}),
        (TEXT, {"source_encoder": "plain"}, {"source_noise": 0.3}),
        (PLAIN, {}, {"source_noise": 0.3}),
        (TEXT, {}, {"readout": "dense"}),
        (FEATURES, {"readout": "dense"}, {"source_encoder": "plain"}),
        (TEXT, {}, {"encoding_loss": "none"}),
        (TEXT, {}, {"encoding_loss": "source_contrastive"}),
        (TEXT, {}, {"encoding_loss": "reconstruction"}),
        (FEATURES, {}, {"encoding_loss": "reconstruction"}),
        (DEPTH, {}, {"encoding_loss": "contrastive"}),
        (DEPTH, {}, {"encoding_loss": "source_contrastive"}),
        (TEXT, {}, {"kl_form": "standard"}),
        (TEXT, {}, {"kl_weight": 0.41}),
        (TEXT, {}, {"contrastive_weight": 0.5}),
        (TEXT, {}, {"temperature": "raw"}),
        (TEXT, {"encoding_loss": "reconstruction"}, {"reconstruction_weight": 0.5}),
        (TEXT, {}, {"null_rate": 0.5}),
        (TEXT, {}, {"null_rate": 0}),
        (TEXT, {}, {"indicator": "adaln"}),
    ],
)
def test_every_option_changes_the_loss_and_leaves_nothing_idle(
    problem: Problem, given: dict[str, Any], changed: dict[str, Any]
) -> None:
    losses = []
    for options in (given, given | changed):
        made = arm(problem, **options)
        total = training_loss(made.net, made.method, pair(problem), draws()).total
        total.backward()
        assert [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()] == []
        losses.append(total.item())
    assert losses[0] != losses[1]
    assert all(map(math.isfinite, losses))


@pytest.mark.usefixtures("_toy")
def test_the_weight_of_the_kl_is_visible_and_grows_with_the_latent() -> None:
    assert arm(TEXT).options["kl_weight"] == pytest.approx(0.01 * 2 * 8 * 8)
    assert arm(PLAIN).options["kl_weight"] is None
    larger = replace(TEXT, target=MapShape(4, 32, 32))
    assert build(larger).weights["kl"] == pytest.approx(40.96)
    assert build(larger, kl_weight=3.0).weights["kl"] == 3


@pytest.mark.usefixtures("_toy")
@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("toy", {"source_encoder": "plain", "source_noise": -0.1}, r"source_noise=-0\.1: must not"),
        ("toy", {"null_rate": 1.5}, r"null_rate is 1\.5: give a share"),
        ("dimr", {"indicator": "adaln"}, "indicator=adaln: a DiMR has no such layers"),
        ("toy", {"training": "separate", "encoding_loss": "none"}, "separate: without an encoding"),
        ("toy", {"training": "two_stage", "first_stage": 1}, "first_stage=1: must be above 0"),
        ("toy", {"guidance": "autoguidance", "weak_share": 0}, "weak_share=0: must be above 0"),
        (
            "toy",
            {"source_encoder": "plain", "encoding_loss": "none", "stop_gradient": True},
            "stop_gradient=True: nothing else would train",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(
    model: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        arm(replace(TEXT, patch=4), model, **options)


def test_a_plain_source_is_its_mean_and_noise_has_its_size() -> None:
    batch, noise = pair(PLAIN), draws().normal("source", MAP.sizes)
    noisy = build(PLAIN, source_noise=0.3)
    expected = batch.source.values + 0.3 * noise
    torch.testing.assert_close(noisy.train_ends(batch, draws()).x0, expected)
    torch.testing.assert_close(noisy.sample_ends(batch.source, draws()).x0, expected)
    plain = build(TEXT, source_encoder="plain")
    mean, logvar = plain.source_moments(pair(TEXT).source)
    assert logvar is None
    assert torch.equal(plain.train_ends(pair(TEXT), draws()).x0, mean)


@pytest.mark.usefixtures("_toy")
def test_without_null_rows_there_is_no_guidance_and_the_problem_stays() -> None:
    made = arm(TEXT, null_rate=0)
    assert not made.method.guided
    assert made.method.problem == TEXT
    ends = made.method.sample_ends(pair(TEXT).source, ItemDraws(0, range(16)))
    assert ends.null is None
    assert not hasattr(made.net, "null_vectors")


@pytest.mark.parametrize("problem", [TEXT, FEATURES])
def test_reconstruction_is_a_mean_over_the_real_tokens_of_each_row(problem: Problem) -> None:
    batch, method = pair(problem), build(problem, encoding_loss="reconstruction")
    assert batch.source.mask is not None
    x0 = torch.randn(16, *MAP.sizes)
    batch.source.mask[:, 4:] = False
    batch.source.mask[0, 1:] = False
    charge = method._reconstruction(x0, batch.source)
    batch.source.values[:, 4:] = 0
    assert method._reconstruction(x0, batch.source) == charge
    rows = [
        method._reconstruction(x0[i : i + 1], Source(*(v[i : i + 1] for v in source)))
        for source in [(batch.source.values, batch.source.mask)]
        for i in range(16)
    ]
    torch.testing.assert_close(charge, torch.stack(rows).mean())
