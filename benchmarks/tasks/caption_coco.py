"""Captioning on COCO's Karpathy split: picture -> text latent -> caption; CIDEr and its kin.

`task.root` and `task.layout`: see `captions`, karpathy is the default. All captions of an
image are its references, as they are published. Scores hold for these very images: CIDEr's document
frequencies come from them, so that `task.limit` (evenly spaced images) makes another score.

The text latents are those of a caption codec trained once per data set on the captions of the
training images (`caption_codec`, `vocabulary`). The source is the whole picture, squashed to
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

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.codecs.caption import dataset_codec
from benchmarks.codecs.image import STEP, ImageSpace, checked_size, image_space
from benchmarks.config import device
from benchmarks.data import captions as splits
from benchmarks.data.captioned_photos import (
    SQUASHED,
    Photo,
    Pictures,
    Split,
    captions_json,
    files_digest,
    squashed,
)
from benchmarks.data.images import PHOTO_MODES, read_rgb, spread
from benchmarks.data.splits import Report, digest
from benchmarks.data.vocabulary import Vocabulary, learn, split_words
from benchmarks.metrics import captions as metric
from benchmarks.metrics.java import find_jars, jars_digest
from benchmarks.tasks import bounds
from benchmarks.tasks.encoded import in_batches, open_store
from benchmarks.tasks.prediction_files import CaptionFiles
from benchmarks.tasks.task import Former, Prepared
from crossflow.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.codecs.caption import CaptionCodec
    from benchmarks.config.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

DEFAULTS = {"size": 256}
LAYOUT = "karpathy"
CELL = STEP  # pixels a side of what one position of the flow's grid stands for
# Few: see `caption_tabletop.TEXT_CHANNELS`. A caption here is about a hundred bits.
TEXT_CHANNELS = 4
BATCH = 32  # rows encoded at once


class CaptionTruth(CaptionFiles):
    """All captions of the images of a split. ids: of the images. cleaned: captions so changed."""

    def __init__(
        self, split: str, photos: Sequence[Photo], config: Config, cleaned: int = 0
    ) -> None:
        self.split, self.photos, self.cleaned = split, list(photos), cleaned
        self.ids: Sequence[str] = [str(photo.id) for photo in photos]
        self.references = {str(p.id): [c.text for c in p.captions] for p in photos}
        self.pictures = Pictures(self.photos, checked_size(config), squashed)
        self.spice, self.cache = config.weights.spice, Path(config.work) / "spice"
        if self.spice is not None:
            find_jars(self.spice)  # before anything is trained

    def key(self) -> dict[str, Any]:
        return {
            "split": self.split,
            "items": digest("\n".join(self.ids)),
            "truth": digest(captions_json(self.photos)),
            "protocols": {"captions": metric.PROTOCOL},
            "options": {"references": "all", "spice": self._jars},
        }

    @cached_property
    def _jars(self) -> str | None:
        """Of CoreNLP's jars, which hold the parser's model: 350 MB, read once."""
        return jars_digest(self.spice)

    def score(self, predictions: Sequence[str]) -> Scored:
        spoken = dict(zip(self.ids, predictions, strict=True))
        scored = metric.caption_scores(
            spoken, self.references, spice_jars=self.spice, spice_cache=self.cache
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


class CaptionCoco(Former):
    """See the file's docstring."""

    version = 2
    uses: tuple[str, ...] = (*splits.USES, "weights.autoencoder", "weights.spice")

    def primary(self, items: int) -> str:
        return "cider"

    def problem(self, space: ImageSpace) -> Problem:
        """Folded picture to text latent on the same grid."""
        from crossflow.problem import MapShape, Problem

        grid = space.size // CELL
        if space.side % grid:
            raise InputError(
                f"weights.autoencoder: makes pictures {space.size // space.side} times smaller, "
                f"which does not divide {CELL}"
            )
        folded = space.channels * (space.side // grid) ** 2
        return Problem(
            source=MapShape(folded, grid, grid),
            target=MapShape(TEXT_CHANNELS, grid, grid),
            patch=1,
            encoder="variational",
            charge="reconstruction",
            null_rate=0.0,
        )

    def truth(self, config: Config, report: Report) -> CaptionTruth:
        # External captions are scored without the pictures.
        return _truth(splits.scored(config, LAYOUT, report, images=False), config)

    def prepared(self, config: Config, report: Report) -> Prepared:
        started = time.perf_counter()
        split = splits.scored(config, LAYOUT, report, images=True)
        trained_on = splits.training(config, LAYOUT, report, split)
        chosen, held = splits.validation_cut(config, trained_on)
        words = learn(text for photo in chosen for text in photo.trained)
        where = device.resolve(config.device)
        space = image_space(config, where)
        problem = self.problem(space)
        codec, codec_facts, codec_seconds = dataset_codec(
            Path(config.work) / "codecs",
            problem.target,
            words,
            [text for photo in chosen for text in photo.trained],
            [text for photo in held for text in photo.trained],
            where,
            report,
        )
        frozen = {**space.frozen, "vocabulary": words.facts(), "caption_codec": codec_facts}

        def store(part: str, photos: Sequence[Photo], statistics: Any = None) -> Store:
            facts = {"task": "caption_coco", "version": self.version, "part": part}
            facts |= {"size": space.size, "preparation": SQUASHED}
            facts |= {"data": files_digest(photos), "train": files_digest(chosen), **space.frozen}
            facts |= {"vocabulary": words.facts(), "codec": codec_facts["sha256"]}
            rows = _Rows(photos, 1 if statistics else None, words, codec, space)
            folder = Path(config.work) / "stores" / f"caption_coco-{part}"
            batches = in_batches(lambda: rows.batch, BATCH)
            return open_store(folder, problem, facts, len(photos), batches, statistics, report)

        train, truth = store("train", chosen), _truth(split, config)
        held = spread(held, config.task.validation_limit)
        return Prepared(
            problem=problem,
            train=train,
            validation=store("validation", held, train.statistics),
            test=store("test", truth.photos, train.statistics),
            truth=truth,
            validation_truth=CaptionTruth("validation", held, config),
            decode=partial(_speak, codec, words),
            floor=lambda: [_most_frequent(chosen)] * len(truth.ids),
            frozen=frozen,
            training=trained_on.facts,
            seconds={
                "caption codec": codec_seconds,
                "stores": time.perf_counter() - started - codec_seconds,
            },
        )


def _truth(split: Split, config: Config) -> CaptionTruth:
    photos = spread(split.photos, config.task.limit)
    return CaptionTruth(split.name, photos, config, split.cleaned)


@dataclass(frozen=True)
class _Rows:
    """Rows of a store: folded pictures, and the text latents (means) of their captions.

    captions: how many of each, None for all that are trained on.
    """

    photos: Sequence[Photo]
    captions: int | None
    words: Vocabulary
    codec: CaptionCodec
    space: ImageSpace

    def batch(self, rows: slice) -> dict[str, Any]:
        photos = self.photos[rows]
        texts = [text for photo in photos for text in photo.trained[: self.captions]]
        target = self.codec.means(self.words.encode(texts))
        pictures = self.space.batch(Pictures(photos, self.space.size, squashed)[:])
        return {
            "target": target.reshape(len(photos), -1, *target.shape[1:]),
            "source": fold(pictures, self.space.size // CELL),
            "groups": [photo.group for photo in photos],
            "ids": [str(photo.id) for photo in photos],
        }


def fold(maps: np.ndarray, grid: int) -> np.ndarray:
    """Maps (n, c, side, side) as (n, c p p, grid, grid), p = side / grid: cells become channels."""
    count, channels, side, _ = maps.shape
    p = side // grid
    cells = maps.reshape(count, channels, grid, p, grid, p).transpose(0, 1, 3, 5, 2, 4)
    return np.ascontiguousarray(cells).reshape(count, channels * p * p, grid, grid)


def _speak(codec: CaptionCodec, words: Vocabulary, target: Tensor) -> list[str]:
    return [words.decode(row) for row in codec.words(target)]


def _most_frequent(train: Sequence[Photo]) -> str:
    """The caption seen most often in training, its words alone compared."""
    return bounds.most_frequent(" ".join(split_words(t)) for photo in train for t in photo.trained)


TASK = CaptionCoco
