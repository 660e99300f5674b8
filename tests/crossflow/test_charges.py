"""Charges against closed forms; masked negatives; means per dimension."""

import math

import pytest
import torch

from crossflow.crossflow import Contrastive, kl_per_dimension, reconstruction


def test_kl_closed_form() -> None:
    shape = (4, 3, 2, 2)
    assert kl_per_dimension(torch.zeros(shape), torch.zeros(shape)) == 0
    mean, logvar = torch.full(shape, 2.0), torch.full(shape, math.log(0.25))
    expected = 0.5 * (4 + 0.25 - 1 - math.log(0.25))
    assert kl_per_dimension(mean, logvar).item() == pytest.approx(expected)


def test_kl_agrees_with_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, logvar = torch.randn(2, 6, 5, generator=generator)
    normal = torch.distributions.Normal
    truth = torch.distributions.kl_divergence(normal(mean, (logvar / 2).exp()), normal(0, 1)).mean()
    assert kl_per_dimension(mean, logvar).item() == pytest.approx(truth.item(), rel=1e-5)


def test_kl_does_not_grow_with_the_latent() -> None:
    small, large = torch.ones(2, 16), torch.ones(2, 4096)
    assert kl_per_dimension(small, small).item() == pytest.approx(
        kl_per_dimension(large, large).item()
    )


def test_contrastive_of_unrelated_and_of_equal_rows() -> None:
    contrastive = Contrastive()
    flat = torch.ones(8, 2, 2, 2)
    assert contrastive(flat, flat, torch.arange(8)).item() == pytest.approx(math.log(8), rel=1e-5)
    rows = torch.eye(8).view(8, 2, 2, 2)
    expected = math.log(1 + 7 * math.exp(-1 / 0.07))
    assert contrastive(rows, rows, torch.arange(8)).item() == pytest.approx(expected, abs=1e-5)


def test_contrastive_is_symmetric_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5, 3, 2, 2, generator=generator)
    x, y = (torch.nn.functional.normalize(v.flatten(1), dim=1) for v in (a, b))
    logits, labels = x @ y.T / 0.07, torch.arange(5)
    cross_entropy = torch.nn.functional.cross_entropy
    expected = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(Contrastive()(a, b, labels), expected)


def test_rows_of_one_image_are_no_negatives() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 4, 6, generator=generator)
    twice = torch.tensor([0, 0, 1, 2])
    contrastive = Contrastive()
    masked = contrastive(a, b, twice)
    x, y = (torch.nn.functional.normalize(v, dim=1) for v in (a, b))
    logits = x @ y.T / 0.07
    logits[0, 1] = logits[1, 0] = float("-inf")
    cross_entropy, labels = torch.nn.functional.cross_entropy, torch.arange(4)
    expected = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(masked, expected)
    assert masked < contrastive(a, b, torch.arange(4))
    # Two rows of one image alone: nothing to tell apart, so no loss.
    one_image = torch.zeros(2, dtype=torch.int64)
    assert contrastive(a[:2], b[:2], one_image).item() == pytest.approx(0, abs=1e-6)


def test_contrastive_is_exact_under_autocast() -> None:
    a, b = torch.randn(2, 8, 64, generator=torch.Generator().manual_seed(0))
    contrastive, groups = Contrastive(), torch.arange(8)
    with torch.no_grad():
        contrastive.scale.fill_(math.log(100))
    exact = contrastive(a, b, groups)
    with torch.autocast("cpu", torch.bfloat16):
        assert contrastive(a, b, groups) == exact


def test_temperature_is_learned() -> None:
    contrastive = Contrastive()
    a, b = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    contrastive(a, b, torch.arange(4)).backward()
    assert contrastive.scale.grad is not None
    assert contrastive.scale.grad != 0


def test_reconstruction_is_a_mean() -> None:
    value = reconstruction(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 3.0))
    assert value.item() == pytest.approx(9)
