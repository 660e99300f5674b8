"""Frozen autoencoders that a user gives: layouts, factors, round trip, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.codecs.image import ImageSpace, load_image_codec
from benchmarks.data.images import centre_square, read_rgb
from benchmarks.metrics.images import psnr
from crossflow.errors import InputError

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 48), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder_kl(tmp_path_factory):
    import diffusers

    torch.manual_seed(0)
    down, up = ("DownEncoderBlock2D",) * 3, ("UpDecoderBlock2D",) * 3
    sizes = {"block_out_channels": (8, 8, 8), "down_block_types": down, "up_block_types": up}
    sizes |= {"layers_per_block": 1, "latent_channels": 6, "norm_num_groups": 4}
    network = diffusers.AutoencoderKL(**sizes, scaling_factor=0.25, shift_factor=0.5)
    folder = tmp_path_factory.mktemp("kl")
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder_tiny(tmp_path_factory):
    import diffusers

    torch.manual_seed(0)
    sizes = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    counts = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    network = diffusers.AutoencoderTiny(**sizes, **counts, latent_channels=5)
    folder = tmp_path_factory.mktemp("tiny")
    network.save_pretrained(folder)
    return folder


def change(folder, new, **values):
    """The folder's files under `new`, with other values in its configuration."""
    shutil.copytree(folder, new)
    config = json.loads((new / "config.json").read_text()) | values
    (new / "config.json").write_text(json.dumps(config))
    return new


@pytest.mark.parametrize("channels", [(1, 3), (3, 1)])
def test_an_autoencoder_of_other_pictures_is_refused(tmp_path, channels):
    """One grey channel would be compared with three, by broadcasting."""
    import diffusers

    sizes = {"encoder_block_out_channels": (8,), "decoder_block_out_channels": (8,)}
    counts = {"num_encoder_blocks": (1,), "num_decoder_blocks": (1,)}
    network = diffusers.AutoencoderTiny(*channels, **sizes, **counts)
    network.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is not an autoencoder of RGB pictures"):
        load_image_codec(str(tmp_path), "cpu", download=False)


def test_kl_is_the_scaled_mean(folder_kl):
    import diffusers

    codec = load_image_codec(str(folder_kl), "cpu", download=False)
    assert (codec.channels, codec.factor) == (6, 4)
    latents = codec.encode(PICTURES)
    assert (latents.shape, latents.dtype) == ((3, 6, 8, 12), np.float32)
    network = diffusers.AutoencoderKL.from_pretrained(folder_kl, local_files_only=True).eval()
    with torch.no_grad():
        unit = torch.from_numpy(PICTURES).float() / 127.5 - 1
        mean = network.encode(unit).latent_dist.mean
        back = network.decode(mean).sample
    np.testing.assert_allclose(latents, (mean - 0.5) * 0.25, atol=1e-5)
    decoded = np.stack(codec.decode(torch.from_numpy(latents)))
    assert (decoded.shape, decoded.dtype) == ((3, 32, 48, 3), np.uint8)
    expected = ((back.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(decoded - expected).max() <= 0.51  # rounded, not cut off
    facts = {key: codec.facts[key] for key in ("class", "scale", "shift")}
    assert facts == {"class": "AutoencoderKL", "scale": 0.25, "shift": 0.5}
    assert str(folder_kl) not in json.dumps(codec.facts)


def test_a_latent_depends_on_its_picture_alone(folder_kl, folder_tiny):
    for folder in (folder_kl, folder_tiny):
        codec = load_image_codec(str(folder), "cpu", download=False)
        together = codec.encode(PICTURES)
        np.testing.assert_array_equal(codec.encode(PICTURES[1:2])[0], together[1])
        np.testing.assert_array_equal(codec.encode(PICTURES[::-1]), together[::-1])
        alone = codec.decode(torch.from_numpy(together[1:2]))[0]
        np.testing.assert_array_equal(alone, codec.decode(torch.from_numpy(together))[1])


def test_wrong_folders_are_one_line(folder_kl, tmp_path):
    def refused(weights, match):
        with pytest.raises(InputError, match=match) as error:
            load_image_codec(str(weights), "cpu", False)
        assert "\n" not in str(error.value)

    refused(tmp_path / "no such", "no such folder")
    refused(tmp_path, r"config\.json is of None; can use AutoencoderKL")
    refused(change(folder_kl, tmp_path / "b", latents_mean=[0.1] * 6), "latents_mean and .* cannot")
    refused(change(folder_kl, tmp_path / "a", _class_name="VQModel"), "is of VQModel")
    cut = change(folder_kl, tmp_path / "d")
    file = cut / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    refused(cut, "cannot be read as AutoencoderKL")


def test_taef2_on_photographs(bench_data):
    """Known beforehand: 25.2 dB at 64 pixels, 27.8 at 128 on twelve other COCO photographs."""
    codec = load_image_codec(str(bench_data / "weights/taef2"), "cpu", download=False)
    assert (codec.channels, codec.factor) == (32, 8)
    files = sorted((bench_data / "roots/coco/val2014").glob("*.jpg"))[:4]
    squares = np.stack([centre_square(read_rgb(path), 128) for path in files])
    latents = codec.encode(squares.transpose(0, 3, 1, 2))
    assert latents.shape == (4, 32, 16, 16)
    assert 0.6 < latents.std() < 1.3
    rebuilt = codec.decode(torch.from_numpy(latents))
    assert np.mean([psnr(a, b) for a, b in zip(rebuilt, squares, strict=True)]) > 25
    np.testing.assert_array_equal(codec.encode(squares.transpose(0, 3, 1, 2)[2:3])[0], latents[2])


@pytest.fixture
def taesd(bench_data, tmp_path):
    """taesd(change) -> a folder with TAEF2's files; change(state, part) edits the weights."""

    def make(change):
        for part in ("encoder", "decoder"):
            state = torch.load(bench_data / f"weights/taef2/taef2_{part}.pth", weights_only=True)
            change(state, part)
            torch.save(state, tmp_path / f"tae_{part}.pth")
        return str(tmp_path)

    return make


def test_other_files_of_taesd(taesd):
    """Without the branch it is the published TAESD; what lacks another layer is neither."""

    def plain(state, part):
        for name in [name for name in state if ".pool." in name]:
            del state[name]

    codec = load_image_codec(taesd(plain), "cpu", False)
    assert (codec.channels, codec.factor) == (32, 8)
    for lacking in ("0.weight", "3.conv.0.bias"):
        folder = taesd(lambda state, part: state.pop(lacking, None))  # noqa: B023
        with pytest.raises(InputError, match="do not hold the weights of a taesd"):
            load_image_codec(folder, "cpu", False)
    Path(folder, "tae_encoder.pth").write_bytes(b"no weights")
    with pytest.raises(InputError, match="holds no plain tensors"):
        load_image_codec(folder, "cpu", False)


def test_an_autoencoder_that_gives_nan_stops_the_run(taesd):
    """Its encoder may be sound: decoding painted black, and oracle and arm were scored alike."""

    def damage(state, part):
        if part == "decoder":
            state["19.bias"] = state["19.bias"] * torch.nan

    codec = load_image_codec(taesd(damage), "cpu", False)
    latents = torch.from_numpy(codec.encode(PICTURES))
    with pytest.raises(InputError, match=r"weights\.autoencoder gives numbers that are not finite"):
        codec.decode(latents)


def test_samples_that_are_not_finite_are_not_the_networks_fault(folder_tiny):
    codec = load_image_codec(str(folder_tiny), "cpu", download=False)
    latents = torch.from_numpy(codec.encode(PICTURES)) * torch.nan
    for space in (ImageSpace(32, codec), ImageSpace(32, None)):
        with pytest.raises(ArithmeticError, match=r"what was sampled for .* is not finite"):
            space.decode(latents)


def test_the_space_of_a_task(folder_tiny):
    pictures = list(PICTURES.transpose(0, 2, 3, 1))
    pixels = ImageSpace(32, None)
    assert (pixels.channels, pixels.side, pixels.frozen) == (3, 32, {})
    assert np.array_equal(pixels.batch(pictures), PICTURES)
    sampled = torch.from_numpy(PICTURES).float() + 0.4
    assert np.array_equal(np.stack(pixels.decode(sampled)), np.stack(pictures))
    codec = load_image_codec(str(folder_tiny), "cpu", download=False)
    latents = ImageSpace(32, codec)
    assert (latents.channels, latents.side) == (5, 16)
    assert latents.frozen == {"autoencoder": codec.facts}
    assert np.array_equal(latents.batch(pictures), codec.encode(PICTURES).astype(np.float16))
