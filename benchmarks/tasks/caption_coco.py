"""Captioning on COCO's Karpathy split: picture -> text latent -> caption; CIDEr and its kin.

`task.root` and `task.layout`: see `captions`, karpathy is the default. All captions of an
image are its references, as they are published. Scores hold for these very images: CIDEr's document
frequencies come from them, so that `task.limit` (evenly spaced images) makes another score.

The text latents are those of a caption codec trained once per data set on the captions of the
training images (`codecs.caption`, `vocabulary`). The source is the whole picture, squashed to
`task.size`, in pixels or, with `weights.autoencoder`, in its latents. A flow needs both ends on one
grid: it has a position for each CELL x CELL pixels, the source's numbers of a cell are folded into
channels, and the text latent has TEXT_CHANNELS of them (256 pixels: 4 x 16 x 16). CrossFlow's
encoder is charged with rebuilding its source (why: `caption_tabletop`). Any of an image's five
captions is a right target. With `task.train_root` the pairs of WebDataset shards are trained on
instead, codec included. Validation is cut from what is trained on, by image.

The row `oracle` is the first reference through the codec: scored against references that include
it, it is the most that this codec can say, not what a person would get.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.codecs.caption import dataset_codec
from benchmarks.codecs.image import STEP, checked_size
from benchmarks.data import captions as splits
from benchmarks.data.captions import (
    SQUASHED,
    Photo,
    Pictures,
    Split,
    captions_json,
    files_digest,
    squashed,
)
from benchmarks.data.images import PHOTO_MODES, read_rgb, spread
from benchmarks.data.splits import digest
from benchmarks.data.vocabulary import Vocabulary, learn, split_words
from benchmarks.metrics import captions as metric
from benchmarks.tasks import bounds
from benchmarks.tasks.coco import CaptionedPhotos
from benchmarks.tasks.task import CaptionItems, Prepared
from crossflow.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.codecs.caption import CaptionCodec
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

DEFAULTS = {"size": 256}
CELL = STEP  # pixels a side of what one position of the flow's grid stands for
# Few: see `caption_tabletop.TEXT_CHANNELS`. A caption here is about a hundred bits.
TEXT_CHANNELS = 4


class PhotoCaptions(CaptionItems):
    """Photographs and all captions of each. cleaned: captions that were changed."""

    batch = 32

    def __init__(
        self,
        task: CaptionCoco,
        name: str,
        split: str,
        photos: Sequence[Photo],
        cleaned: int = 0,
    ) -> None:
        self.task, self.name, self.split, self.photos = task, name, split, photos
        self.ids, self.cleaned = [str(photo.id) for photo in photos], cleaned
        self.references = {str(p.id): [c.text for c in p.captions] for p in photos}
        self.pictures = Pictures(photos, checked_size(task.config), squashed)

    def facts(self) -> dict[str, Any]:
        task = self.task
        facts = {"part": self.name, "size": task.space.size, "preparation": SQUASHED}
        facts |= {"data": files_digest(self.photos), "train": task.trained_files}
        codec = task.frozen["caption_codec"]["sha256"]
        return facts | {**task.space.frozen, "vocabulary": task.words.facts(), "codec": codec}

    def rows(self, part: slice) -> dict[str, Any]:
        """Folded pictures, and the text latents (means) of captions: all, or the first."""
        photos, space = self.photos[part], self.task.space
        several = None if self.name == "train" else 1
        texts = [text for photo in photos for text in photo.trained[:several]]
        means = self.task.codec.means(self.task.words.encode(texts))
        return {
            "target": means.reshape(len(photos), -1, *means.shape[1:]),
            "source": fold(space.batch(self.pictures[part]), space.size // CELL),
            "groups": [photo.group for photo in photos],
            "ids": self.ids[part],
        }

    def key(self) -> dict[str, Any]:
        return {
            "split": self.split,
            "items": digest("\n".join(self.ids)),
            "truth": digest(captions_json(self.photos)),
            "protocols": {"captions": metric.PROTOCOL},
            "options": {"references": "all", "spice": self.task.jars},
        }

    def score(self, predictions: Sequence[str]) -> Scored:
        config, by_id = self.task.config, dict(zip(self.ids, predictions, strict=True))
        cache = Path(config.work) / "spice"
        scored = metric.caption_scores(
            by_id, self.references, spice_jars=config.weights.spice, spice_cache=cache
        )
        scored.items["caption"] = list(predictions)
        if self.cleaned:
            scored.counts["captions_cleaned"] = self.cleaned
        return scored

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.pictures[index], self.photos[index].captions[0].text

    def pair(self, index: int) -> tuple[Cell, list[str]]:
        picture = read_rgb(self.photos[index].path, PHOTO_MODES)
        return picture, self.references[self.ids[index]]


class CaptionCoco(CaptionedPhotos[PhotoCaptions]):
    """See the file's docstring."""

    version, layout = 2, "karpathy"
    uses = (*CaptionedPhotos.uses, "weights.spice")

    def primary(self, items: int) -> str:
        return "cider"

    def items(self, part: str) -> PhotoCaptions:
        if part != "test":
            return PhotoCaptions(self, part, part, self.chosen if part == "train" else self.held)
        # Captions of other programs are scored without the pictures.
        return self._scored(splits.scored(self.config, self.layout, self.report, images=False))

    def _scored(self, split: Split) -> PhotoCaptions:
        if self.config.weights.spice is not None:
            metric.find_jars(self.config.weights.spice)  # before anything is trained
        photos = spread(split.photos, self.config.task.limit)
        return PhotoCaptions(self, "test", split.name, photos, split.cleaned)

    def prepare(self) -> Prepared:
        self.test = self._scored(self.scored)  # whose pictures are there
        return super().prepare()

    @cached_property
    def jars(self) -> str | None:
        """Of CoreNLP's jars, which hold the parser's model: 350 MB, read once."""
        return metric.jars_digest(self.config.weights.spice)

    @cached_property
    def words(self) -> Vocabulary:
        return learn(text for photo in self.chosen for text in photo.trained)

    @cached_property
    def problem(self) -> Problem:
        """Folded picture to text latent on the same grid."""
        from crossflow.problem import MapShape, Problem

        space = self.space
        grid = space.size // CELL
        if space.side % grid:
            raise InputError(
                f"weights.autoencoder: makes pictures {space.size // space.side} times smaller, "
                f"which does not divide {CELL}"
            )
        source = MapShape(space.channels * (space.side // grid) ** 2, grid, grid)
        target = MapShape(TEXT_CHANNELS, grid, grid)
        return Problem(source, target, 1, "variational", "reconstruction", null_rate=0.0)

    @cached_property
    def _codec(self) -> tuple[CaptionCodec, dict[str, Any]]:
        """The codec of the training captions, and its facts."""
        from crossflow.problem import MapShape

        grid = self.space.size // CELL
        train, held = ([t for p in part for t in p.trained] for part in self.chosen_and_held)
        codec, facts, self.seconds["caption codec"] = dataset_codec(
            Path(self.config.work) / "codecs",
            MapShape(TEXT_CHANNELS, grid, grid),
            self.words,
            train,
            held,
            self.device,
            self.report,
        )
        return codec, facts

    @property
    def codec(self) -> CaptionCodec:
        return self._codec[0]

    @cached_property
    def frozen(self) -> dict[str, Any]:
        codecs = {"vocabulary": self.words.facts(), "caption_codec": self._codec[1]}
        return {**self.space.frozen, **codecs}

    def decode(self, target: Tensor) -> list[str]:
        return [self.words.decode(row) for row in self.codec.words(target)]

    def floor(self, train: Store) -> list[str]:
        """The caption seen most often in training, its words alone compared."""
        texts = (" ".join(split_words(t)) for photo in self.chosen for t in photo.trained)
        return [bounds.most_frequent(texts)] * len(self.test.ids)


def fold(maps: np.ndarray, grid: int) -> np.ndarray:
    """Maps (n, c, side, side) as (n, c p p, grid, grid), p = side / grid: cells become channels."""
    count, channels, side, _ = maps.shape
    p = side // grid
    cells = maps.reshape(count, channels, grid, p, grid, p).transpose(0, 1, 3, 5, 2, 4)
    return np.ascontiguousarray(cells).reshape(count, channels * p * p, grid, grid)


TASK = CaptionCoco
