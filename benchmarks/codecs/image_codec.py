"""Frozen image autoencoders that a user gives: the latent space a flow runs in.

`weights.autoencoder` is one of
  - a folder of diffusers (config.json and diffusion_pytorch_model.safetensors) of an AutoencoderKL
    or AutoencoderTiny; in a pipeline's folder that is `vae/`;
  - with download=true, the name of such a folder on the model hub, `owner/model[/vae]`;
  - a folder with NAME_encoder.pth and NAME_decoder.pth of madebyollin/taesd, as `taef2`.

Latents are the posterior's mean, never a draw, so that a stored latent is a function of its picture
alone; they are (mean - shift) * scale with the model's own numbers, which every record holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.frozen_weights import (
    files_digest,
    from_pretrained,
    local_folder,
    safetensors_files,
)
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float32, UInt8
    from torch import Tensor

FIELD = "weights.autoencoder"
CLASSES = ("AutoencoderKL", "AutoencoderTiny")
STEM = "diffusion_pytorch_model"
# Pictures computed at once. The last batch is filled up with empty pictures: a kernel is chosen by
# the shape, so that a latent would otherwise depend, in its last bits, on how many came with it.
BATCH = {"cpu": 1, "cuda": 16}
PROBE = 64  # side of the picture that tells channels and factor

Step = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True)
class ImageCodec:
    """A frozen autoencoder.

    channels, factor: of a latent, and pixels per latent position each way. facts: what the latents
    depend on (class, factors, precision, digest of the files), for stores and records; no path.
    """

    channels: int
    factor: int
    facts: dict[str, object]
    device: str
    to_latent: Step
    to_picture: Step

    def encode(self, images: UInt8[np.ndarray, "n 3 h w"]) -> Float32[np.ndarray, "n c h/f w/f"]:
        """Latents of 8-bit RGB pictures.

        The same picture gives the same bits whatever comes with it. Raises InputError when a side
        is no multiple of `factor`, ValueError for anything but uint8 (n, 3, h, w).
        """
        import torch

        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"pictures are {images.dtype} {images.shape}, not uint8 (n, 3, h, w)")
        height, width = images.shape[2:]
        if height % self.factor or width % self.factor:
            raise InputError(
                f"{FIELD}: pictures of {width} x {height} pixels cannot be encoded, sides must be "
                f"multiples of {self.factor}: change task.size"
            )
        # A copy: rows of a read-only memory map make from_numpy warn.
        unit = torch.from_numpy(np.array(images)).float() / 127.5 - 1
        shape = (self.channels, height // self.factor, width // self.factor)
        return self._batched(self.to_latent, unit, shape).numpy()

    def decode(self, latents: Float32[Tensor, "n c h w"]) -> list[UInt8[np.ndarray, "H W 3"]]:
        """8-bit RGB pictures of latents, rounded to the nearest level."""
        import torch

        height, width = latents.shape[2] * self.factor, latents.shape[3] * self.factor
        unit = self._batched(self.to_picture, latents.float().cpu(), (3, height, width))
        levels = ((unit.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return list(np.ascontiguousarray(levels.permute(0, 2, 3, 1).numpy()))

    def _batched(self, step: Step, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
        """`step` of all rows, in batches of one fixed size."""
        import torch

        size = BATCH[torch.device(self.device).type]
        out = torch.empty(len(rows), *shape)
        with torch.inference_mode():
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                fill = batch.new_zeros(size - len(batch), *batch.shape[1:])
                found = step(torch.cat([batch, fill]).to(self.device))
                out[start : start + size] = found[: len(batch)].float().cpu()
        return out


def load_image_codec(weights: str, device: str, download: bool) -> ImageCodec:
    """The autoencoder that `weights` names (see the file's docstring), frozen, in float32.

    The global random state stays as it was. Raises InputError, one line, for a folder that is
    missing or holds something else, and for a hub's name without `download`.
    """
    from benchmarks.metrics.distribution import preserved_random_state

    folder = local_folder(FIELD, weights, download, ["config.json", "*.safetensors*"])
    with preserved_random_state():
        if (folder / "config.json").is_file():
            return _diffusers(folder, device)
        pair = sorted(folder.glob("*_encoder.pth")), sorted(folder.glob("*_decoder.pth"))
        if [len(found) for found in pair] == [1, 1]:
            return _taesd(pair[0][0], pair[1][0], device)
    raise InputError(
        f"{FIELD}={weights}: need config.json with {STEM}.safetensors (diffusers), or one "
        "NAME_encoder.pth with one NAME_decoder.pth (taesd)"
    )


def _diffusers(folder: Path, device: str) -> ImageCodec:
    import diffusers

    config_file = folder / "config.json"
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
        kind = config["_class_name"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{FIELD}: {config_file} is no configuration of diffusers") from None
    if kind not in CLASSES:
        raise InputError(f"{FIELD}: {config_file} is of {kind}; can use {' and '.join(CLASSES)}")
    files = [config_file, *safetensors_files(FIELD, folder, STEM)]
    network = from_pretrained(FIELD, getattr(diffusers, kind), folder)
    network.float().to(device).eval().requires_grad_(False)
    scale, shift = _affine(network.config)
    facts: dict[str, object] = {"class": kind, "scale": scale, "shift": shift}
    rows_scale, rows_shift = _rows(scale, device), _rows(shift, device)

    def to_latent(pictures: Tensor) -> Tensor:
        coded = network.encode(pictures)
        mean = coded.latent_dist.mode() if kind == "AutoencoderKL" else coded.latents
        return (mean - rows_shift) * rows_scale

    def to_picture(latents: Tensor) -> Tensor:
        return network.decode(latents / rows_scale + rows_shift).sample

    return _measured(to_latent, to_picture, device, facts, files)


def _affine(config: Any) -> tuple[Any, Any]:
    """(scale, shift): numbers, or one per channel where the configuration has `latents_mean`."""
    scale, shift = float(config.get("scaling_factor") or 1), float(config.get("shift_factor") or 0)
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is None and std is None:
        return scale, shift
    if mean is None or std is None or config.get("shift_factor"):
        raise InputError(f"{FIELD}: latents_mean, latents_std and shift_factor do not fit together")
    return [scale / float(one) for one in std], [float(one) for one in mean]


def _rows(numbers: Any, device: str) -> Tensor:
    """A number, or one per channel, ready to meet latents (n, c, h, w)."""
    import torch

    return torch.as_tensor(numbers, dtype=torch.float32, device=device).reshape(1, -1, 1, 1)


def _taesd(encoder_file: Path, decoder_file: Path, device: str) -> ImageCodec:
    """TAEF2: pictures in [0, 1], latents already near unit variance."""
    from benchmarks.codecs import taesd

    encoder_state, decoder_state = (_state(path) for path in (encoder_file, decoder_file))
    channels = len(encoder_state.get("14.bias", ()))
    encode, decode = taesd.encoder(channels or 1), taesd.decoder(channels or 1)
    for path, network, state in (
        (encoder_file, encode, encoder_state),
        (decoder_file, decode, decoder_state),
    ):
        try:
            network.load_state_dict(state)
        except RuntimeError:
            raise InputError(
                f"{FIELD}: {path} does not hold the weights of TAEF2 (8 x smaller, middle blocks "
                "with a normalised branch); give others as diffusers' AutoencoderTiny"
            ) from None
        network.float().to(device).eval().requires_grad_(False)
    facts: dict[str, object] = {"class": "TAESD", "scale": 1.0, "shift": 0.0}

    def to_latent(pictures: Tensor) -> Tensor:
        return encode((pictures + 1) / 2)

    def to_picture(latents: Tensor) -> Tensor:
        return decode(latents) * 2 - 1

    return _measured(to_latent, to_picture, device, facts, [encoder_file, decoder_file])


def _state(path: Path) -> dict[str, Tensor]:
    import pickle

    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{FIELD}: {path} is no file of weights ({first})") from None
    if not isinstance(state, dict):
        raise InputError(f"{FIELD}: {path} holds {type(state).__name__}, not named weights")
    return state


def _measured(
    to_latent: Step, to_picture: Step, device: str, facts: dict[str, object], files: list[Path]
) -> ImageCodec:
    """The codec, its channels and factor read off a picture sent there and back."""
    import torch

    with torch.inference_mode():
        latent = to_latent(torch.zeros(1, 3, PROBE, PROBE, device=device))
        back = to_picture(latent)
    channels, height, width = latent.shape[1:]
    if tuple(back.shape) != (1, 3, PROBE, PROBE) or height != width or PROBE % height:
        raise InputError(
            f"{FIELD}: a picture of 3 x {PROBE} x {PROBE} comes back as {tuple(back.shape[1:])} "
            f"through {tuple(latent.shape[1:])}; the weights do not fit RGB pictures"
        )
    factor = PROBE // height
    facts |= {"channels": channels, "factor": factor, "precision": "fp32"}
    facts["sha256"] = files_digest(files)
    return ImageCodec(channels, factor, facts, device, to_latent, to_picture)
