"""Text to image in the embedded world: caption -> latent of a picture.

Word embeddings are learned, alike in all arms; the source encoder is charged with the paper's
image-text contrastive loss. Primary score: does the picture show what its caption states, by the
evaluator's detections (GenEval's six kinds of fact, all of a caption's facts at once).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.data.predictions import CAPTIONS_FILE, write_captions
from benchmarks.metrics.score import Scored, mean_score, merge
from benchmarks.records.samples import Cell
from benchmarks.tabletop import arithmetic, evaluator
from benchmarks.tabletop import captions as words
from benchmarks.tasks import bounds, sums
from benchmarks.tasks.tabletop import PictureScenes, PictureTask, TabletopTask
from benchmarks.tasks.task import Prepared, Trained
from crossflow.problem import MapShape, Problem, Source, TokenShape

DEFAULTS = {"split": "iid", "size": 64}
ITEMS_A_SUM, MOST_SUMS = 16, 64  # test items for which one sum of each kind is judged
CAPTIONS = 5  # of a scene; a caption's id is 10 x scene + its number
# start - minus + plus = expected: one colour, or one shape, for another; all seen in training.
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

    def __init__(self, task: TabletopTask[Any], name: str, count: int) -> None:
        super().__init__(task, name, count)
        self.chosen = np.arange(count) % CAPTIONS
        if name != "train":
            self.ids = [str(number) for number in self.indices * 10 + self.chosen]

    @cached_property
    def stated(self) -> list[words.Caption]:
        """The caption of each scene that is scored."""
        return [five[k] for five, k in zip(self.captions, self.chosen, strict=True)]

    def rows(self, part: slice) -> dict[str, Any]:
        """Word ids of captions, latents of pictures."""
        ids = self.tokens[part]
        if self.name != "train":
            ids = ids[np.arange(len(ids)), self.chosen[part]][:, None]
        return {"target": self.task.encode(self.pictures[part]), "source": ids, "mask": ids != 0}

    def key(self) -> dict[str, Any]:
        texts = "\n".join(caption.text for caption in self.stated)
        protocols = {"scene_score": words.PROTOCOL, "sum_score": arithmetic.PROTOCOL}
        standard = {"standard_sums": True} if self.task.config.task.standard_sums else {}
        return self.evaluated_key(protocols, texts, **standard)

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        pictures = torch.from_numpy(np.stack(predictions).transpose(0, 3, 1, 2))
        right, match = evaluator.load(self.task.device).verdicts(pictures, self.stated)
        levels = [caption.level for caption in self.stated]
        facts = Scored({"scene_score": mean_score(right, "higher")})
        facts.scores["scene_match"] = mean_score(match, "higher")
        for level in sorted(set(levels)):
            verdicts = [r for r, other in zip(right, levels, strict=True) if other == level]
            facts.scores[f"scene_score/{level}"] = mean_score(verdicts, "higher")
        facts.items = {"id": list(self.ids), "scene_score": right, "scene_match": match}
        facts.items["level"] = levels
        return merge([facts, self.distances(predictions)])

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.stated[index].text, self.picture(index)


class TextToImageTabletop(PictureTask[CaptionedScenes]):
    """See the file's docstring."""

    version, ranked_by, kind = 2, "scene_score", CaptionedScenes
    stored, captions = ("float32", "int16"), CAPTIONS
    uses = ("task.standard_sums",)

    @cached_property
    def problem(self) -> Problem:
        source = TokenShape(words.MAX_TOKENS, vocabulary=len(words.VOCABULARY))
        target = MapShape(16, self.size // 8, self.size // 8)
        return Problem(source, target, 1, "variational", "contrastive", null_rate=0.1)

    def floor(self) -> Sequence[np.ndarray]:
        """A random training picture for every item: what needs no caption."""
        picks = bounds.random_rows(self.train.count, self.test.count)
        return list(self.train.pictures[picks].transpose(0, 2, 3, 1))

    def draw_more(self, prepared: Prepared, trained: Trained) -> Scored:
        ids = np.array([words.encode(text) for four in SUMS for text in four[:3]])
        sums.draw(prepared, trained, (SUMS, ids, ids != 0), self.config.task.standard_sums)
        method = trained.arm.method
        if (reader := method.reader()) is not None and method.condition == "none":
            write_captions(trained.folder, self.read_back(prepared, trained, reader))
            print(f"inverted flow: {trained.folder / CAPTIONS_FILE}", file=sys.stderr)
        return self.sum_scores(prepared, trained)

    @torch.no_grad()
    def read_back(self, prepared: Prepared, trained: Trained, reader: nn.Module) -> dict[int, str]:
        """Captions of the true test pictures, by scene as in caption_tabletop: the flow is run
        backwards, in float32, and x0 is read (CrossFlow-T2I of Table 4)."""
        arm, sampler, texts = trained.arm, trained.sampler, list[str]()
        for part in torch.arange(len(prepared.test)).split(sampler.batch):
            target = prepared.test.pairs(part.tolist()).target.to(sampler.device)
            x0 = arm.method.invert(arm.net, target, sampler.grid).x
            texts += map(words.decode, reader(x0).argmax(-1).tolist())
        return dict(zip(self.test.indices.tolist(), texts, strict=True))

    def sum_scores(self, prepared: Prepared, trained: Trained) -> Scored:
        """`sum_score/<kind>`, the share of sums whose picture is right, and `sum_score` of all.

        Few, to be quick where tests are small: 186 in all beside 1,000 items, which themselves come
        after a thousand pictures or more of validation, from which the guidance is chosen.
        """
        scored, every = Scored({}), list[float]()
        count = min(max(self.test.count // ITEMS_A_SUM, 1), MOST_SUMS)
        for kind, signs in arithmetic.SIGNS.items():
            asked = arithmetic.sums(kind, count)
            ids = torch.tensor([words.encode(t).tolist() for one in asked for t in one.texts])
            given = Source(ids, ids != 0), signs, self.config.task.standard_sums
            drawn = sums.drawn(prepared, trained, *given)
            if isinstance(drawn, str):
                return Scored({}, unavailable={"sum_score": drawn})
            pictures = torch.from_numpy(np.stack(drawn).transpose(0, 3, 1, 2))
            right = arithmetic.judged(pictures, asked, evaluator.load(self.device))
            trained.report(f"sums: {kind}", len(every) + count, count * len(arithmetic.SIGNS))
            scored.scores[f"sum_score/{kind}"] = mean_score(right, "higher")
            every += right
        scored.scores["sum_score"] = mean_score(every, "higher")
        return scored


TASK = TextToImageTabletop
