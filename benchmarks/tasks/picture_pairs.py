"""What tasks from pictures to pictures share: the space of the flow, its rows, the scores.

A pair is a source and a target, both 8-bit RGB of one size; for super-resolution the source is the
enlarged low-resolution picture. The flow runs in pixel space, or, with `weights.autoencoder`,
between their latents, and starts from the source as it is. Pixels are what is scored, always:
latents are decoded first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import PIL

from benchmarks.codecs.image import ImageSpace, image_space
from benchmarks.config import device
from benchmarks.data.images import OnDemand
from benchmarks.data.splits import digest
from benchmarks.metrics import distribution
from benchmarks.metrics import images as metric
from benchmarks.metrics.score import merge, per_item
from benchmarks.metrics.weights import used_digest
from benchmarks.tasks.task import PictureItems, Task
from crossflow.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

PROTOCOLS = {"images": metric.PROTOCOL, "lpips": metric.LPIPS_PROTOCOL}


class PicturePairs(PictureItems):
    """Sources and targets of a split. A subclass says how they are loaded."""

    content: dict[str, str]  # digests of what is scored: `items` and `truth`
    pixels: dict[str, Any]  # what else decides which pixels are compared
    batch = 16  # pictures read before the autoencoder takes them

    def __init__(self, task: PictureTranslation[Any], name: str, ids: Sequence[str]) -> None:
        self.task, self.name, self.ids = task, name, ids
        self.sources = OnDemand(lambda index: self.load(index)[0], len(ids))
        self.pictures = OnDemand(lambda index: self.load(index)[1], len(ids))

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and target of an item."""
        raise NotImplementedError

    def row(self, number: int) -> tuple[str, int, tuple[np.ndarray, np.ndarray]]:
        """Of a row of the store: id, number of its picture, source and target."""
        return self.ids[number], number + 1, self.load(number)

    def rows(self, part: slice) -> dict[str, Any]:
        """8-bit pixels, or latents in float16."""
        wanted = range(self.row_count)[part]
        rows = per_item(lambda index: self.row(wanted[index]), len(wanted))
        ids, groups, pairs = zip(*rows, strict=True)
        source, target = (self.task.space.batch(side) for side in zip(*pairs, strict=True))
        return {"target": target, "source": source, "groups": list(groups), "ids": list(ids)}

    @property
    def border(self) -> int:
        """Pixels cut from each side before PSNR and SSIM."""
        return self.task.config.task.border or 0

    def pair_scores(self, predictions: Sequence[np.ndarray]) -> Scored:
        """PSNR and SSIM without the border; LPIPS of whole pictures."""
        config = self.task.config
        weights, where = config.weights.lpips, device.resolve(config.device)
        given = self.ids, predictions, self.pictures
        errors = metric.image_scores(*given, self.border)
        return merge([errors, metric.lpips_scores(*given, weights=weights, device=where)])

    @property
    def split(self) -> str:
        """Of the data set, as the score key names it."""
        return str(self.task.config.task.split) if self.name == "test" else self.name

    def key(self) -> dict[str, Any]:
        protocols = {**PROTOCOLS, "distribution": distribution.PROTOCOL}
        options = {**self.pixels, **self.used_weights()}
        return {"split": self.split, **self.content, "protocols": protocols, "options": options}

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        """Item by item and, where Inception's weights are given, as a set."""
        config = self.task.config
        # What decides the pixels of the reference set, and the program that decodes its files.
        content = json.dumps(self.content | self.pixels, sort_keys=True)
        distances = distribution.inception_scores(
            predictions,
            self.pictures,
            weights=config.weights.inception,
            download=config.download,
            device=device.resolve(config.device),
            reference_key=digest(content, PIL.__version__),
        )
        return merge([self.pair_scores(predictions), distances])

    def used_weights(self) -> dict[str, str | None]:
        """Digests of the networks of scores, for the score key."""
        weights, download = self.task.config.weights, self.task.config.download
        return {
            "lpips": used_digest(metric.find_trunk(weights.lpips)),
            "inception": used_digest(distribution.find_inception(weights.inception, download)),
        }

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.sources[index], self.pictures[index]


Pairs = TypeVar("Pairs", bound=PicturePairs)


class PictureTranslation(Task[Pairs]):
    """From source to target, the source taken as it is; ranked by distance to the true set."""

    uses: tuple[str, ...] = (
        *("task.root", "task.border"),
        *("weights.autoencoder", "weights.lpips", "weights.inception"),
    )

    def primary(self, items: int) -> str:
        """KID below 10,000 items: FID is biased by the number of samples."""
        return distribution.metric_name("fid" if items >= 10_000 else "kid", items)

    def unavailable(self) -> str | None:
        weights = self.config.weights.inception
        network, reason = distribution.find_inception(weights, self.config.download)
        return reason if network is None else None

    @cached_property
    def space(self) -> ImageSpace:
        return image_space(self.config, device.resolve(self.config.device))

    @cached_property
    def problem(self) -> Problem:
        from crossflow.problem import MapShape, Problem

        shape = MapShape(self.space.channels, self.space.side, self.space.side)
        return Problem(shape, shape, self.space.patch, "identity", charge=None, null_rate=0.0)

    @cached_property
    def frozen(self) -> dict[str, Any]:
        return self.space.frozen

    def decode(self, target: Tensor) -> Sequence[Any]:
        return self.space.decode(target)

    def floor(self, train: Store) -> Sequence[np.ndarray]:
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
