"""Captioning on COCO's Karpathy split: picture -> text latent -> caption; CIDEr and its kin.

The text latents are those of a caption codec trained once per data set on the captions of the
training images (`codecs.caption`, `codecs.text`). A flow needs both ends on one grid: it has a
position for each CELL x CELL pixels, the source's numbers of a cell are folded into channels, and
the text latent has TEXT_CHANNELS of them. CrossFlow's encoder is charged with rebuilding its source
(why: `caption_tabletop`). Any of an image's captions is a right target. Data: docs/data.md.

The row `oracle` is the first reference through the codec: scored against references that include
it, it is the most that this codec can say, not what a person would get.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from benchmarks.codecs.caption import CaptionCodec, dataset_codec
from benchmarks.codecs.image import STEP, checked_size
from benchmarks.codecs.text import LARGEST, WORDS, Vocabulary, learn, split_words
from benchmarks.data import captions as reader
from benchmarks.data.images import PHOTO_MODES, read_rgb, spread
from benchmarks.data.splits import digest
from benchmarks.metrics import captions as metric
from benchmarks.metrics.score import Scored
from benchmarks.records.samples import Cell
from benchmarks.tasks import bounds
from benchmarks.tasks.coco import CaptionedPhotos
from benchmarks.tasks.task import CaptionItems
from crossflow.errors import InputError
from crossflow.problem import MapShape, Problem, TokenShape

DEFAULTS = {"size": 256}
CELL = STEP  # pixels a side of what one position of the flow's grid stands for
# Few: see `caption_tabletop.TEXT_CHANNELS`. A caption here is about a hundred bits.
TEXT_CHANNELS = 4


class PhotoCaptions(CaptionItems):
    """Photographs and all captions of each, the references. Scores hold for these very images."""

    batch = 32
    cleaned = 0  # captions that were changed

    def __init__(self, task: CaptionCoco, name: str, photos: list[reader.Photo]) -> None:
        self.task, self.name, self.photos = task, name, photos
        self.ids, self.groups = [str(p.id) for p in photos], [p.group for p in photos]
        self.references = {str(p.id): [c.text for c in p.captions] for p in photos}
        self.pictures = reader.Pictures(photos, checked_size(task.config), reader.SQUASHED)

    def facts(self) -> dict[str, Any]:
        task, codec = self.task, self.task.frozen["caption_codec"]["sha256"]
        facts = {"part": self.name, "size": task.space.size, "preparation": reader.SQUASHED}
        facts |= {"data": reader.files_digest(self.photos), "train": task.trained_files}
        return facts | {**task.space.frozen, "vocabulary": task.words.facts(), "codec": codec}

    def rows(self, part: slice) -> dict[str, Any]:
        """Folded pictures, and the text latents (means) of captions: all, or the first."""
        several = None if self.name == "train" else 1
        texts = [text for photo in self.photos[part] for text in photo.trained[:several]]
        ids = self.task.words.encode(texts)
        means = self.task.codec.means(ids)
        pictures = torch.from_numpy(self.task.space.batch(self.pictures[part]))
        folded = pixel_unshuffle(pictures, self.task.cell)
        target, words = (a.reshape(len(pictures), -1, *a.shape[1:]) for a in (means, ids))
        return {"target": target, "source": folded.numpy(), "words": words}

    def key(self) -> dict[str, Any]:
        truth, jars = digest(reader.captions_json(self.photos)), self.task.config.weights.spice
        options = {"references": "all", "spice": metric.jars_digest(jars)}
        return self.named(truth, {"captions": metric.PROTOCOL}, **options)

    def score(self, predictions: Sequence[str]) -> Scored:
        config, by_id = self.task.config, dict(zip(self.ids, predictions, strict=True))
        spice: Any = {"spice_jars": config.weights.spice, "spice_cache": Path(config.work, "spice")}
        scored = metric.caption_scores(by_id, self.references, **spice)
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

    version, layout, ranked_by = 3, "karpathy", "cider"
    uses = (*CaptionedPhotos.uses, "weights.spice")

    def items(self, part: str) -> PhotoCaptions:
        if part != "test":
            return PhotoCaptions(self, part, self.chosen if part == "train" else self.held)
        # Captions of other programs are scored without the pictures.
        split = reader.scored(self.config, self.layout, self.report, images=False)
        items = PhotoCaptions(self, part, spread(split.photos, self.config.task.limit))
        items.split, items.cleaned = split.name, split.cleaned
        return items

    def assume(self) -> list[str]:
        if self.config.task.root is not None:
            return []
        self.words = Vocabulary([""] * LARGEST)
        return [f"the vocabulary has {LARGEST:,} words, the most it may have"]

    @property
    def stored(self) -> tuple[str, str]:  # type: ignore[override]
        return "float16", super().stored[1]

    @cached_property
    def words(self) -> Vocabulary:
        return learn(text for photo in self.chosen for text in photo.trained)

    @property
    def cell(self) -> int:
        """Numbers a side of a picture in the flow's space that become channels of one position."""
        cell, rest = divmod(CELL * self.space.side, self.space.size)
        if rest:
            raise InputError(
                f"weights.autoencoder: makes pictures {self.space.size // self.space.side} times "
                f"smaller, which does not divide {CELL}"
            )
        return cell

    @cached_property
    def problem(self) -> Problem:
        """Folded picture to text latent on the same grid."""
        grid = self.space.size // CELL
        source = MapShape(self.space.channels * self.cell**2, grid, grid)
        target = MapShape(TEXT_CHANNELS, grid, grid)
        spoken = TokenShape(WORDS, vocabulary=len(self.words))
        return Problem(source, target, 1, "variational", "reconstruction", 0.0, spoken)

    @cached_property
    def _codec(self) -> tuple[CaptionCodec, dict[str, Any]]:
        """The codec of the training captions, and its facts."""
        train, held = (
            [t for photo in part for t in photo.trained] for part in self.chosen_and_held
        )
        shape, folder = self.problem.target, Path(self.config.work) / "codecs"
        codec, facts, self.seconds["caption codec"] = dataset_codec(
            folder, shape, self.words, train, held, self.device, self.report
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

    def floor(self) -> list[str]:
        """The caption seen most often in training, its words alone compared."""
        texts = (" ".join(split_words(t)) for photo in self.chosen for t in photo.trained)
        return [bounds.most_frequent(texts)] * len(self.test.ids)


TASK = CaptionCoco
