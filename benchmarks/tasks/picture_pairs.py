"""What tasks from pictures to pictures share: rows and scores.

A pair is a source and a target, both 8-bit RGB of one size; for super-resolution the source is the
enlarged low-resolution picture. The flow starts from the source as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import PIL

from benchmarks.data.images import OnDemand
from benchmarks.data.splits import digest
from benchmarks.metrics import distribution
from benchmarks.metrics import images as metric
from benchmarks.metrics.score import Scored, merge, per_item
from benchmarks.metrics.weights import used_digest
from benchmarks.records.samples import Cell
from benchmarks.tasks.photos import PhotoTask
from benchmarks.tasks.task import PictureItems
from crossflow.errors import InputError
from crossflow.problem import Problem

PROTOCOLS = {"images": metric.PROTOCOL, "lpips": metric.LPIPS_PROTOCOL}


class PicturePairs(PictureItems):
    """Sources and targets of a split. A subclass says how they are loaded."""

    content: dict[str, str]  # digests of what is scored: `items` and `truth`
    pixels: dict[str, Any]  # what else decides which pixels are compared
    batch = 16  # pictures read before the autoencoder takes them

    def __init__(
        self, task: PictureTranslation[Any], name: str, ids: Sequence[str], left_out: int = 0
    ) -> None:
        """left_out: files beside the pictures that are none by their suffix or place."""
        self.task, self.name, self.ids, self.left_out = task, name, ids, left_out
        if left_out:
            task.report(f"{left_out} {name} files left out, no pictures by suffix or place", 1, 1)
        self.groups = range(1, len(ids) + 1)
        self.sources = OnDemand(lambda index: self.load(index)[0], len(ids))
        self.pictures = OnDemand(lambda index: self.load(index)[1], len(ids))

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:  # type: ignore[override]
        return [(self.pixels["size"],) * 2] * len(self.ids)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target of an item."""
        raise NotImplementedError

    def load_row(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target of a row of the store."""
        return self.load(row)

    def rows(self, part: slice) -> dict[str, Any]:
        """8-bit pixels, or latents in float16."""
        first = part.start
        pairs = per_item(lambda index: self.load_row(first + index), part.stop - first)
        source, target = map(self.task.space.batch, zip(*pairs, strict=True))
        return {"target": target, "source": source}

    @property
    def border(self) -> int:
        """Pixels cut from each side before PSNR and SSIM."""
        return self.task.config.task.border or 0

    def pair_scores(self, predictions: Sequence[np.ndarray]) -> Scored:
        """PSNR and SSIM without the border; LPIPS of whole pictures."""
        weights, where = self.task.config.weights.lpips, self.task.device
        given = self.ids, predictions, self.pictures
        errors = metric.image_scores(*given, self.border)
        scored = merge([errors, metric.lpips_scores(*given, weights=weights, device=where)])
        scored.counts["files_left_out"] = self.left_out
        return scored

    def key(self) -> dict[str, Any]:
        protocols = {**PROTOCOLS, "distribution": distribution.PROTOCOL}
        trunk = used_digest(metric.find_trunk(self.task.config.weights.lpips))
        options = {**self.pixels, "lpips": trunk, "inception": used_digest(self.task.inception)}
        key = self.named("", protocols, **options)
        return key | self.content

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        """Item by item and, where Inception's weights are given, as a set."""
        # What decides the pixels of the reference set, and the program that decodes its files.
        content = digest(json.dumps(self.content | self.pixels, sort_keys=True), PIL.__version__)
        distances = self.task.distances(predictions, self.pictures, content)
        return merge([self.pair_scores(predictions), distances])

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.sources[index], self.pictures[index]


Pairs = TypeVar("Pairs", bound=PicturePairs)


class PictureTranslation(PhotoTask[Pairs]):
    """From source to target, the source taken as it is; ranked by distance to the true set."""

    uses: tuple[str, ...] = (
        *("task.root", "task.border"),
        *("weights.autoencoder", "weights.lpips", "weights.inception"),
    )

    @cached_property
    def problem(self) -> Problem:
        shape = self.shape
        return Problem(shape, shape, self.space.patch, "identity", charge=None, null_rate=0.0)

    def floor(self) -> Sequence[np.ndarray]:
        """The sources themselves."""
        return self.test.sources


class SuperResolution(PictureTranslation[Pairs]):
    """From the enlarged picture to the true one."""

    uses = (*PictureTranslation.uses, "task.layout", "task.scale")

    @cached_property
    def scale(self) -> int:
        scale = self.config.task.scale
        if scale is None or scale < 2:
            raise InputError(f"task.scale={scale}: must be at least 2")
        return scale
