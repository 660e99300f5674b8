"""Super-resolution on ImageNet (ILSVRC folders), 64 -> 256 pixels by default.

Photographs are cropped to the centre square and reduced to `task.size`; the source is `task.scale`
times smaller, bicubic with antialias, and enlarged again. Data, choices, predictions: docs/data.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.codecs.image import checked_size
from benchmarks.data import photos as reader
from benchmarks.data.files import stamp_of
from benchmarks.data.images import LR_FILTER, enlarge
from benchmarks.data.splits import choose, cut, digest, digest_all, refuse_copies, require_root
from benchmarks.metrics import images as metric
from benchmarks.metrics.score import Scored
from benchmarks.tasks.picture_pairs import PicturePairs, SuperResolution
from crossflow.errors import InputError

DEFAULTS = {"split": "val", "size": 256, "scale": 4}
LAYOUTS = {"folders": "<wnid>/*.JPEG", "webdataset": "*.tar"}


class ImagenetPhotographs(PicturePairs):
    """Photographs cropped and reduced to `task.size`."""

    def __init__(self, task: SuperResolutionImagenet, name: str, listed: reader.Photos) -> None:
        super().__init__(task, name, [photo.id for photo in listed.photos], listed.left_out)
        self.photos, self.unscored = listed.photos, listed.too_small
        self.size, self.scale = checked_size(task.config), task.scale
        self.split = str(task.config.task.split) if name == "test" else ""
        if self.size % self.scale:
            raise InputError(f"task.scale={self.scale}: must divide task.size={self.size}")
        self.pixels = {"size": self.size, "scale": self.scale, "border": self.border}
        self.pixels["low_resolution"] = LR_FILTER

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        low, target = self.pair(index)
        return enlarge(low, self.scale), target

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return reader.load_photo(self.photos[index], self.size, self.scale)

    @property
    def stamps(self) -> str:
        """Names, sizes and times of the files: reading 1.28 million takes too long."""
        return digest("\n".join(f"{photo.id} {stamp_of(photo.path)}" for photo in self.photos))

    def facts(self) -> dict[str, Any]:
        facts = {"part": self.name, "data": self.stamps, "train": self.task.train.stamps}
        return facts | self.pixels | self.task.space.frozen

    @cached_property
    def content(self) -> dict[str, str]:  # type: ignore[override]
        truth = digest_all(photo.path.read_bytes() for photo in self.photos)
        return {"items": digest("\n".join(self.ids)), "truth": truth}

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        scored = super().score(predictions)
        scored.counts["photographs_too_small"] = len(self.unscored)
        return scored


class SuperResolutionImagenet(SuperResolution[ImagenetPhotographs]):
    """See the file's docstring."""

    version = 1

    def items(self, part: str) -> ImagenetPhotographs:
        task = self.config.task
        if part != "test":
            photos = self._trained_and_held[part == "validation"]
            return ImagenetPhotographs(self, part, reader.Photos(photos, [], 0))
        metric.find_trunk(self.config.weights.lpips)
        self.unavailable()
        listed = self._photos(str(task.split), task.limit)
        if small := len(listed.too_small):
            self.report(f"{small} photographs left out, smaller than {task.size}", 1, 1)
        return ImagenetPhotographs(self, part, listed)

    @cached_property
    def _trained_and_held(self) -> tuple[list[reader.Photo], list[reader.Photo]]:
        task = self.config.task
        if task.split == "train":
            raise InputError("task.split=train: scored items must not be trained on; use val")
        photos = self._photos("train").photos
        scored = {photo.id: photo.path for photo in self.test.photos}
        # Of equal names alone: among millions of files many have one length.
        alike = (photo for photo in photos if photo.id in scored)
        refuse_copies(scored.values(), alike, "photographs")
        return cut(photos, lambda p: p.id, task.train_limit, task.validation_limit)

    def _photos(self, split: str, limit: int | None = None) -> reader.Photos:
        """Photographs of a split in the layout that `task.layout` names."""
        layout = choose("task.layout", self.config.task.layout or "folders", list(LAYOUTS))
        files = f"{{train,val}}/{LAYOUTS[layout]}"
        root = require_root(self.config, files, reader.IMAGENET_PUBLISHED)
        return reader.imagenet(root, split, checked_size(self.config), limit, layout)


TASK = SuperResolutionImagenet
