"""Super-resolution in the embedded world: 16 -> 64 pixels, in the autoencoder's latent space.

The source is the latent of the bicubically upsampled low-resolution picture, taken as it is (paper
section 5.3: no encoder, no added noise); the target is the latent of the picture. Fine stripes lie
beyond the low resolution's Nyquist limit, so that a mean is blurred and a posterior is not: KID
ranks, PSNR stands beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.images import enlarge, shrink
from benchmarks.data.splits import Report, choose
from benchmarks.metrics import distribution
from benchmarks.metrics import images as metric
from benchmarks.tasks.encoded import in_batches, open_store
from benchmarks.tasks.tabletop_pictures import EXTRACTOR, set_distances
from benchmarks.tasks.tabletop_world import (
    RenderedSplit,
    decode,
    frozen_autoencoder,
    store_facts,
    truth_key,
    world,
)
from benchmarks.tasks.task import Former, Prepared

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

DEFAULTS = {"split": "iid", "size": 64, "scale": 4}


class SuperResolutionTruth:
    """Pictures of a split at `size` pixels, and what is left of them at 1 / `scale`."""

    def __init__(self, split: RenderedSplit, size: int, scale: int) -> None:
        self.split, self.size, self.scale = split, size, scale
        self.ids: Sequence[str] = split.ids

    @cached_property
    def _pictures(self) -> np.ndarray:
        return np.array(self.split.pictures(self.size))

    @cached_property
    def upsampled(self) -> list[np.ndarray]:
        """The bicubic pictures (size, size, 3): source of the flow and floor of the table."""
        return [upsample(p.transpose(1, 2, 0), self.scale) for p in self._pictures]

    def key(self) -> dict[str, Any]:
        from benchmarks.tabletop import cards

        protocols = {"images": metric.PROTOCOL, "distribution": distribution.PROTOCOL}
        options: dict[str, Any] = {"size": self.size, "scale": self.scale}
        options["evaluator"] = cards.read_card("evaluator")["sha256"]
        return truth_key(self.split, protocols, **options)

    def read(self, folder: Path) -> Sequence[np.ndarray]:
        from benchmarks.data.predictions import ImagePredictions

        return ImagePredictions(folder, self.ids, (self.size, self.size))

    def write(self, folder: Path, predictions: Sequence[np.ndarray]) -> None:
        from benchmarks.data.predictions import write_image

        for name, picture in zip(self.ids, predictions, strict=True):
            write_image(folder, name, picture)

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        from benchmarks.metrics.score import merge

        truths = list(self._pictures.transpose(0, 2, 3, 1))
        pairs = metric.image_scores(self.ids, predictions, truths)
        return merge([pairs, set_distances(predictions, self._pictures, self.split.device)])

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.upsampled[index], self._pictures[index].transpose(1, 2, 0)

    def cell(self, predictions: Sequence[np.ndarray], index: int) -> Cell:
        return predictions[index]

    def pair(self, index: int) -> tuple[Cell, Cell]:
        picture = self._pictures[index].transpose(1, 2, 0)
        return shrink(picture, self.scale), picture


class SuperResolutionTabletop(Former):
    """See the file's docstring."""

    version = 1
    uses: tuple[str, ...] = ("task.scale",)

    def primary(self, items: int) -> str:
        return distribution.metric_name("kid", items, EXTRACTOR)

    def problem(self, size: int) -> Problem:
        """Latent of the upsampled picture to latent of the picture."""
        from crossflow.problem import MapShape, Problem

        shape = MapShape(16, size // 8, size // 8)
        return Problem(
            source=shape, target=shape, patch=1, encoder="identity", charge=None, null_rate=0.0
        )

    def truth(self, config: Config, report: Report) -> SuperResolutionTruth:
        return SuperResolutionTruth(world(config, report).test, *_sizes(config))

    def prepared(self, config: Config, report: Report) -> Prepared:
        started = time.perf_counter()
        size, scale = _sizes(config)
        splits, problem = world(config, report), self.problem(size)

        def store(split: RenderedSplit, statistics: Any = None) -> Store:
            facts = store_facts("sr_tabletop", self.version, splits, split)
            facts |= {"size": size, "scale": scale, **frozen_autoencoder()}
            folder = Path(config.work) / "stores" / f"sr-{split.name}"
            batches = in_batches(lambda: _rows(split, size, scale), 512)
            return open_store(folder, problem, facts, split.count, batches, statistics, report)

        train = store(splits.train)
        truth = SuperResolutionTruth(splits.test, size, scale)
        return Prepared(
            problem=problem,
            train=train,
            validation=store(splits.validation, train.statistics),
            test=store(splits.test, train.statistics),
            truth=truth,
            validation_truth=SuperResolutionTruth(splits.validation, size, scale),
            decode=lambda target: list(decode(target, splits.train.device)),
            floor=lambda: truth.upsampled,
            frozen={"autoencoder": frozen_autoencoder()},
            seconds={"stores": time.perf_counter() - started},
        )


def _sizes(config: Config) -> tuple[int, int]:
    """(size, scale): the pictures' side, and how much smaller the source is."""
    size = choose("task.size", config.task.size, (32, 64))
    return size, choose("task.scale", config.task.scale, (2, 4))


def upsample(picture: np.ndarray, scale: int) -> np.ndarray:
    """`picture` (h, w, 3) bicubically reduced by `scale` with antialias, and enlarged again."""
    return enlarge(shrink(picture, scale), scale)


def _rows(split: RenderedSplit, size: int, scale: int) -> Callable[[slice], dict[str, Any]]:
    """Rows of a store: latents of upsampled and of true pictures."""
    pictures = split.pictures(size)
    small = np.stack([upsample(p.transpose(1, 2, 0), scale).transpose(2, 0, 1) for p in pictures])
    target = split.latents(f"hr{size}", pictures)
    source = split.latents(f"lr{size}x{scale}", small)

    def batch(rows: slice) -> dict[str, Any]:
        return {
            "target": np.array(target[rows]),
            "source": np.array(source[rows]),
            "groups": split.indices[rows],
            "ids": split.ids[rows],
        }

    return batch


TASK = SuperResolutionTabletop
