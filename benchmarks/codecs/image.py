"""Where pictures live in a flow: in pixels, or in the latents of a frozen image autoencoder.

`weights.autoencoder` is one of
  - a folder of diffusers (config.json and diffusion_pytorch_model.safetensors) of an AutoencoderKL
    or AutoencoderTiny; in a pipeline's folder that is `vae/`;
  - with download=true, the name of such a folder on the model hub, `owner/model[/vae]`;
  - a folder with NAME_encoder.pth and NAME_decoder.pth of madebyollin/taesd, as `taef2`.

Latents are the posterior's mean, never a draw, so that a stored latent is a function of its picture
alone; they are (mean - shift) * scale with the model's own numbers, which every record holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.codecs.weights import (
    finite,
    in_batches,
    pretrained,
    weights_digest,
    weights_folder,
)
from benchmarks.data.files import optional
from benchmarks.metrics.weights import read_tensors
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped, UInt8
    from torch import Tensor

    from benchmarks.config.schema import Config

FIELD = "weights.autoencoder"
CLASSES = {name: name for name in ("AutoencoderKL", "AutoencoderTiny")}
STEM = "diffusion_pytorch_model"
BATCH = {"cpu": 1, "cuda": 16}  # pictures computed at once
PROBE = 64  # side of the picture that tells channels and factor
STEP = 16  # task.size is a multiple of it
PATCHES = 16  # a side


@dataclass(frozen=True)
class ImageCodec:
    """A frozen autoencoder."""

    channels: int  # of a latent
    factor: int  # pixels per latent position each way
    facts: dict[str, object]  # what latents depend on, for stores and records; no path
    device: str
    to_latent: Callable[[Tensor], Tensor]
    to_picture: Callable[[Tensor], Tensor]

    def encode(self, images: UInt8[np.ndarray, "n 3 h w"]) -> Float32[np.ndarray, "n c h/f w/f"]:
        """Latents of 8-bit RGB pictures whose sides are multiples of `factor`."""
        import torch

        # A copy: rows of a read-only memory map make from_numpy warn.
        unit = torch.from_numpy(np.array(images)).float() / 127.5 - 1
        return self._run(self.to_latent, unit).numpy()

    def decode(self, latents: Float32[Tensor, "n c h w"]) -> list[UInt8[np.ndarray, "H W 3"]]:
        """8-bit RGB pictures of latents, rounded to the nearest level."""
        unit = self._run(self.to_picture, latents.float().cpu())
        return _levels((unit.clamp(-1, 1) + 1) * 127.5)

    def _run(self, step: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        return in_batches(FIELD, step, BATCH[self.device.partition(":")[0]], self.device, rows)


@dataclass(frozen=True)
class ImageSpace:
    """Square pictures of `size` pixels as a flow sees them: pixels, or latents of `codec`."""

    size: int
    codec: ImageCodec | None

    @property
    def channels(self) -> int:
        return 3 if self.codec is None else self.codec.channels

    @property
    def side(self) -> int:
        """Of a picture in this space."""
        return self.size if self.codec is None else self.size // self.codec.factor

    @property
    def patch(self) -> int:
        """The largest that leaves at least PATCHES a side: cost does not depend on the size."""
        fitting = range(1, max(1, self.side // PATCHES) + 1)
        return max(patch for patch in fitting if self.side % patch == 0)

    @property
    def frozen(self) -> dict[str, dict[str, Any]]:
        """The autoencoder's facts under its name, empty in pixels."""
        return {} if self.codec is None else {"autoencoder": dict(self.codec.facts)}

    def batch(
        self, pictures: Sequence[UInt8[np.ndarray, "h w 3"]]
    ) -> Shaped[np.ndarray, "n c s s"]:
        """Pictures as a store holds them: 8-bit pixels, or latents in float16."""
        stacked = np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))
        return stacked if self.codec is None else self.codec.encode(stacked).astype(np.float16)

    def decode(self, sampled: Tensor) -> list[UInt8[np.ndarray, "h w 3"]]:
        """8-bit RGB pictures of what was sampled (n, channels, side, side)."""
        return _levels(sampled) if self.codec is None else self.codec.decode(sampled)


def _levels(pixels: Tensor) -> list[np.ndarray]:
    """Pictures (h, w, 3) of pixels (n, 3, h, w), rounded and limited to 0..255."""
    finite("the task's pictures", pixels, pixels)
    rounded = pixels.clamp(0, 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return list(np.ascontiguousarray(rounded))


def image_space(config: Config, device: str) -> ImageSpace:
    """Pixels, or the latent space of `weights.autoencoder`, at `task.size`."""
    size, weights = checked_size(config), config.weights.autoencoder
    codec = None if weights is None else load_image_codec(weights, device, config.download)
    if codec is not None and size % codec.factor:
        raise InputError(f"task.size={size}: must be a multiple of {codec.factor}, as {FIELD} asks")
    return ImageSpace(size, codec)


def checked_size(config: Config) -> int:
    """`task.size`, a multiple of STEP; InputError otherwise."""
    size = config.task.size
    if size is None or size % STEP or size < 2 * STEP:
        raise InputError(f"task.size={size}: must be a multiple of {STEP}, at least {2 * STEP}")
    return size


def load_image_codec(weights: str, device: str, download: bool) -> ImageCodec:
    """The autoencoder that `weights` names (see the file's docstring), frozen, in float32.

    InputError for a folder that is missing or holds something else.
    """
    import torch

    folder = weights_folder(FIELD, weights, download, ["config.json", "*.safetensors*"])
    files = [*folder.glob("*_encoder.pth"), *folder.glob("*_decoder.pth")]
    if len(files) == 2 and not (folder / "config.json").is_file():
        kind, network = "TAESD", _taesd(*files)
    else:
        kind, network, files = pretrained(FIELD, folder, "diffusers", "_class_name", CLASSES, STEM)
    network.float().to(device)
    config = network.config
    scale, shift = float(config.get("scaling_factor") or 1), float(config.get("shift_factor") or 0)
    if config.get("latents_mean") or config.get("latents_std"):
        raise InputError(f"{FIELD}: latents_mean and latents_std of {folder} cannot be used")
    # On the device: a division by a number would there be a multiplication.
    a, b = (torch.tensor(number, device=device) for number in (scale, shift))

    def to_latent(pictures: Tensor) -> Tensor:
        coded = network.encode(pictures)
        mean = coded.latent_dist.mode() if kind == "AutoencoderKL" else coded.latents
        return (mean - b) * a

    def to_picture(latents: Tensor) -> Tensor:
        return network.decode(latents / a + b).sample

    with torch.inference_mode():
        latent = to_latent(torch.zeros(1, 3, PROBE, PROBE, device=device))
    channels, side = latent.shape[1:3]
    facts = {"class": kind, "scale": scale, "shift": shift, "channels": channels}
    facts |= {"factor": PROBE // side, "precision": "fp32", "sha256": weights_digest(files)}
    return ImageCodec(channels, PROBE // side, facts, device, to_latent, to_picture)


def _taesd(*files: Path) -> Any:
    """diffusers' AutoencoderTiny with the weights of taesd's encoder and decoder file.

    TAEF2 (FLUX.2's latents) has a branch in its middle blocks that diffusers lacks: a block first
    adds a normalised 1 x 1 branch of its input. taesd's decoder begins with a layer for the soft
    limit of latents, which diffusers' has in its forward: its numbers are one higher.
    """
    from torch import nn

    from benchmarks.metrics.distribution import preserved_random_state

    states = [read_tensors(FIELD, path) for path in files]
    channels = len(states[0].get("14.bias", (1,)))
    try:
        with preserved_random_state():
            network = optional("diffusers", FIELD).AutoencoderTiny(latent_channels=channels)
            for first, state in enumerate(states):
                layers, renamed = (network.decoder if first else network.encoder).layers, {}
                for name, tensor in state.items():
                    number, rest = name.split(".", 1)
                    renamed[f"{int(number) - first}.{rest}"] = tensor
                    if rest == "pool.0.weight":
                        block = layers[int(number) - first]
                        narrow = nn.Conv2d(64, 256, 1, bias=False), nn.GroupNorm(4, 256)
                        wide = nn.Conv2d(256, 64, 1, bias=False)
                        block.pool = nn.Sequential(*narrow, nn.ReLU(), wide)
                        block.register_forward_pre_hook(
                            lambda b, given: (given[0] + b.pool(given[0]),)
                        )
                layers.load_state_dict(renamed)
    except (RuntimeError, ValueError, IndexError):
        names = " and ".join(map(str, files))
        raise InputError(f"{FIELD}: {names} do not hold the weights of a taesd") from None
    return network.eval().requires_grad_(False)
