"""Where pictures live in a flow: in pixels, or in the latents of a frozen autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Shaped, UInt8
    from torch import Tensor

    from benchmarks.config.schema import Config

STEP = 16  # task.size is a multiple of it


@dataclass(frozen=True)
class ImageSpace:
    """channels and side of a square picture in this space.

    encode: uint8 (n, 3, size, size) to arrays (n, channels, side, side) as a store holds them.
    decode: sampled (n, channels, side, side) to 8-bit RGB pictures. frozen: the autoencoder's facts
    under its name, empty in pixels.
    """

    size: int
    channels: int
    side: int
    encode: Callable[[UInt8[np.ndarray, "n 3 h w"]], Shaped[np.ndarray, "n c s s"]]
    decode: Callable[[Tensor], list[UInt8[np.ndarray, "h w 3"]]]
    frozen: dict[str, dict[str, Any]]

    def batch(self, pictures: Sequence[UInt8[np.ndarray, "h w 3"]]) -> np.ndarray:
        """`encode` of pictures as they are read."""
        stacked = np.stack([picture.transpose(2, 0, 1) for picture in pictures])
        return self.encode(np.ascontiguousarray(stacked))


def image_space(config: Config, device: str) -> ImageSpace:
    """Pixels, or the latent space of `weights.autoencoder`, at `task.size`."""
    size = checked_size(config)
    weights = config.weights.autoencoder
    if weights is None:
        return ImageSpace(size, 3, size, lambda pictures: pictures, _round, {})
    from benchmarks.codecs.image_codec import load_image_codec

    codec = load_image_codec(weights, device, config.download)
    if STEP % codec.factor:
        raise InputError(
            f"weights.autoencoder={weights}: makes pictures {codec.factor} times smaller, which "
            f"does not divide {STEP}"
        )

    def encode(pictures: np.ndarray) -> np.ndarray:
        return codec.encode(pictures).astype(np.float16)

    side = size // codec.factor
    frozen = {"autoencoder": dict(codec.facts)}
    return ImageSpace(size, codec.channels, side, encode, codec.decode, frozen)


def checked_size(config: Config) -> int:
    """`task.size`, a multiple of STEP; InputError otherwise."""
    size = config.task.size
    if size is None or size % STEP or size < 2 * STEP:
        raise InputError(f"task.size={size}: must be a multiple of {STEP}, at least {2 * STEP}")
    return size


def _round(pixels: Tensor) -> list[np.ndarray]:
    """Pixels 0..255, rounded to 8 bits."""
    pictures = pixels.clamp(0, 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return list(np.ascontiguousarray(pictures))
