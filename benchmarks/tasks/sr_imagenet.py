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
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.codecs.image import checked_size
from benchmarks.config import device
from benchmarks.data import photos as reader
from benchmarks.data.images import LR_FILTER, enlarge
from benchmarks.data.splits import choose, cut, digest, require_root
from benchmarks.metrics import distribution, inception, lpips
from benchmarks.tasks.sr_real import PROTOCOLS, Photographs, SuperResolution
from crossflow.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell

DEFAULTS = {"split": "val", "size": 256, "scale": 4}
LAYOUTS = {"folders": "<wnid>/*.JPEG", "webdataset": "*.tar"}


class ImagenetPhotographs(Photographs):
    """Photographs cropped and reduced to `task.size`."""

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

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        low, target = reader.load_photo(self.photos[index], self.size, self.task.scale)
        return enlarge(low, self.task.scale), target

    def row(self, number: int) -> tuple[str, int, tuple[np.ndarray, np.ndarray]]:
        return self.ids[number], number + 1, self.load(number)

    @property
    def stamps(self) -> str:
        """Names, sizes and times of the files: reading 1.28 million takes too long."""
        stats = ((photo.id, photo.path.stat()) for photo in self.photos)
        return digest("\n".join(f"{name} {s.st_size} {s.st_mtime_ns}" for name, s in stats))

    def facts(self) -> dict[str, Any]:
        facts = {"size": self.size, "scale": self.task.scale, "part": self.name}
        facts |= {"low_resolution": LR_FILTER, **self.task.space.frozen}
        return facts | {"data": self.stamps, "train": self.task.train.stamps}

    @cached_property
    def _content(self) -> dict[str, str]:
        files = (photo.path.read_bytes() for photo in self.photos)
        return {"items": digest("\n".join(self.ids)), "truth": digest(*files)}

    @property
    def _pixels(self) -> dict[str, Any]:
        """What decides which pixels are compared."""
        pixels = {"size": self.size, "scale": self.task.scale, "border": self.border}
        return pixels | {"low_resolution": LR_FILTER}

    def key(self) -> dict[str, Any]:
        weights, download = self.task.config.weights, self.task.config.download
        return {
            "split": self.task.config.task.split if self.name == "test" else self.name,
            **self._content,
            "protocols": {**PROTOCOLS, "distribution": distribution.PROTOCOL},
            "options": {
                **self._pixels,
                "lpips": lpips.used_digest(weights.lpips),
                "inception": inception.used_digest(weights.inception, download),
            },
        }

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        """Distances by Inception are unavailable, with the reason, where its weights are not."""
        import PIL

        from benchmarks.metrics.score import merge

        config = self.task.config
        # What decides the reference pixels: files, sizes, and the program that decodes JPEG.
        content = json.dumps(self._content | self._pixels, sort_keys=True)
        distances = inception.inception_scores(
            predictions,
            self.pictures,
            weights=config.weights.inception,
            download=config.download,
            device=device.resolve(config.device),
            cache=Path(config.work) / "features",
            cache_key=digest(content, PIL.__version__),
        )
        scored = merge([self.pair_scores(predictions), distances])
        scored.counts["photographs_too_small"] = len(self.unscored)
        scored.counts["files_left_out"] = self.left_out
        return scored

    def pair(self, index: int) -> tuple[Cell, Cell]:
        return reader.load_photo(self.photos[index], self.size, self.task.scale)


class SuperResolutionImagenet(SuperResolution[ImagenetPhotographs]):
    """See the file's docstring."""

    version, uses = 1, (*SuperResolution.uses, "weights.inception")

    def primary(self, items: int) -> str:
        """KID below 10,000 items: FID is biased by the number of samples."""
        return distribution.metric_name("fid" if items >= 10_000 else "kid", items)

    def items(self, part: str) -> ImagenetPhotographs:
        if part != "test":
            return ImagenetPhotographs(self, part, self._trained_and_held[part == "validation"])
        task, weights = self.config.task, self.config.weights
        lpips.find_trunk(weights.lpips)
        inception.find_inception(weights.inception, self.config.download)
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

    def unscored(self) -> str | None:
        weights = self.config.weights.inception
        network, reason = inception.find_inception(weights, self.config.download)
        return reason if network is None else None


TASK = SuperResolutionImagenet
