"""Text to image in the embedded world: caption -> latent of a picture.

Word embeddings are learned, alike in all arms; the source encoder is charged with the paper's
image-text contrastive loss. Primary score: does the picture show what its caption states, by the
evaluator's detections (GenEval's six kinds of fact, all of a caption's facts at once).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.metrics.score import Scored, mean_score, merge
from benchmarks.tabletop import captions as words
from benchmarks.tasks import bounds
from benchmarks.tasks.sums import Blender
from benchmarks.tasks.tabletop import PictureScenes, PictureTask, RenderedSplit

if TYPE_CHECKING:
    from benchmarks.records.samples import Cell
    from benchmarks.tasks.task import Prepared, Trained
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


class CaptionedScenes(PictureScenes):
    """All five captions of a scene for training; else one is scored, the levels in turn.

    The true picture is the reference of FID and KID.
    """

    def __init__(self, task: TextToImageTabletop, split: RenderedSplit) -> None:
        super().__init__(task, split)
        self.chosen = np.arange(split.count) % CAPTIONS
        if split.name != "train":
            self.ids = [str(name) for name in split.indices * 10 + self.chosen]

    @cached_property
    def captions(self) -> list[words.Caption]:
        """The one that is scored of each scene."""
        pairs = zip(self.split.captions, self.chosen, strict=True)
        return [five[k] for five, k in pairs]

    def rows(self, part: slice) -> dict[str, Any]:
        """Word ids of captions, latents of pictures."""
        ids = self.split.tokens[part]
        if self.name != "train":
            ids = ids[np.arange(len(ids)), self.chosen[part]][:, None]
        return {
            "target": np.array(self.latents[part]),
            "source": ids,
            "mask": ids != 0,
            "groups": self.split.indices[part],
            "ids": self.ids[part],
        }

    def key(self) -> dict[str, Any]:
        texts = "\n".join(caption.text for caption in self.captions)
        return self.evaluated_key({"scene_score": words.PROTOCOL}, texts)

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        import torch

        from benchmarks.tabletop import evaluator

        judge = evaluator.load(self.split.device)
        pictures = torch.from_numpy(np.stack(predictions).transpose(0, 3, 1, 2))
        right = [float(verdict) for verdict in judge.score(pictures, self.captions)]
        match = judge.match(pictures, self.captions)
        levels = [caption.level for caption in self.captions]
        facts = Scored({"scene_score": mean_score(right, "higher")})
        facts.scores["scene_match"] = mean_score(match, "higher")
        for level in sorted(set(levels)):
            verdicts = [r for r, other in zip(right, levels, strict=True) if other == level]
            facts.scores[f"scene_score/{level}"] = mean_score(verdicts, "higher")
        facts.items = {"id": list(self.ids), "scene_score": right, "scene_match": match}
        facts.items["level"] = levels
        return merge([facts, self.distances(predictions)])

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.captions[index].text, self.picture(index)


class TextToImageTabletop(PictureTask[CaptionedScenes]):
    """See the file's docstring."""

    version, kind = 1, CaptionedScenes

    def primary(self, items: int) -> str:
        return "scene_score"

    @cached_property
    def problem(self) -> Problem:
        from crossflow.problem import MapShape, Problem, TokenShape

        source = TokenShape(words.MAX_TOKENS, vocabulary=len(words.VOCABULARY))
        target = MapShape(16, self.size // 8, self.size // 8)
        return Problem(source, target, 1, "variational", "contrastive", null_rate=0.1)

    def floor(self, train: Store) -> Sequence[np.ndarray]:
        """A random training picture for every item: what needs no caption."""
        picks = bounds.random_rows(len(self.train.ids), len(self.test.ids))
        return list(self.train.pictures[picks].transpose(0, 2, 3, 1))

    def draw_more(self, prepared: Prepared, trained: Trained) -> None:
        """Strips between captions, and sums of captions; all of SUMS are seen in training."""
        blender = Blender(prepared, trained)
        blender.draw_strips()
        ids = np.array([words.encode(text) for four in SUMS for text in four[:3]])
        blender.draw_sums(SUMS, ids, ids != 0)


TASK = TextToImageTabletop
