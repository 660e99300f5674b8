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

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from benchmarks.codecs.image import checked_size
from benchmarks.data import photos as reader
from benchmarks.data.files import stamp_of
from benchmarks.data.images import LR_FILTER, enlarge
from benchmarks.data.splits import choose, cut, digest, digest_all, require_root
from benchmarks.metrics import distribution
from benchmarks.metrics import images as metric
from benchmarks.tasks.picture_pairs import PicturePairs, SuperResolution
from crossflow.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell

DEFAULTS = {"split": "val", "size": 256, "scale": 4}
LAYOUTS = {"folders": "<wnid>/*.JPEG", "webdataset": "*.tar"}


class ImagenetPhotographs(PicturePairs):
    """Photographs cropped and reduced to `task.size`."""

    task: SuperResolutionImagenet

    def __init__(
        self,
        task: SuperResolutionImagenet,
        name: str,
        photos: Sequence[reader.Photo],
        too_small: Sequence[str] = (),
        left_out: int = 0,
    ) -> None:
        super().__init__(task, name, [photo.id for photo in photos])
        self.photos, self.size = list(photos), checked_size(task.config)
        self.unscored, self.left_out = too_small, left_out
        self.shapes = [(self.size, self.size)] * len(self.photos)
        if self.size % task.scale:
            raise InputError(f"task.scale={task.scale}: must divide task.size={self.size}")
        self.pixels = {"size": self.size, "scale": task.scale, "border": self.border}
        self.pixels["low_resolution"] = LR_FILTER

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        low, target = reader.load_photo(self.photos[index], self.size, self.task.scale)
        return enlarge(low, self.task.scale), target

    @property
    def stamps(self) -> str:
        """Names, sizes and times of the files: reading 1.28 million takes too long."""
        return digest("\n".join(f"{photo.id} {stamp_of(photo.path)}" for photo in self.photos))

    def facts(self) -> dict[str, Any]:
        facts = {"size": self.size, "scale": self.task.scale, "part": self.name}
        facts |= {"low_resolution": LR_FILTER, **self.task.space.frozen}
        return facts | {"data": self.stamps, "train": self.task.train.stamps}

    @cached_property
    def content(self) -> dict[str, str]:  # type: ignore[override]
        truth = digest_all(photo.path.read_bytes() for photo in self.photos)
        return {"items": digest("\n".join(self.ids)), "truth": truth}

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        scored = super().score(predictions)
        scored.counts["photographs_too_small"] = len(self.unscored)
        scored.counts["files_left_out"] = self.left_out
        return scored

    def pair(self, index: int) -> tuple[Cell, Cell]:
        return reader.load_photo(self.photos[index], self.size, self.task.scale)


class SuperResolutionImagenet(SuperResolution[ImagenetPhotographs]):
    """See the file's docstring."""

    version = 1

    def items(self, part: str) -> ImagenetPhotographs:
        if part != "test":
            return ImagenetPhotographs(self, part, self._trained_and_held[part == "validation"])
        task, weights = self.config.task, self.config.weights
        metric.find_trunk(weights.lpips)
        distribution.find_inception(weights.inception, self.config.download)
        listed = self._photos(str(task.split), task.limit)
        for count, what in (
            (len(listed.too_small), f"photographs left out, smaller than {task.size}"),
            (listed.left_out, "files left out, no pictures by suffix"),
        ):
            if count:
                self.report(f"{count} {task.split} {what}", 1, 1)
        return ImagenetPhotographs(self, part, listed.photos, listed.too_small, listed.left_out)

    @cached_property
    def _trained_and_held(self) -> tuple[list[reader.Photo], list[reader.Photo]]:
        task = self.config.task
        if task.split == "train":
            raise InputError("task.split=train: scored items must not be trained on; use val")
        photos = self._photos("train").photos
        return cut(photos, lambda p: p.id, task.train_limit, task.validation_limit)

    def _photos(self, split: str, limit: int | None = None) -> reader.Photos:
        """Photographs of a split in the layout that `task.layout` names."""
        layout = choose("task.layout", self.config.task.layout or "folders", list(LAYOUTS))
        files = f"{{train,val}}/{LAYOUTS[layout]}"
        root = require_root(self.config, files, reader.IMAGENET_PUBLISHED)
        return reader.imagenet(root, split, checked_size(self.config), limit, layout)


TASK = SuperResolutionImagenet
