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

import time
from collections.abc import Sequence
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data import photos as reader
from benchmarks.data import sr_tiles
from benchmarks.data.files import first_few
from benchmarks.data.images import LR_FILTER, OnDemand, spread
from benchmarks.data.pool import ordered_map
from benchmarks.data.splits import Report, choose, cut, digest, refuse_shared, require_root
from benchmarks.metrics import lpips
from benchmarks.tasks import sr_pairs
from benchmarks.tasks.encoded import open_store
from benchmarks.tasks.sr_pairs import Row
from benchmarks.tasks.task import Former, Prepared
from crossflow.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.config.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.store import Store

DEFAULTS = {"split": "test", "size": 128, "scale": 4, "layout": "folders"}
SHOWN = 256  # pixels a side in pictures


class FolderTruth:
    """Photographs at their own sizes. Predictions are whole pictures, or the tiles of all of them.

    Tiles come in the order of the pictures and of `sr_tiles.corners`.
    """

    def __init__(self, pairs: Sequence[reader.Pair], split: str, config: Config) -> None:
        self.pairs, self.split, self.config = list(pairs), split, config
        self.size, self.scale = sr_pairs.side_and_scale(config)
        given = config.task.border
        self.border = self.scale if given is None else given
        self.ids: Sequence[str] = [pair.id for pair in pairs]
        self.sizes = [pair.size() for pair in pairs]
        self.pictures = OnDemand(lambda index: reader.load_pair(self.pairs[index])[1], len(pairs))
        self.enlarged = OnDemand(lambda index: reader.load_pair(self.pairs[index])[0], len(pairs))

    def key(self) -> dict[str, Any]:
        return dict(self._key)

    @cached_property
    def _key(self) -> dict[str, Any]:
        """Pixels count, not files: the same pictures have the same key in every layout."""
        rows = range(len(self.ids))
        low = LR_FILTER
        if not reader.made(self.pairs):
            # Enlarging is a function of the small pictures; this also reads every file once.
            low = "given: " + digest(*ordered_map(lambda row: digest(self.enlarged[row]), rows))
        return {
            "split": self.split,
            "items": digest("\n".join(self.ids)),
            "truth": digest(*ordered_map(lambda row: digest(self.pictures[row]), rows)),
            "protocols": sr_pairs.PROTOCOLS,
            "options": {
                "scale": self.scale,
                "border": self.border,
                "low_resolution": low,
                "lpips": lpips.used_digest(self.config.weights.lpips),
            },
        }

    def read(self, folder: Path) -> Sequence[np.ndarray]:
        from benchmarks.data.predictions import ImagePredictions

        return ImagePredictions(folder, self.ids, self.sizes)

    def write(self, folder: Path, predictions: Sequence[Any]) -> None:
        from benchmarks.data.predictions import write_image

        for name, picture in zip(self.ids, self.whole(predictions), strict=True):
            write_image(folder, name, picture)

    def score(self, predictions: Sequence[Any]) -> Scored:
        whole = self.whole(predictions)
        return sr_pairs.pair_scores(self.ids, whole, self.pictures, self.border, self.config)

    def whole(self, predictions: Sequence[Any]) -> Sequence[np.ndarray]:
        """Whole pictures; tiles are blended when a picture is asked for."""
        if not isinstance(predictions[0], sr_tiles.Tile):
            return predictions
        counts = [len(sr_tiles.corners(size, self.size)) for size in self.sizes]
        starts = [0, *accumulate(counts)]
        if len(predictions) != starts[-1]:
            raise ValueError(f"{len(predictions)} tiles, the pictures have {starts[-1]}")

        def make(index: int) -> np.ndarray:
            tiles = predictions[starts[index] : starts[index + 1]]
            return sr_tiles.blend([t.pixels for t in tiles], self.sizes[index], self.size)

        return OnDemand(make, len(self.ids))

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return _middle(self.enlarged[index]), _middle(self.pictures[index])

    def cell(self, predictions: Sequence[Any], index: int) -> Cell:
        return _middle(self.whole(predictions)[index])

    def pair(self, index: int) -> tuple[Cell, Cell]:
        return reader.small(self.pairs[index]), self.pictures[index]

    def rows(self) -> list[Row]:
        """The tiles of all pictures."""
        return [
            Row(f"{pair.id}#{top},{left}", group, partial(_tile, pair, (top, left), self.size))
            for group, (pair, size) in enumerate(zip(self.pairs, self.sizes, strict=True))
            for top, left in sr_tiles.corners(size, self.size)
        ]


class SuperResolutionFolder(Former):
    """See the file's docstring."""

    version = 1
    uses: tuple[str, ...] = (
        *("task.root", "task.scale", "task.border", "task.layout"),
        *("weights.autoencoder", "weights.lpips"),
    )

    def primary(self, items: int) -> str:
        return "psnr_y"

    def truth(self, config: Config, report: Report) -> FolderTruth:
        choose("task.split", config.task.split, ("test",))
        lpips.find_trunk(config.weights.lpips)
        return FolderTruth(spread(_pairs(config, "test"), config.task.limit), "test", config)

    def prepared(self, config: Config, report: Report) -> Prepared:
        started = time.perf_counter()
        (size, _), task = sr_pairs.side_and_scale(config), config.task
        truth = self.truth(config, report)
        trained = _pairs(config, "train")
        refuse_shared(reader.same_files(truth.pairs, trained), "photographs")
        photos = _training(truth.pairs, trained, size, report)
        chosen, held_out = cut(photos, lambda pair: pair.id, None, None)
        train_crops = spread(_crops(chosen, size), task.train_limit)
        validation_crops = spread(_crops(held_out, size), task.validation_limit)
        space = sr_pairs.space(config)
        problem = space.problem(size)

        def store(part: str, some: FolderTruth, statistics: Any = None) -> Store:
            facts = {"task": "sr_folder", "version": self.version, "size": size, "part": part}
            facts |= {"data": _stamps(some.pairs), "train": _stamps(train_crops), **space.frozen}
            facts |= {"low_resolution": LR_FILTER, "tiles": sr_tiles.RULE}
            folder, rows = Path(config.work) / "stores" / f"sr_folder-{part}", some.rows()
            batches = space.batches(rows)
            return open_store(folder, problem, facts, len(rows), batches, statistics, report)

        def decode(target: Tensor) -> list[sr_tiles.Tile]:
            return [sr_tiles.Tile(pixels) for pixels in space.decode(target)]

        validation_truth = FolderTruth(validation_crops, "validation", config)
        train = store("train", FolderTruth(train_crops, "train", config))
        return Prepared(
            problem=problem,
            train=train,
            validation=store("validation", validation_truth, train.statistics),
            test=store("test", truth, train.statistics),
            truth=truth,
            validation_truth=validation_truth,
            decode=decode,
            floor=lambda: truth.enlarged,
            frozen={**space.frozen, "tiling": _tiling(size)},
            seconds={"stores": time.perf_counter() - started},
        )


def _pairs(config: Config, part: str) -> list[reader.Pair]:
    layout = choose("task.layout", config.task.layout, list(reader.LAYOUTS))
    root = require_root(config, f"photographs (task.layout={layout})", reader.FOLDERS_PUBLISHED)
    return reader.pairs(root, layout, part, sr_pairs.side_and_scale(config)[1])


def _training(
    test: Sequence[reader.Pair], train: Sequence[reader.Pair], size: int, report: Report
) -> list[reader.Pair]:
    """The photographs that hold a square of `size`; the others are left out and counted.

    InputError where none does, or where training would see another degradation than the test.
    """
    if reader.made(test) != reader.made(train):
        has, lacks = ("training", "test") if reader.made(test) else ("test", "training")
        raise InputError(
            f"the {has} photographs have small versions, the {lacks} ones have not: they would be "
            "degraded in two ways; give both, or neither"
        )
    kept = [pair for pair in train if min(pair.size()) >= size]
    if not kept:
        raise InputError(
            f"task.size={size}: all {len(train)} training photographs are smaller, "
            f"{first_few([pair.id for pair in train])}"
        )
    if len(kept) < len(train):
        left = len(train) - len(kept)
        report(f"{left} training photographs left out, smaller than {size}", 1, 1)
    return kept


def _crops(photos: Sequence[reader.Pair], size: int) -> list[reader.Pair]:
    return [square for photo in photos for square in reader.crops(photo, size)]


def _tile(pair: reader.Pair, corner: tuple[int, int], size: int) -> tuple[np.ndarray, np.ndarray]:
    """(source, target) of a tile."""
    enlarged, target = reader.load_pair(pair)
    return sr_tiles.cut(enlarged, corner, size), sr_tiles.cut(target, corner, size)


def _tiling(size: int) -> dict[str, Any]:
    """How test pictures are covered: part of what a fair comparison shares."""
    rule = {"side": size, "overlap": f"at least 1/{sr_tiles.OVERLAP}", "rule": sr_tiles.RULE}
    return rule | {"sha256": digest(str(rule))}


def _stamps(pairs: Sequence[reader.Pair]) -> str:
    return digest("\n".join(pair.stamp() for pair in pairs))


def _middle(picture: np.ndarray) -> np.ndarray:
    """The middle square of a picture, for a grid."""
    side = min(*picture.shape[:2], SHOWN)
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


TASK = SuperResolutionFolder
