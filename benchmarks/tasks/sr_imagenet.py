"""Super-resolution on ImageNet (ILSVRC folders), 64 -> 256 pixels by default.

`task.root` holds {train,val}/<wnid>/*.JPEG (image-net.org). Photographs whose short side is below
`task.size` are left out and counted; the rest is cropped to the centre square and reduced to
`task.size`; the low-resolution picture is `task.scale` times smaller, bicubic with antialias. The
source is that picture enlarged again, taken as it is; the flow runs in pixel space. FID and KID
compare with the val photographs themselves. Validation is cut from the training split by image.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from benchmarks import device
from benchmarks.metrics import distribution
from benchmarks.metrics import images as metric
from benchmarks.tasks import imagenet_reader as reader
from benchmarks.tasks.encoded import Batches, open_store
from benchmarks.tasks.images import LR_FILTER, enlarge
from benchmarks.tasks.task import Prepared, Report, digest, require_root
from benchmarks.tasks.validation import cut
from crossflow.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.conf.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.pictures import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

DEFAULTS = {"split": "val", "size": 256, "scale": 4}
TOKENS = 16  # patches a side: the backbone's cost does not depend on the size of the pictures


class Pictures(Sequence[np.ndarray]):
    """Targets (truth) or enlarged low-resolution pictures of photographs, read when asked for."""

    def __init__(self, photos: Sequence[reader.Photo], size: int, scale: int, low: bool) -> None:
        self.photos, self.size, self.scale, self.low = photos, size, scale, low

    def __len__(self) -> int:
        return len(self.photos)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        small, target = reader.load(self.photos[index], self.size, self.scale)
        return enlarge(small, self.scale) if self.low else target


class ImagenetTruth:
    """Photographs of a split, cropped and reduced to `size`."""

    def __init__(
        self, photos: Sequence[reader.Photo], split: str, size: int, scale: int, config: Config
    ) -> None:
        self.photos, self.split, self.size, self.scale = list(photos), split, size, scale
        self.ids: Sequence[str] = [photo.id for photo in photos]
        self.pictures = Pictures(self.photos, size, scale, low=False)
        self.enlarged = Pictures(self.photos, size, scale, low=True)
        self.device, self.download = device.resolve(config.device), config.download
        self.weights = config.weights.inception

    def key(self) -> dict[str, Any]:
        files = (photo.path.read_bytes() for photo in self.photos)
        return {
            "split": self.split,
            "items": digest("\n".join(self.ids)),
            "truth": digest(*files),
            "protocols": {"images": metric.PROTOCOL, "distribution": distribution.PROTOCOL},
            "options": {"size": self.size, "scale": self.scale, "low_resolution": LR_FILTER},
        }

    def read(self, folder: Path) -> Sequence[np.ndarray]:
        from benchmarks.predictions import ImagePredictions

        return ImagePredictions(folder, self.ids, (self.size, self.size))

    def write(self, folder: Path, predictions: Sequence[np.ndarray]) -> None:
        from benchmarks.predictions import write_image

        for name, picture in zip(self.ids, predictions, strict=True):
            write_image(folder, name, picture)

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        from benchmarks.metrics.score import merge

        pairs = metric.image_scores(self.ids, predictions, self.pictures)
        return merge([pairs, self._distances(predictions)])

    def _distances(self, predictions: Sequence[np.ndarray]) -> Scored:
        """By Inception; unavailable with the reason where its weights are not."""
        from benchmarks.metrics.inception import inception_scores

        return inception_scores(
            predictions,
            self.pictures,
            weights=self.weights,
            download=self.download,
            device=self.device,
        )

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.enlarged[index], self.pictures[index]

    def cell(self, predictions: Sequence[np.ndarray], index: int) -> Cell:
        return predictions[index]


class SuperResolutionImagenet:
    """See the file's docstring."""

    version = 1
    uses: tuple[str, ...] = ("task.root", "task.scale", "weights.inception")

    def primary(self, items: int) -> str:
        """KID below 10,000 items: FID is biased by the number of samples."""
        return distribution.metric_name("fid" if items >= 10_000 else "kid", items)

    def problem(self, size: int) -> Problem:
        """3 x size x size pixels to pixels."""
        from crossflow.problem import MapShape, Problem

        shape = MapShape(3, size, size)
        return Problem(
            source=shape,
            target=shape,
            patch=max(2, size // TOKENS),
            encoder="identity",
            charge=None,
            null_rate=0.0,
        )

    def truth(self, config: Config, report: Report) -> ImagenetTruth:
        size, scale = _sizes(config)
        task = config.task
        found = reader.photos(_root(config), str(task.split), size, task.limit)
        if found.too_small:
            report(
                f"{found.too_small} {task.split} photographs left out, smaller than {size}", 1, 1
            )
        return ImagenetTruth(found.photos, str(task.split), size, scale, config)

    def prepare(self, config: Config, report: Report) -> Prepared:
        started = time.perf_counter()
        size, scale = _sizes(config)
        truth, problem, task = self.truth(config, report), self.problem(size), config.task
        if task.split == "train":
            raise InputError("task.split=train: scored items must not be trained on; use val")
        photos = reader.photos(_root(config), "train", size).photos
        chosen, held_out = cut(photos, lambda p: p.id, task.train_limit, task.validation_limit)

        def store(part: str, some: Sequence[reader.Photo], statistics: Any = None) -> Store:
            facts = {"task": "sr_imagenet", "version": self.version, "size": size, "scale": scale}
            facts |= {"part": part, "low_resolution": LR_FILTER}
            facts |= {"data": _data_digest(some), "train": _data_digest(chosen)}
            folder = Path(config.work) / "stores" / f"sr_imagenet-{part}"
            batches = _batches(some, size, scale)
            return open_store(folder, problem, facts, len(some), batches, statistics, report)

        train = store("train", chosen)
        return Prepared(
            problem=problem,
            train=train,
            validation=store("validation", held_out, train.statistics),
            test=store("test", truth.photos, train.statistics),
            truth=truth,
            validation_truth=ImagenetTruth(held_out, "validation", size, scale, config),
            decode=_decode,
            floor=lambda: truth.enlarged,
            frozen={},
            seconds={"stores": time.perf_counter() - started},
        )


def _root(config: Config) -> Path:
    return require_root(config, "{train,val}/<wnid>/*.JPEG", reader.PUBLISHED)


def _sizes(config: Config) -> tuple[int, int]:
    """(size, scale), checked: the size in whole patches, the scale a divisor."""
    size, scale = config.task.size, config.task.scale
    if size is None or size % TOKENS or size < 2 * TOKENS:
        raise InputError(f"task.size={size}: must be a multiple of {TOKENS}, at least {2 * TOKENS}")
    if scale is None or scale < 2 or size % scale:
        raise InputError(f"task.scale={scale}: must divide task.size={size} and be at least 2")
    return size, scale


def _data_digest(photos: Sequence[reader.Photo]) -> str:
    """Names, sizes and times of the files: reading 1.28 million to see a change takes too long."""
    stats = ((photo.id, photo.path.stat()) for photo in photos)
    return digest("\n".join(f"{name} {s.st_size} {s.st_mtime_ns}" for name, s in stats))


def _batches(photos: Sequence[reader.Photo], size: int, scale: int) -> Batches:
    """Rows of a store: enlarged low-resolution pictures and targets, uint8."""

    def batches(start: int, stop: int) -> Iterator[dict[str, Any]]:
        for row in range(start, stop):
            small, target = reader.load(photos[row], size, scale)
            yield {
                "target": target.transpose(2, 0, 1)[None],
                "source": enlarge(small, scale).transpose(2, 0, 1)[None],
                "groups": [row + 1],
                "ids": [photos[row].id],
            }

    return batches


def _decode(target: Tensor) -> list[np.ndarray]:
    """Pixels 0..255, rounded to 8 bits."""
    pictures = target.clamp(0, 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return list(np.ascontiguousarray(pictures))


TASK = SuperResolutionImagenet()
