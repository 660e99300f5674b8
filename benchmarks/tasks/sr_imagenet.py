"""Super-resolution on ImageNet (ILSVRC folders), 64 -> 256 pixels by default.

`task.root` holds {train,val}/<wnid>/*.JPEG (image-net.org), or with `task.layout=webdataset`
{train,val}/*.tar (see `shards`). Photographs whose short side is below
`task.size` are left out and counted; the rest is cropped to the centre square and reduced to
`task.size`; the low-resolution picture is `task.scale` times smaller, bicubic with antialias. The
source is that picture enlarged again, taken as it is.

The flow runs in pixel space, or with `weights.autoencoder` from the latent of the enlarged picture
to that of the photograph (the paper's way). PSNR and SSIM are of whole pictures, RGB and Y
(`task.border` cuts some pixels first); LPIPS needs `weights.lpips`; FID, KID, IS, precision and
recall need `weights.inception` and compare with the val photographs themselves. Validation is cut
from the training split by image. Predictions: `<wnid>/<name>.png`, 8-bit RGB of `task.size`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.config import device
from benchmarks.data import photos as reader
from benchmarks.data.images import LR_FILTER, OnDemand, enlarge
from benchmarks.data.splits import Report, choose, cut, digest, require_root
from benchmarks.metrics import distribution, inception, lpips
from benchmarks.tasks import sr_pairs
from benchmarks.tasks.encoded import open_store
from benchmarks.tasks.sr_pairs import Row
from benchmarks.tasks.task import Former, Prepared
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.store import Store

DEFAULTS = {"split": "val", "size": 256, "scale": 4}
LAYOUTS = {"folders": "<wnid>/*.JPEG", "webdataset": "*.tar"}
PROTOCOLS = {**sr_pairs.PROTOCOLS, "distribution": distribution.PROTOCOL}


class ImagenetTruth:
    """Photographs of a split, cropped and reduced to `size`.

    too_small: ids of the split that are not scored; predictions for them are let be. left_out:
    files of its folder that are no pictures by their suffix.
    """

    def __init__(
        self,
        photos: Sequence[reader.Photo],
        split: str,
        config: Config,
        too_small: Sequence[str] = (),
        left_out: int = 0,
    ) -> None:
        self.photos, self.split, self.config = list(photos), split, config
        self.too_small, self.left_out = too_small, left_out
        self.size, self.scale = _sizes(config)
        self.border = config.task.border or 0
        self.ids: Sequence[str] = [photo.id for photo in photos]
        self.pictures = OnDemand(lambda index: self._pair(index)[1], len(self.photos))
        self.enlarged = OnDemand(lambda index: self._pair(index)[0], len(self.photos))

    def _pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return _load(self.photos[index], self.size, self.scale)

    @cached_property
    def _key(self) -> dict[str, Any]:
        files = (photo.path.read_bytes() for photo in self.photos)
        weights = self.config.weights
        return {
            "split": self.split,
            "items": digest("\n".join(self.ids)),
            "truth": digest(*files),
            "protocols": PROTOCOLS,
            "options": {
                **self._pixels,
                "lpips": lpips.used_digest(weights.lpips),
                "inception": inception.used_digest(weights.inception, self.config.download),
            },
        }

    @property
    def _pixels(self) -> dict[str, Any]:
        """What decides which pixels are compared."""
        return {
            "size": self.size,
            "scale": self.scale,
            "low_resolution": LR_FILTER,
            "border": self.border,
        }

    def key(self) -> dict[str, Any]:
        return dict(self._key)

    def read(self, folder: Path) -> Sequence[np.ndarray]:
        from benchmarks.data.predictions import ImagePredictions

        return ImagePredictions(folder, self.ids, (self.size, self.size), self.too_small)

    def write(self, folder: Path, predictions: Sequence[np.ndarray]) -> None:
        from benchmarks.data.predictions import write_image

        for name, picture in zip(self.ids, predictions, strict=True):
            write_image(folder, name, picture)

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        from benchmarks.metrics.score import merge

        pairs = sr_pairs.pair_scores(self.ids, predictions, self.pictures, self.border, self.config)
        scored = merge([pairs, self._distances(predictions)])
        scored.counts["photographs_too_small"] = len(self.too_small)
        scored.counts["files_left_out"] = self.left_out
        return scored

    def _distances(self, predictions: Sequence[np.ndarray]) -> Scored:
        """By Inception; unavailable with the reason where its weights are not."""
        import PIL

        # What decides the reference pixels: files, sizes, and the program that decodes JPEG.
        content = {name: self._key[name] for name in ("items", "truth")} | self._pixels
        return inception.inception_scores(
            predictions,
            self.pictures,
            weights=self.config.weights.inception,
            download=self.config.download,
            device=device.resolve(self.config.device),
            cache=Path(self.config.work) / "features",
            cache_key=digest(json.dumps(content, sort_keys=True), PIL.__version__),
        )

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.enlarged[index], self.pictures[index]

    def cell(self, predictions: Sequence[np.ndarray], index: int) -> Cell:
        return predictions[index]

    def pair(self, index: int) -> tuple[Cell, Cell]:
        return reader.load_photo(self.photos[index], self.size, self.scale)


class SuperResolutionImagenet(Former):
    """See the file's docstring."""

    version = 1
    uses: tuple[str, ...] = (
        *("task.root", "task.layout", "task.scale", "task.border"),
        *("weights.autoencoder", "weights.inception", "weights.lpips"),
    )

    def primary(self, items: int) -> str:
        """KID below 10,000 items: FID is biased by the number of samples."""
        return distribution.metric_name("fid" if items >= 10_000 else "kid", items)

    def truth(self, config: Config, report: Report) -> ImagenetTruth:
        size, _ = _sizes(config)
        task, weights = config.task, config.weights
        lpips.find_trunk(weights.lpips)
        inception.find_inception(weights.inception, config.download)
        found = _photos(config, str(task.split), size, task.limit)
        if found.too_small:
            left = len(found.too_small)
            report(f"{left} {task.split} photographs left out, smaller than {size}", 1, 1)
        if found.left_out:
            report(f"{found.left_out} {task.split} files left out, no pictures by suffix", 1, 1)
        split = str(task.split)
        return ImagenetTruth(found.photos, split, config, found.too_small, found.left_out)

    def prepared(self, config: Config, report: Report) -> Prepared:
        started = time.perf_counter()
        size, scale = _sizes(config)
        truth, task = self.truth(config, report), config.task
        if task.split == "train":
            raise InputError("task.split=train: scored items must not be trained on; use val")
        photos = _photos(config, "train", size).photos
        chosen, held_out = cut(photos, lambda p: p.id, task.train_limit, task.validation_limit)
        space = sr_pairs.space(config)
        problem = space.problem(size)
        network, reason = inception.find_inception(config.weights.inception, config.download)

        def store(part: str, some: Sequence[reader.Photo], statistics: Any = None) -> Store:
            facts = {"task": "sr_imagenet", "version": self.version, "size": size, "scale": scale}
            facts |= {"part": part, "low_resolution": LR_FILTER, **space.frozen}
            facts |= {"data": _data_digest(some), "train": _data_digest(chosen)}
            folder = Path(config.work) / "stores" / f"sr_imagenet-{part}"
            batches = space.batches(_rows(some, size, scale))
            return open_store(folder, problem, facts, len(some), batches, statistics, report)

        train = store("train", chosen)
        return Prepared(
            problem=problem,
            train=train,
            validation=store("validation", held_out, train.statistics),
            test=store("test", truth.photos, train.statistics),
            truth=truth,
            validation_truth=ImagenetTruth(held_out, "validation", config),
            decode=space.decode,
            floor=lambda: truth.enlarged,
            frozen=space.frozen,
            seconds={"stores": time.perf_counter() - started},
            unscored=reason if network is None else None,
        )


def _photos(config: Config, split: str, size: int, limit: int | None = None) -> reader.Photos:
    """Photographs of a split in the layout that `task.layout` names."""
    layout = choose("task.layout", config.task.layout or "folders", list(LAYOUTS))
    root = require_root(config, f"{{train,val}}/{LAYOUTS[layout]}", reader.IMAGENET_PUBLISHED)
    return reader.imagenet(root, split, size, limit, layout)


def _sizes(config: Config) -> tuple[int, int]:
    """(size, scale), checked: the scale a divisor."""
    size, scale = sr_pairs.side_and_scale(config)
    if size % scale:
        raise InputError(f"task.scale={scale}: must divide task.size={size}")
    return size, scale


def _load(photo: reader.Photo, size: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The enlarged low-resolution picture and the true one."""
    small, target = reader.load_photo(photo, size, scale)
    return enlarge(small, scale), target


def _rows(photos: Sequence[reader.Photo], size: int, scale: int) -> list[Row]:
    return [
        Row(photo.id, number, partial(_load, photo, size, scale))
        for number, photo in enumerate(photos, start=1)
    ]


def _data_digest(photos: Sequence[reader.Photo]) -> str:
    """Names, sizes and times of the files: reading 1.28 million to see a change takes too long."""
    stats = ((photo.id, photo.path.stat()) for photo in photos)
    return digest("\n".join(f"{name} {s.st_size} {s.st_mtime_ns}" for name, s in stats))


TASK = SuperResolutionImagenet
