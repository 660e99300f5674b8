"""Super-resolution of any folder of photographs at their own sizes: Set5, Set14, BSD100, Urban100.

Sides are cut at the bottom and right to multiples of `task.scale`. Training takes squares of
`task.size`; test pictures go through the flow in overlapping tiles of that size (see `photos`).
Data, choices, predictions: docs/data.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.codecs.image import checked_size
from benchmarks.data import photos as reader
from benchmarks.data.files import first_few
from benchmarks.data.images import LR_FILTER, OnDemand, spread
from benchmarks.data.splits import choose, cut, digest, refuse_copies, require_root
from benchmarks.metrics import images as metric
from benchmarks.metrics.score import Scored, per_item
from benchmarks.metrics.weights import used_digest
from benchmarks.records.samples import Cell
from benchmarks.tasks.picture_pairs import PROTOCOLS, PicturePairs, SuperResolution
from crossflow.errors import InputError

DEFAULTS = {"split": "test", "size": 128, "scale": 4, "layout": "folders"}
SHOWN = 256  # pixels a side in pictures


class FolderPhotographs(PicturePairs):
    """Photographs at their own sizes. Predictions are whole pictures, or the tiles of all of them.

    Tiles come in the order of the pictures and of `reader.corners`: they are the store's rows.
    """

    task: SuperResolutionFolder

    def __init__(
        self, task: SuperResolutionFolder, name: str, pairs: list[reader.Pair], left_out: int = 0
    ) -> None:
        super().__init__(task, name, [pair.id for pair in pairs], left_out)
        self.pairs, self.side = pairs, checked_size(task.config)
        self.shapes = [pair.size() for pair in pairs]
        corners = [reader.corners(shape, self.side) for shape in self.shapes]
        self.tiles = [(i, corner) for i, several in enumerate(corners) for corner in several]
        self.starts = np.cumsum([0, *map(len, corners)]).tolist()  # first tile of each picture
        self.groups = [index for index, _ in self.tiles]

    @property
    def row_ids(self) -> list[str]:
        return [f"{self.ids[index]}#{top},{left}" for index, (top, left) in self.tiles]

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return reader.load_pair(self.pairs[index])

    def load_row(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        index, corner = self.tiles[row]
        source, target = (reader.cut(p, corner, self.side) for p in self.load(index))
        return source, target

    @property
    def stamps(self) -> str:
        return digest("\n".join(pair.stamp() for pair in self.pairs))

    def facts(self) -> dict[str, Any]:
        made = {"size": self.side, "low_resolution": LR_FILTER, "tiles": reader.TILE_RULE}
        made |= {"part": self.name, "data": self.stamps, "train": self.task.train.stamps}
        return {**made, **self.task.space.frozen}

    @property
    def border(self) -> int:
        given = self.task.config.task.border
        return self.task.scale if given is None else given

    def key(self) -> dict[str, Any]:
        """Pixels count, not files: the same pictures have the same key in every layout."""
        count, low = len(self.ids), LR_FILTER
        if self.pairs[0].low is not None:
            # Enlarging is a function of the small pictures; this also reads every file once.
            low = "given: " + digest(*per_item(lambda i: digest(self.sources[i]), count))
        truth = digest(*per_item(lambda i: digest(self.pictures[i]), count))
        trunk = used_digest(metric.find_trunk(self.task.config.weights.lpips))
        options: dict[str, Any] = {"scale": self.task.scale, "low_resolution": low, "lpips": trunk}
        return self.named(truth, PROTOCOLS, border=self.border, **options)

    def score(self, predictions: Sequence[Any]) -> Scored:
        return self.pair_scores(self.whole(predictions))

    def whole(self, predictions: Sequence[Any]) -> Sequence[np.ndarray]:
        """Whole pictures; tiles are blended when a picture is asked for."""
        if not isinstance(predictions[0], reader.Tile):
            return predictions

        def make(index: int) -> np.ndarray:
            tiles = predictions[self.starts[index] : self.starts[index + 1]]
            return reader.blend([t.pixels for t in tiles], self.shapes[index], self.side)

        return OnDemand(make, len(self.ids))

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return _middle(self.sources[index]), _middle(self.pictures[index])

    def cell(self, predictions: Sequence[Any], index: int) -> Cell:
        return _middle(self.whole(predictions)[index])

    def pair(self, index: int) -> tuple[Cell, Cell]:
        return reader.small(self.pairs[index]), self.pictures[index]


class SuperResolutionFolder(SuperResolution[FolderPhotographs]):
    """See the file's docstring."""

    version, ranked_by = 1, "psnr_y"
    uses = tuple(name for name in SuperResolution.uses if name != "weights.inception")

    def items(self, part: str) -> FolderPhotographs:
        if part != "test":
            return FolderPhotographs(self, part, self._trained_and_held[part == "validation"])
        choose("task.split", self.config.task.split, ("test",))
        metric.find_trunk(self.config.weights.lpips)
        every, left_out = self._pairs("test")
        return FolderPhotographs(self, part, spread(every, self.config.task.limit), left_out)

    def _pairs(self, part: str) -> tuple[list[reader.Pair], int]:
        layout = choose("task.layout", self.config.task.layout, list(reader.LAYOUTS))
        files = f"photographs (task.layout={layout})"
        root = require_root(self.config, files, reader.FOLDERS_PUBLISHED)
        return reader.pairs(root, layout, part, self.scale)

    @cached_property
    def _trained_and_held(self) -> list[list[reader.Pair]]:
        """Squares of the photographs that hold one; smaller ones are left out and counted.

        InputError where none does, or where training would see another degradation than the test.
        """
        task, test, size = self.config.task, self.test.pairs, checked_size(self.config)
        every, _ = self._pairs("train")
        named = ((pair.id, pair.high) for pair in every)
        refuse_copies((pair.high for pair in test), named, "photographs")
        if (test[0].low is None) != (every[0].low is None):
            has, lacks = ("test", "training") if test[0].low else ("training", "test")
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
        if left := len(every) - len(kept):
            self.report(f"{left} training photographs left out, smaller than {size}", 1, 1)
        parts = cut(kept, lambda pair: pair.id, None, None)
        squares = ([square for photo in p for square in reader.crops(photo, size)] for p in parts)
        return list(map(spread, squares, (task.train_limit, task.validation_limit)))

    @cached_property
    def frozen(self) -> dict[str, Any]:
        """How test pictures are covered, too, is part of what a fair comparison shares."""
        overlap = f"at least 1/{reader.TILE_OVERLAP}"
        rule = {"side": self.space.size, "overlap": overlap, "rule": reader.TILE_RULE}
        return {**self.space.frozen, "tiling": {**rule, "sha256": digest(str(rule))}}

    def decode(self, target: Tensor) -> list[reader.Tile]:
        return [reader.Tile(pixels) for pixels in self.space.decode(target)]


def _middle(picture: np.ndarray) -> np.ndarray:
    """The middle square of a picture, for a grid."""
    side = min(*picture.shape[:2], SHOWN)
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


TASK = SuperResolutionFolder
