"""Super-resolution of any folder of photographs at their own sizes: Set5, Set14, BSD100, Urban100.

`task.root` holds HR/NAME.png and, if they were published, the small versions LR/NAME.png; other
ways in which such sets are published are `task.layout` (see photos: folders, basicsr, selfexsr,
div2k). Given small versions are used; without them they are made by Pillow's bicubic, which is not
MATLAB's: the score_key says which. Sides are cut at the bottom and right to multiples of
`task.scale` (4), the size that predictions `NAME.png` must have.

Scores are those of the field: PSNR and SSIM on Y (primary: `psnr_y`) and RGB of 8-bit pictures,
`task.border` pixels cut from each side (default: the scale); LPIPS of whole pictures.

Training takes squares of `task.size` from train/HR (and train/LR where the test pictures have small
versions), as many as fit into a photograph's area, drawn from its name; `task.train_limit` and
`task.validation_limit` count squares, validation is cut by photograph. Test pictures go through
the flow in overlapping tiles of `task.size` (see sr_tiles); the number of network calls in a record
is that of one tile. Pixel space, or with `weights.autoencoder` its latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.codecs.image import checked_size
from benchmarks.data import photos as reader
from benchmarks.data import sr_tiles
from benchmarks.data.files import first_few
from benchmarks.data.images import LR_FILTER, OnDemand, spread
from benchmarks.data.splits import choose, cut, digest, refuse_shared, require_root
from benchmarks.metrics import images as metric
from benchmarks.metrics.score import per_item
from benchmarks.metrics.weights import used_digest
from benchmarks.tasks.picture_pairs import PROTOCOLS, PicturePairs, SuperResolution
from crossflow.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell

DEFAULTS = {"split": "test", "size": 128, "scale": 4, "layout": "folders"}
SHOWN = 256  # pixels a side in pictures


class FolderPhotographs(PicturePairs):
    """Photographs at their own sizes. Predictions are whole pictures, or the tiles of all of them.

    Tiles come in the order of the pictures and of `sr_tiles.corners`: they are the store's rows.
    """

    task: SuperResolutionFolder

    def __init__(
        self, task: SuperResolutionFolder, name: str, pairs: Sequence[reader.Pair]
    ) -> None:
        super().__init__(task, name, [pair.id for pair in pairs])
        self.pairs, self.side = list(pairs), checked_size(task.config)
        self.shapes = [pair.size() for pair in pairs]
        self.tiles = [
            (index, corner)
            for index, shape in enumerate(self.shapes)
            for corner in sr_tiles.corners(shape, self.side)
        ]

    @property
    def row_count(self) -> int:
        return len(self.tiles)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return reader.load_pair(self.pairs[index])

    def row(self, number: int) -> tuple[str, int, tuple[np.ndarray, np.ndarray]]:
        index, corner = self.tiles[number]
        source, target = (sr_tiles.cut(p, corner, self.side) for p in self.load(index))
        return f"{self.ids[index]}#{corner[0]},{corner[1]}", index, (source, target)

    @property
    def stamps(self) -> str:
        return digest("\n".join(pair.stamp() for pair in self.pairs))

    def facts(self) -> dict[str, Any]:
        facts = {"size": self.side, "part": self.name, **self.task.space.frozen}
        facts |= {"data": self.stamps, "train": self.task.train.stamps}
        return facts | {"low_resolution": LR_FILTER, "tiles": sr_tiles.RULE}

    @property
    def border(self) -> int:
        given = self.task.config.task.border
        return self.task.scale if given is None else given

    def key(self) -> dict[str, Any]:
        return dict(self._key)

    @cached_property
    def _key(self) -> dict[str, Any]:
        """Pixels count, not files: the same pictures have the same key in every layout."""
        count = len(self.ids)
        low = LR_FILTER
        if not reader.made(self.pairs):
            # Enlarging is a function of the small pictures; this also reads every file once.
            low = "given: " + digest(*per_item(lambda i: digest(self.sources[i]), count))
        return {
            "split": self.name,
            "items": digest("\n".join(self.ids)),
            "truth": digest(*per_item(lambda i: digest(self.pictures[i]), count)),
            "protocols": PROTOCOLS,
            "options": {
                "scale": self.task.scale,
                "border": self.border,
                "low_resolution": low,
                "lpips": used_digest(metric.find_trunk(self.task.config.weights.lpips)),
            },
        }

    def score(self, predictions: Sequence[Any]) -> Scored:
        return self.pair_scores(self.whole(predictions))

    def whole(self, predictions: Sequence[Any]) -> Sequence[np.ndarray]:
        """Whole pictures; tiles are blended when a picture is asked for."""
        if not isinstance(predictions[0], sr_tiles.Tile):
            return predictions
        if len(predictions) != len(self.tiles):
            raise ValueError(f"{len(predictions)} tiles, the pictures have {len(self.tiles)}")
        counts = [len(list(tiles)) for _, tiles in groupby(self.tiles, lambda tile: tile[0])]
        starts = [0, *accumulate(counts)]

        def make(index: int) -> np.ndarray:
            tiles = predictions[starts[index] : starts[index + 1]]
            return sr_tiles.blend([t.pixels for t in tiles], self.shapes[index], self.side)

        return OnDemand(make, len(self.ids))

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return _middle(self.sources[index]), _middle(self.pictures[index])

    def cell(self, predictions: Sequence[Any], index: int) -> Cell:
        return _middle(self.whole(predictions)[index])

    def pair(self, index: int) -> tuple[Cell, Cell]:
        return reader.small(self.pairs[index]), self.pictures[index]


class SuperResolutionFolder(SuperResolution[FolderPhotographs]):
    """See the file's docstring."""

    version = 1
    uses = tuple(name for name in SuperResolution.uses if name != "weights.inception")

    def primary(self, items: int) -> str:
        return "psnr_y"

    def unavailable(self) -> str | None:
        return None

    def items(self, part: str) -> FolderPhotographs:
        if part == "test":
            choose("task.split", self.config.task.split, ("test",))
            metric.find_trunk(self.config.weights.lpips)
            pairs = spread(self._pairs("test"), self.config.task.limit)
        else:
            pairs = self._trained_and_held[part == "validation"]
        return FolderPhotographs(self, part, pairs)

    def _pairs(self, part: str) -> list[reader.Pair]:
        layout = choose("task.layout", self.config.task.layout, list(reader.LAYOUTS))
        files = f"photographs (task.layout={layout})"
        root = require_root(self.config, files, reader.FOLDERS_PUBLISHED)
        return reader.pairs(root, layout, part, self.scale)

    @cached_property
    def _trained_and_held(self) -> tuple[list[reader.Pair], list[reader.Pair]]:
        """Squares of the photographs that hold one; smaller ones are left out and counted.

        InputError where none does, or where training would see another degradation than the test.
        """
        task, test, size = self.config.task, self.test.pairs, checked_size(self.config)
        every = self._pairs("train")
        refuse_shared(reader.same_files(test, every), "photographs")
        if reader.made(test) != reader.made(every):
            has, lacks = ("training", "test") if reader.made(test) else ("test", "training")
            raise InputError(
                f"the {has} photographs have small versions, the {lacks} ones have not: they would "
                "be degraded in two ways; give both, or neither"
            )
        kept = [pair for pair in every if min(pair.size()) >= size]
        if not kept:
            raise InputError(
                f"task.size={size}: all {len(every)} training photographs are smaller, "
                f"{first_few([pair.id for pair in every])}"
            )
        if len(kept) < len(every):
            left = len(every) - len(kept)
            self.report(f"{left} training photographs left out, smaller than {size}", 1, 1)
        parts = cut(kept, lambda pair: pair.id, None, None)
        limits = task.train_limit, task.validation_limit
        train, held = (
            spread([square for photo in part for square in reader.crops(photo, size)], limit)
            for part, limit in zip(parts, limits, strict=True)
        )
        return train, held

    @cached_property
    def frozen(self) -> dict[str, Any]:
        """How test pictures are covered, too, is part of what a fair comparison shares."""
        overlap = f"at least 1/{sr_tiles.OVERLAP}"
        rule = {"side": self.space.size, "overlap": overlap, "rule": sr_tiles.RULE}
        return {**self.space.frozen, "tiling": {**rule, "sha256": digest(str(rule))}}

    def decode(self, target: Tensor) -> list[sr_tiles.Tile]:
        return [sr_tiles.Tile(pixels) for pixels in self.space.decode(target)]


def _middle(picture: np.ndarray) -> np.ndarray:
    """The middle square of a picture, for a grid."""
    side = min(*picture.shape[:2], SHOWN)
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


TASK = SuperResolutionFolder
