"""Super-resolution in the embedded world: 16 -> 64 pixels, in the autoencoder's latent space.

The source is the latent of the bicubically upsampled low-resolution picture, taken as it is (paper
section 5.3: no encoder, no added noise); the target is the latent of the picture. Fine stripes lie
beyond the low resolution's Nyquist limit, so that a mean is blurred and a posterior is not: KID
ranks, PSNR stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.images import OnDemand, enlarge, shrink
from benchmarks.data.splits import choose
from benchmarks.metrics import distribution
from benchmarks.metrics import images as metric
from benchmarks.metrics.score import merge
from benchmarks.tasks.tabletop import EXTRACTOR, PictureScenes, PictureTask

if TYPE_CHECKING:
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

DEFAULTS = {"split": "iid", "size": 64, "scale": 4}


class SuperResolutionScenes(PictureScenes):
    """Pictures at `task.size` pixels, and what is left of them at 1 / `task.scale`."""

    @cached_property
    def scale(self) -> int:
        return int(choose("task.scale", self.task.config.task.scale, (2, 4)))

    @cached_property
    def enlarged(self) -> Sequence[np.ndarray]:
        """The small pictures at full size: source of the flow and floor of the table."""
        scale = self.scale
        return OnDemand(lambda i: enlarge(shrink(self.picture(i), scale), scale), len(self.ids))

    @cached_property
    def source(self) -> np.ndarray:
        pictures = OnDemand(lambda i: self.enlarged[i].transpose(2, 0, 1), len(self.ids))
        return self.split.latents(f"lr{self.size}x{self.scale}", pictures)

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"scale": self.scale}

    def rows(self, part: slice) -> dict[str, Any]:
        """Latents of the enlarged and of the true pictures."""
        return {
            "target": np.array(self.latents[part]),
            "source": np.array(self.source[part]),
            "groups": self.split.indices[part],
            "ids": self.ids[part],
        }

    def key(self) -> dict[str, Any]:
        return self.evaluated_key({"images": metric.PROTOCOL}, scale=self.scale)

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        truths = list(np.array(self.pictures).transpose(0, 2, 3, 1))
        pairs = metric.image_scores(self.ids, predictions, truths)
        return merge([pairs, self.distances(predictions)])

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.enlarged[index], self.picture(index)

    def pair(self, index: int) -> tuple[Cell, Cell]:
        return shrink(self.picture(index), self.scale), self.picture(index)


class SuperResolutionTabletop(PictureTask[SuperResolutionScenes]):
    """See the file's docstring."""

    version, uses, kind = 1, ("task.scale",), SuperResolutionScenes

    def primary(self, items: int) -> str:
        return distribution.metric_name("kid", items, EXTRACTOR)

    @cached_property
    def problem(self) -> Problem:
        from crossflow.problem import MapShape, Problem

        shape = MapShape(16, self.size // 8, self.size // 8)
        return Problem(shape, shape, 1, encoder="identity", charge=None, null_rate=0.0)

    def floor(self, train: Store) -> Sequence[np.ndarray]:
        return self.test.enlarged


TASK = SuperResolutionTabletop
