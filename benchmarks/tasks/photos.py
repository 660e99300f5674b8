"""What tasks on photographs share: the space of the flow, and distances between sets of pictures.

The flow runs in pixels or, with `weights.autoencoder`, in its latents, at `task.size`. Pixels are
what is scored, always: latents are decoded first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import Identity

from benchmarks.codecs.image import FIELD, ImageCodec, ImageSpace, checked_size, image_space
from benchmarks.codecs.weights import elsewhere
from benchmarks.metrics import distribution
from benchmarks.metrics.score import Scored
from benchmarks.tasks.task import AnyItems, Task
from crossflow.problem import MapShape


class PhotoTask(Task[AnyItems]):
    """A task on photographs. Where nothing else ranks, the distance to the true set does."""

    @cached_property
    def space(self) -> ImageSpace:
        return image_space(self.config, self.device)

    def assume(self) -> list[str]:
        name, plain = self.config.weights.autoencoder, Identity()
        if not elsewhere(name, self.config.download):
            return []
        self.space = ImageSpace(checked_size(self.config), ImageCodec(4, 8, {}, 1, plain, plain))
        return [f"{FIELD}={name} is not here: latents have 4 channels and an eighth of the side"]

    @cached_property
    def shape(self) -> MapShape:
        """Of a picture in the space of the flow."""
        return MapShape(self.space.channels, self.space.side, self.space.side)

    @property
    def stored(self) -> tuple[str, str]:  # type: ignore[override]
        kind = "uint8" if self.space.codec is None else "float16"
        return kind, kind

    @cached_property
    def frozen(self) -> dict[str, Any]:
        return self.space.frozen

    def decode(self, target: Tensor) -> Sequence[Any]:
        return self.space.decode(target)

    def primary(self, items: int) -> str:
        """KID below 10,000 items: FID is biased by the number of samples."""
        name = distribution.metric_name("fid" if items >= 10_000 else "kid", items)
        return self.ranked_by or name

    def unavailable(self) -> str | None:
        if self.ranked_by:
            return None
        network, reason = self.inception
        return reason if network is None else None

    @property
    def inception(self) -> tuple[Path | None, str]:
        """Inception's file and its digest, or why there is none."""
        return distribution.find_inception(self.config.weights.inception, self.config.download)

    def distances(
        self, predictions: Sequence[Any], reference: Sequence[np.ndarray], content: str
    ) -> Scored:
        """FID and its kin. content: digest of what decides the reference's pixels."""
        weights, where = self.config.weights.inception, self.device
        network: Any = {"weights": weights, "download": self.config.download, "device": where}
        return distribution.inception_scores(
            predictions, reference, reference_key=content, **network
        )
