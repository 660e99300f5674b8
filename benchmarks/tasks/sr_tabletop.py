"""Super-resolution in the embedded world: 16 -> 64 pixels, in the autoencoder's latent space.

The source is the latent of the bicubically upsampled low-resolution picture, taken as it is (paper
section 5.3: no encoder, no added noise); the target is the latent of the picture. Fine stripes lie
beyond the low resolution's Nyquist limit, so that a mean is blurred and a posterior is not: KID
ranks, PSNR stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.data.images import OnDemand, enlarge, shrink
from benchmarks.data.splits import choose
from benchmarks.metrics import distribution
from benchmarks.metrics import images as metric
from benchmarks.metrics.score import Scored, merge
from benchmarks.records.samples import Cell
from benchmarks.tasks.tabletop import EXTRACTOR, PictureScenes, PictureTask
from crossflow.problem import MapShape, Problem

DEFAULTS = {"split": "iid", "size": 64, "scale": 4}


class SuperResolutionScenes(PictureScenes):
    """Pictures at `task.size` pixels, and what is left of them at 1 / `task.scale`."""

    @cached_property
    def scale(self) -> int:
        return int(choose("task.scale", self.task.config.task.scale, (2, 4)))

    @cached_property
    def enlarged(self) -> Sequence[np.ndarray]:
        """The small pictures at full size: source of the flow and floor of the table."""
        return OnDemand(lambda index: enlarge(self.pair(index)[0], self.scale), self.count)

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"scale": self.scale}

    def rows(self, part: slice) -> dict[str, Any]:
        """Latents of the enlarged and of the true pictures."""
        enlarged, encode = np.stack(self.enlarged[part]).transpose(0, 3, 1, 2), self.task.encode
        return {"target": encode(self.pictures[part]), "source": encode(enlarged)}

    def key(self) -> dict[str, Any]:
        return self.evaluated_key({"images": metric.PROTOCOL}, scale=self.scale)

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        truths = list(np.array(self.pictures).transpose(0, 2, 3, 1))
        pairs = metric.image_scores(self.ids, predictions, truths)
        return merge([pairs, self.distances(predictions)])

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.enlarged[index], self.picture(index)

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        picture = self.picture(index)
        return shrink(picture, self.scale), picture


class SuperResolutionTabletop(PictureTask[SuperResolutionScenes]):
    """See the file's docstring."""

    version, uses, kind = 1, ("task.scale",), SuperResolutionScenes

    def primary(self, items: int) -> str:
        return distribution.metric_name("kid", items, EXTRACTOR)

    @cached_property
    def problem(self) -> Problem:
        shape = MapShape(16, self.size // 8, self.size // 8)
        return Problem(shape, shape, 1, encoder="identity", charge=None, null_rate=0.0)

    def floor(self) -> Sequence[np.ndarray]:
        return self.test.enlarged


TASK = SuperResolutionTabletop
