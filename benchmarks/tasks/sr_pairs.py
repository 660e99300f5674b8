"""What super-resolution on photographs shares: the space of the flow, its stores, the scores.

A pair is an enlarged low-resolution picture (source) and the true one (target), both 8-bit RGB of
one size. The flow runs in pixel space, or, with `weights.autoencoder`, between their latents.
Pixels are what is scored, always: latents are decoded first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.config import device
from benchmarks.data.pool import ordered_map
from benchmarks.metrics import images as metric
from benchmarks.metrics import lpips
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor

    from benchmarks.codecs.image import ImageCodec
    from benchmarks.config.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.tasks.encoded import Batches
    from crossflow.problem import Problem

TOKENS = 16  # patches a side: the backbone's cost does not depend on the size of the pictures
PROTOCOLS = {"images": metric.PROTOCOL, "lpips": lpips.PROTOCOL}
ENCODED = 16  # pictures read before the autoencoder takes them


@dataclass(frozen=True)
class Row:
    """A row of a store. group: number of the photograph it is taken from."""

    id: str
    group: int
    load: Callable[[], tuple[UInt8[np.ndarray, "size size 3"], UInt8[np.ndarray, "size size 3"]]]


@dataclass(frozen=True)
class Space:
    """Where the flow runs: pixels (codec is None) or latents of a frozen autoencoder."""

    codec: ImageCodec | None

    def problem(self, size: int) -> Problem:
        """From the enlarged picture to the true one, the source taken as it is.

        Raises InputError for a size that the autoencoder or the patches do not divide.
        """
        from crossflow.problem import MapShape, Problem

        if self.codec is None:
            shape, patch = MapShape(3, size, size), max(2, size // TOKENS)
        else:
            if size % self.codec.factor:
                raise InputError(
                    f"task.size={size}: must be a multiple of {self.codec.factor}, the factor of "
                    "weights.autoencoder"
                )
            side = size // self.codec.factor
            shape = MapShape(self.codec.channels, side, side)
            # The largest patch that leaves TOKENS patches a side, or 1.
            fitting = range(1, max(1, side // TOKENS) + 1)
            patch = max(patch for patch in fitting if side % patch == 0)
        return Problem(
            source=shape,
            target=shape,
            patch=patch,
            encoder="identity",
            charge=None,
            null_rate=0.0,
        )

    @property
    def frozen(self) -> dict[str, Any]:
        """Codecs shared by all arms, for `Prepared.frozen` and for a store's fingerprint."""
        return {} if self.codec is None else {"autoencoder": dict(self.codec.facts)}

    def batches(self, rows: Sequence[Row]) -> Batches:
        """Rows of a store: uint8 pixels, or latents in float16."""

        def batches(start: int, stop: int) -> Iterator[dict[str, Any]]:
            for first in range(start, stop, ENCODED):
                some = rows[first : min(first + ENCODED, stop)]
                pairs = list(ordered_map(lambda row: row.load(), some))
                source, target = (
                    np.stack([pair[side] for pair in pairs]).transpose(0, 3, 1, 2)
                    for side in (0, 1)
                )
                yield {
                    "target": self._encoded(target),
                    "source": self._encoded(source),
                    "groups": [row.group for row in some],
                    "ids": [row.id for row in some],
                }

        return batches

    def _encoded(self, pictures: UInt8[np.ndarray, "n 3 h w"]) -> np.ndarray:
        if self.codec is None:
            return np.ascontiguousarray(pictures)
        return self.codec.encode(pictures).astype(np.float16)

    def decode(self, target: Tensor) -> list[np.ndarray]:
        """8-bit pictures (h, w, 3), rounded and limited to 0..255."""
        if self.codec is not None:
            return self.codec.decode(target)
        pictures = target.clamp(0, 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return list(np.ascontiguousarray(pictures))


def space(config: Config) -> Space:
    """Pixels, or the latents of `weights.autoencoder`; InputError where it cannot be read."""
    weights = config.weights.autoencoder
    if weights is None:
        return Space(None)
    from benchmarks.codecs.image import load_image_codec

    return Space(load_image_codec(weights, device.resolve(config.device), config.download))


def pair_scores(
    ids: Sequence[str],
    predictions: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    border: int,
    config: Config,
) -> Scored:
    """PSNR and SSIM without a border of `border` pixels; LPIPS of whole pictures."""
    from benchmarks.metrics.score import merge

    where = device.resolve(config.device)
    return merge(
        [
            metric.image_scores(ids, predictions, truths, border),
            lpips.lpips_scores(
                ids, predictions, truths, weights=config.weights.lpips, device=where
            ),
        ]
    )


def side_and_scale(config: Config) -> tuple[int, int]:
    """(side of the flow's pictures, factor), checked: the side in whole patches."""
    size, scale = config.task.size, config.task.scale
    if size is None or size % TOKENS or size < 2 * TOKENS:
        raise InputError(f"task.size={size}: must be a multiple of {TOKENS}, at least {2 * TOKENS}")
    if scale is None or scale < 2:
        raise InputError(f"task.scale={scale}: must be at least 2")
    return size, scale
