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

from benchmarks.codecs import weights as networks
from benchmarks.data.files import optional
from benchmarks.metrics.weights import read_tensors
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped, UInt8
    from torch import Tensor

    from benchmarks.config.schema import Config
    from benchmarks.data.images import Rgb

FIELD = "weights.autoencoder"
PROBE = 64  # side of the picture that tells channels and factor
STEP = 16  # task.size is a multiple of it


@dataclass(frozen=True)
class ImageCodec:
    """A frozen autoencoder."""

    channels: int  # of a latent
    factor: int  # pixels per latent position each way
    facts: dict[str, object]  # what latents depend on, for stores and records; no path
    batch: int  # pictures computed at once
    to_latent: Callable[[Tensor], Tensor]
    to_picture: Callable[[Tensor], Tensor]

    def encode(self, images: UInt8[np.ndarray, "n 3 h w"]) -> Float32[np.ndarray, "n c h/f w/f"]:
        """Latents of 8-bit RGB pictures."""
        import torch

        # A copy: rows of a read-only memory map make from_numpy warn.
        unit = torch.from_numpy(np.array(images)).float() / 127.5 - 1
        return networks.in_batches(FIELD, self.to_latent, self.batch, unit).numpy()

    def decode(self, latents: Float32[Tensor, "n c h w"]) -> list[Rgb]:
        """8-bit RGB pictures of latents, rounded to the nearest level."""
        unit = networks.in_batches(FIELD, self.to_picture, self.batch, latents.float().cpu())
        return _levels((unit.clamp(-1, 1) + 1) * 127.5)


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
        return self.size if self.codec is None else self.size // self.codec.factor

    @property
    def patch(self) -> int:
        """The largest that leaves at least 16 a side: cost does not depend on the size."""
        fitting = range(1, max(1, self.side // 16) + 1)
        return max(patch for patch in fitting if self.side % patch == 0)

    @property
    def frozen(self) -> dict[str, dict[str, Any]]:
        return {} if self.codec is None else {"autoencoder": dict(self.codec.facts)}

    def batch(self, pictures: Sequence[Rgb]) -> Shaped[np.ndarray, "n c s s"]:
        """Pictures as a store holds them: 8-bit pixels, or latents in float16."""
        stacked = np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))
        return stacked if self.codec is None else self.codec.encode(stacked).astype(np.float16)

    def decode(self, sampled: Tensor) -> list[Rgb]:
        """8-bit RGB pictures of what was sampled (n, channels, side, side)."""
        return _levels(sampled) if self.codec is None else self.codec.decode(sampled)


def _levels(pixels: Tensor) -> list[np.ndarray]:
    """Pictures (h, w, 3) of pixels (n, 3, h, w), rounded and limited to 0..255."""
    networks.finite("the task's pictures", pixels, pixels)
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
    """The autoencoder that `weights` names (see the file's docstring), frozen, in float32."""
    import torch

    folder = networks.weights_folder(FIELD, weights, download, ["config.json", "*.safetensors*"])
    files = [*folder.glob("*_encoder.pth"), *folder.glob("*_decoder.pth")]
    if len(files) == 2 and not (folder / "config.json").is_file():
        kind, network = "TAESD", _taesd(*files)
    else:
        classes = {name: name for name in ("AutoencoderKL", "AutoencoderTiny")}
        given = FIELD, folder, "diffusers", "_class_name", classes, "diffusion_pytorch_model"
        kind, network, files = networks.pretrained(*given)
    network.float().to(device)
    config = network.config
    scale, shift = float(config.get("scaling_factor") or 1), float(config.get("shift_factor") or 0)
    if config.get("latents_mean") or config.get("latents_std"):
        raise InputError(f"{FIELD}: latents_mean and latents_std of {folder} cannot be used")
    # On the device: a division by a number would there be a multiplication.
    a, b = (torch.tensor(number, device=device) for number in (scale, shift))

    def to_latent(pictures: Tensor) -> Tensor:
        coded = network.encode(pictures.to(device))
        mean = coded.latent_dist.mode() if kind == "AutoencoderKL" else coded.latents
        return (mean - b) * a

    def to_picture(latents: Tensor) -> Tensor:
        return network.decode(latents.to(device) / a + b).sample

    probe = torch.zeros(1, 3, PROBE, PROBE)
    try:
        with torch.inference_mode():
            latent = to_latent(probe)
            fits = to_picture(latent).shape == probe.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise InputError(f"{FIELD}: {folder} is not an autoencoder of RGB pictures")
    channels, factor = latent.shape[1], PROBE // latent.shape[2]
    facts = {"class": kind, "scale": scale, "shift": shift, "channels": channels}
    facts |= {"factor": factor, "precision": "fp32", "sha256": networks.weights_digest(files)}
    batch = 1 if device == "cpu" else 16
    return ImageCodec(channels, factor, facts, batch, to_latent, to_picture)


def _taesd(*files: Path) -> Any:
    """diffusers' AutoencoderTiny with the weights of taesd's encoder and decoder file.

    TAEF2's middle blocks first add a normalised 1 x 1 branch of their input, which diffusers lacks.
    taesd's decoder begins with a layer for the soft limit of latents, which diffusers' has in its
    forward: its numbers are one higher.
    """
    from torch import nn

    from benchmarks.metrics.distribution import preserved_random_state

    def add_branch(block: nn.Module) -> None:
        narrow = nn.Conv2d(64, 256, 1, bias=False), nn.GroupNorm(4, 256)
        block.pool = nn.Sequential(*narrow, nn.ReLU(), nn.Conv2d(256, 64, 1, bias=False))
        block.register_forward_pre_hook(lambda b, given: (given[0] + b.pool(given[0]),))

    states = [read_tensors(FIELD, path) for path in files]
    channels = len(states[0].get("14.bias", (1,)))
    try:
        with preserved_random_state():
            network = optional("diffusers", FIELD).AutoencoderTiny(latent_channels=channels)
            parts = network.encoder.layers, network.decoder.layers
            for first, (layers, state) in enumerate(zip(parts, states, strict=True)):
                renamed = {}
                for name, tensor in state.items():
                    number, rest = name.split(".", 1)
                    renamed[f"{int(number) - first}.{rest}"] = tensor
                    if rest == "pool.0.weight":
                        add_branch(layers[int(number) - first])
                layers.load_state_dict(renamed)
    except (RuntimeError, ValueError, IndexError):
        names = " and ".join(map(str, files))
        raise InputError(f"{FIELD}: {names} do not hold the weights of a taesd") from None
    return network.eval().requires_grad_(False)
