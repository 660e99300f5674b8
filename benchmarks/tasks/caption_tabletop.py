"""Captioning in the embedded world: latent of a picture -> text latent -> caption.

The text latent space is that of a caption codec trained once per data set (`codecs.caption`), on
the grid of the picture's latent but with fewer channels. Any of a scene's five captions is a right
target. Primary score: F1 of the facts a caption states; CIDEr and its kin stand beside it, they
cannot see which colour belongs to which solid.

The paper flows from the picture's latent as it is, which has its text latent's shape (section 5.3).
Where shapes differ a source encoder is needed, and it is charged with rebuilding the picture's
latent, as the paper's encoder for depth is. Version 1 had no such charge: nothing then asked the
code to hold the picture, and it collapsed to noise (its means had a deviation of 0.02 after 2e14
FLOPs), so that crossflow wrote captions without having seen anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.codecs import caption as codecs
from benchmarks.metrics import captions as metric
from benchmarks.metrics.score import Scored, mean_score, merge
from benchmarks.records.samples import Cell
from benchmarks.tabletop import captions as words
from benchmarks.tasks import bounds
from benchmarks.tasks.tabletop import Scenes, TabletopTask, frozen_autoencoder
from benchmarks.tasks.task import CaptionItems
from crossflow.problem import MapShape, Problem, TokenShape

DEFAULTS = {"split": "iid", "size": 64}
CODEC_STEPS = 600
# Numbers a position of the text latent. A caption is some fifty bits: in 16 channels it is readable
# through so much noise that a flow settles it in the first fifth of its path, where few training
# times lie, and flow matching then learnt captions that had nothing to do with the picture.
TEXT_CHANNELS = 2
# Validation scenes its accuracy is measured on: fixed, because jobs with other limits share it.
CODEC_MEASURED = 64


class CaptionedPictures(Scenes, CaptionItems):
    """Pictures, and five reference captions of each."""

    task: CaptionTabletop
    batch = 256

    @cached_property
    def references(self) -> dict[str, list[str]]:
        pairs = zip(self.ids, self.captions, strict=True)
        return {name: [caption.text for caption in five] for name, five in pairs}

    def facts(self) -> dict[str, Any]:
        codec = self.task.frozen["caption_codec"]["sha256"]
        return super().facts() | frozen_autoencoder() | {"codec": codec}

    def rows(self, part: slice) -> dict[str, Any]:
        """The picture's latent, and the text latents (means) of its five captions.

        Validation and test keep one, the caption that names every solid: decoded, it is the oracle.
        """
        kept = slice(None) if self.name == "train" else slice(words.FULL, words.FULL + 1)
        tokens = self.tokens[part, kept]
        means = self.task.codec.means(tokens.reshape(-1, words.MAX_TOKENS))
        target = means.reshape(*tokens.shape[:2], *means.shape[1:])
        return {"target": target, "source": self.task.encode(self.pictures[part]), "words": tokens}

    def key(self) -> dict[str, Any]:
        protocols = {"captions": metric.PROTOCOL, "scene_f1": words.PROTOCOL}
        return self.world_key(protocols, json.dumps(self.references))

    def score(self, predictions: Sequence[str]) -> Scored:
        pairs = zip(predictions, self.scenes, strict=True)
        f1 = [float(words.scene_f1(text, scene)) for text, scene in pairs]
        facts = Scored({"scene_f1": mean_score(f1, "higher")})
        facts.items = {"id": list(self.ids), "scene_f1": f1, "caption": list(predictions)}
        by_id = dict(zip(self.ids, predictions, strict=True))
        return merge([facts, metric.caption_scores(by_id, self.references)])

    def cells(self, index: int) -> tuple[Cell, Cell]:
        picture, texts = self.pair(index)
        return picture, texts[words.FULL]

    def pair(self, index: int) -> tuple[Cell, list[str]]:
        return self.picture(index), self.references[self.ids[index]]


class CaptionTabletop(TabletopTask[CaptionedPictures]):
    """See the file's docstring."""

    version, ranked_by, kind = 3, "scene_f1", CaptionedPictures
    stored, captions = ("float16", "float32"), 5

    @cached_property
    def problem(self) -> Problem:
        side = self.size // 8
        source, target = (MapShape(channels, side, side) for channels in (16, TEXT_CHANNELS))
        spoken = TokenShape(words.MAX_TOKENS, vocabulary=len(words.VOCABULARY))
        return Problem(source, target, 1, "variational", "reconstruction", 0.0, spoken)

    @cached_property
    def _codec(self) -> tuple[codecs.CaptionCodec, dict[str, Any]]:
        """The codec of this training set, and its facts."""
        side, length = self.size // 8, words.MAX_TOKENS
        shape = codecs.CodecShape(len(words.VOCABULARY), length, TEXT_CHANNELS, side, side)
        data = {"measured_on_scenes": CODEC_MEASURED, "vocabulary": list(words.VOCABULARY)}
        unseen = CaptionedPictures(self, "validation", CODEC_MEASURED)
        codec, facts, self.seconds["caption codec"] = codecs.kept_codec(
            Path(self.config.work) / "codecs",
            shape,
            data | {"version": self.version, **Scenes.facts(self.train)},
            lambda: self.train.tokens.reshape(-1, length),
            unseen.tokens.reshape(-1, length),
            steps=CODEC_STEPS,
            device=self.device,
            report=self.report,
        )
        return codec, {**facts, "measured_on_scenes": CODEC_MEASURED}

    @property
    def codec(self) -> codecs.CaptionCodec:
        return self._codec[0]

    @cached_property
    def frozen(self) -> dict[str, Any]:
        return {"autoencoder": frozen_autoencoder(), "caption_codec": self._codec[1]}

    def decode(self, target: Tensor) -> list[str]:
        return [words.decode(row) for row in self.codec.words(target)]

    def floor(self) -> list[str]:
        """The caption seen most often in training, the first of equals by the alphabet."""
        texts = sorted(caption.text for five in self.train.captions for caption in five)
        return [bounds.most_frequent(texts)] * self.test.count


TASK = CaptionTabletop
