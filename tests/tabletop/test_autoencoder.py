"""The frozen image autoencoder: shapes, determinism, fidelity on unseen scenes, smoothness."""

import pytest
import torch

from benchmarks.tabletop import autoencoder, cards
from benchmarks.tabletop.making import measure
from benchmarks.tabletop.scenes import scenes_of


@pytest.fixture(scope="module")
def codec():
    return autoencoder.load()


@pytest.fixture(scope="module")
def pictures():
    return {s: measure.pictures_of(scenes_of("iid", 60), s) for s in (64, 32)}


@pytest.fixture(scope="module")
def latents(codec, pictures):
    return {s: codec.encode(autoencoder.to_unit(images)) for s, images in pictures.items()}


def psnr(a, b):
    return float(10 * torch.log10(255**2 / (a.float() - b.float()).square().mean()))


def test_the_card_names_the_evaluator():
    card = cards.read_card("autoencoder")
    assert card["evaluator"] == cards.read_card("evaluator")["sha256"]


@pytest.mark.parametrize("size", [64, 32])
def test_shapes_and_range(codec, latents, size):
    assert latents[size].shape == (60, autoencoder.CHANNELS, size // 8, size // 8)
    images = codec.decode(10 * latents[size][:2])
    assert images.shape == (2, 3, size, size)
    assert images.abs().max() <= 1


def test_encoding_is_a_function_of_the_picture(codec, pictures, latents):
    again = codec.encode(autoencoder.to_unit(pictures[64]))
    assert torch.equal(again, latents[64])
    alone = codec.encode(autoencoder.to_unit(pictures[64][:1]))
    torch.testing.assert_close(alone, latents[64][:1], atol=1e-4, rtol=1e-4)


def test_frozen_and_cached(codec):
    assert autoencoder.load() is codec
    assert not any(p.requires_grad for p in codec.parameters())
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(autoencoder.to_bytes(autoencoder.to_unit(levels)), levels)


@pytest.mark.parametrize("size", [64, 32])
def test_unseen_pictures_come_back(pictures, size):
    copies = measure.rebuilt(pictures[size])
    stated = cards.read_card("autoencoder")["scores"][f"iid@{size}"]["psnr"]
    each = [psnr(a, b) for a, b in zip(copies, pictures[size], strict=True)]
    assert sum(each) / len(each) == pytest.approx(stated, abs=1.5)


def test_latents_have_about_unit_variance_and_small_errors_in_them_stay_small(codec, latents):
    """A flow lands near a latent, not on it: a tenth of its spread must cost little."""
    spread = latents[64].transpose(0, 1).flatten(1).std(1)
    assert spread.min() > 0.4 and spread.max() < 2
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(latents[64].shape, generator=generator)
    copies, near = (codec.decode(shown) for shown in (latents[64], latents[64] + noise))
    assert psnr(*map(autoencoder.to_bytes, (near, copies))) > 28
