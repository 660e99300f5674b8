"""What the two tabletop tasks that make pictures share: files, latents, distances between sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.metrics import distribution

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor

    from benchmarks.metrics.score import Scored

EXTRACTOR = "tabletop"


def set_distances(
    predictions: Sequence[UInt8[np.ndarray, "h w 3"]],
    truths: UInt8[np.ndarray, "n 3 h w"],
    device: str,
) -> Scored:
    """`fid_tabletop@n` and `kid_tabletop@n` of predicted against true pictures."""
    from benchmarks.tabletop import evaluator

    evaluator.register()
    generated, real = (
        distribution.extract_features(images, EXTRACTOR, metrics=("fid", "kid"), device=device)
        for images in (to_tensor(predictions), _tensor(truths))
    )
    return distribution.distribution_scores(generated, real, EXTRACTOR)


def to_tensor(pictures: Sequence[UInt8[np.ndarray, "h w 3"]]) -> Tensor:
    """uint8 (n, 3, h, w) of pictures as they are stored."""
    return _tensor(np.stack(pictures).transpose(0, 3, 1, 2))


def _tensor(images: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(images))
