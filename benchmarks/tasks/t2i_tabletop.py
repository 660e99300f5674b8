"""Text to image in the embedded world: caption -> latent of a picture.

Word embeddings are learned, alike in all arms; the source encoder is charged with the paper's
image-text contrastive loss. Primary score: does the picture show what its caption states, by the
evaluator's detections (GenEval's six kinds of fact, all of a caption's facts at once).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.splits import Report, choose
from benchmarks.metrics import distribution
from benchmarks.tabletop import captions as words
from benchmarks.tasks import bounds
from benchmarks.tasks.encoded import in_batches, open_store
from benchmarks.tasks.prediction_files import PictureFiles
from benchmarks.tasks.tabletop_pictures import set_distances, to_tensor
from benchmarks.tasks.tabletop_world import (
    RenderedSplit,
    decode,
    frozen_autoencoder,
    store_facts,
    truth_key,
    world,
)
from benchmarks.tasks.task import Arithmetic, Former, Prepared

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

DEFAULTS = {"split": "iid", "size": 64}
CAPTIONS = 5  # of a scene; a caption's id is 10 x scene + its number
# start - minus + plus = expected: one colour, or one shape, for another.
SUMS = (
    ("a red cube", "a red object", "a blue object", "a blue cube"),
    ("a green sphere", "a sphere", "a cone", "a green cone"),
    ("a white cylinder", "a white object", "a black object", "a black cylinder"),
    ("a cyan cube", "a cube", "a sphere", "a cyan sphere"),
    ("a yellow cone", "a yellow object", "a purple object", "a purple cone"),
    ("a red sphere", "a sphere", "a cylinder", "a red cylinder"),
    ("a blue sphere", "a blue object", "a red object", "a red sphere"),
    ("a black cone", "a cone", "a cube", "a black cube"),
)


class TextToImageTruth(PictureFiles):
    """One caption a scene, the levels in turn; the true picture is the reference of FID and KID."""

    def __init__(self, split: RenderedSplit, size: int) -> None:
        self.split, self.size = split, size
        self.chosen = np.arange(split.count) % CAPTIONS
        names = split.indices * 10 + self.chosen
        self.ids: Sequence[str] = [str(name) for name in names]

    @cached_property
    def captions(self) -> list[words.Caption]:
        pairs = zip(self.split.captions, self.chosen, strict=True)
        return [five[k] for five, k in pairs]

    @cached_property
    def _pictures(self) -> np.ndarray:
        return np.array(self.split.pictures(self.size))

    def key(self) -> dict[str, Any]:
        from benchmarks.tabletop import cards

        protocols = {"scene_score": words.PROTOCOL, "distribution": distribution.PROTOCOL}
        texts = "\n".join(caption.text for caption in self.captions)
        options: dict[str, Any] = {
            "size": self.size,
            "evaluator": cards.read_card("evaluator")["sha256"],
        }
        return truth_key(self.split, protocols, texts, **options)

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        from benchmarks.metrics.score import Scored, mean_score, merge
        from benchmarks.tabletop import evaluator

        judge, pictures = evaluator.load(self.split.device), to_tensor(predictions)
        right = [float(verdict) for verdict in judge.score(pictures, self.captions)]
        match = judge.match(pictures, self.captions)
        facts = Scored({"scene_score": mean_score(right, "higher")})
        facts.scores["scene_match"] = mean_score(match, "higher")
        facts.items = {"id": list(self.ids), "scene_score": right, "scene_match": match}
        facts.items["level"] = [caption.level for caption in self.captions]
        for level in sorted(set(facts.items["level"])):
            rows = [r for r, c in zip(right, self.captions, strict=True) if c.level == level]
            facts.scores[f"scene_score/{level}"] = mean_score(rows, "higher")
        return merge([facts, set_distances(predictions, self._pictures, self.split.device)])

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.captions[index].text, self._pictures[index].transpose(1, 2, 0)

    def pair(self, index: int) -> tuple[Cell, Cell]:
        return self.cells(index)


class TextToImageTabletop(Former):
    """See the file's docstring."""

    version = 1
    uses: tuple[str, ...] = ()

    def primary(self, items: int) -> str:
        return "scene_score"

    def problem(self, size: int) -> Problem:
        """A row of word ids to the latent of a picture."""
        from crossflow.problem import MapShape, Problem, TokenShape

        return Problem(
            source=TokenShape(words.MAX_TOKENS, vocabulary=len(words.VOCABULARY)),
            target=MapShape(16, size // 8, size // 8),
            patch=1,
            encoder="variational",
            charge="contrastive",
            null_rate=0.1,
        )

    def truth(self, config: Config, report: Report) -> TextToImageTruth:
        size = _size(config)
        return TextToImageTruth(world(config, report).test, size)

    def prepared(self, config: Config, report: Report) -> Prepared:
        started = time.perf_counter()
        size = _size(config)
        splits, problem = world(config, report), self.problem(size)

        def store(split: RenderedSplit, statistics: Any = None) -> Store:
            facts = store_facts("t2i_tabletop", self.version, splits, split)
            facts |= {"size": size, **frozen_autoencoder()}
            folder = Path(config.work) / "stores" / f"t2i-{split.name}"
            every = split.name == "train"
            batches = in_batches(lambda: _rows(split, size, every), 512)
            return open_store(folder, problem, facts, split.count, batches, statistics, report)

        train = store(splits.train)
        truth = TextToImageTruth(splits.test, size)
        return Prepared(
            problem=problem,
            train=train,
            validation=store(splits.validation, train.statistics),
            test=store(splits.test, train.statistics),
            truth=truth,
            validation_truth=TextToImageTruth(splits.validation, size),
            decode=lambda target: list(decode(target, splits.train.device)),
            floor=lambda: _random_pictures(splits.train, size, splits.test.count),
            frozen={"autoencoder": frozen_autoencoder()},
            arithmetic=_arithmetic(),
            seconds={"stores": time.perf_counter() - started},
        )


def token_ids(split: RenderedSplit) -> np.ndarray:
    """Word ids (n, 5, length) of all captions, int16; 0 is padding."""
    texts = [[words.encode(caption.text) for caption in five] for five in split.captions]
    return np.array(texts, dtype=np.int16)


def _arithmetic() -> Arithmetic:
    """SUMS as word ids. Every caption of them is one that the training split has."""
    import torch

    from crossflow.problem import Source

    ids = np.array([words.encode(text) for four in SUMS for text in four[:3]], dtype=np.int64)
    values = torch.from_numpy(ids)
    return Arithmetic(SUMS, Source(values, values != 0))


def _size(config: Config) -> int:
    return int(choose("task.size", config.task.size, (32, 64)))


def _rows(split: RenderedSplit, size: int, every: bool) -> Callable[[slice], dict[str, Any]]:
    """Rows of a store: all five captions of a scene for training, else the one that is scored."""
    target = split.latents(f"hr{size}", split.pictures(size))
    ids, names = token_ids(split), split.ids
    if not every:
        truth = TextToImageTruth(split, size)
        ids, names = ids[np.arange(split.count), truth.chosen][:, None], list(truth.ids)

    def batch(rows: slice) -> dict[str, Any]:
        return {
            "target": np.array(target[rows]),
            "source": ids[rows],
            "mask": ids[rows] != 0,
            "groups": split.indices[rows],
            "ids": names[rows],
        }

    return batch


def _random_pictures(train: RenderedSplit, size: int, count: int) -> list[np.ndarray]:
    """A random training picture for every item: what needs no caption."""
    picks = bounds.random_rows(train.count, count)
    return list(train.pictures(size)[picks].transpose(0, 2, 3, 1))


TASK = TextToImageTabletop
