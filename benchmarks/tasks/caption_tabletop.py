"""Captioning in the embedded world: latent of a picture -> text latent -> caption.

The text latent space is that of a caption codec trained once per data set (`caption_codec`), on the
grid of the picture's latent but with fewer channels. Any of a scene's five captions is a right
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
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.metrics import captions as metric
from benchmarks.metrics.score import Scored, mean_score, merge
from benchmarks.tabletop import captions as words
from benchmarks.tasks import bounds
from benchmarks.tasks.tabletop import SceneItems, TabletopTask, frozen_autoencoder
from benchmarks.tasks.task import CaptionItems

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.codecs.caption import CaptionCodec
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

DEFAULTS = {"split": "iid", "size": 64}
CODEC_STEPS = 600
# Numbers a position of the text latent. A caption is some fifty bits: in 16 channels it is readable
# through so much noise that a flow settles it in the first fifth of its path, where few training
# times lie, and flow matching then learnt captions that had nothing to do with the picture.
TEXT_CHANNELS = 2
# Validation scenes its accuracy is measured on: fixed, because jobs with other limits share it.
CODEC_MEASURED = 64


class CaptionedPictures(SceneItems, CaptionItems):
    """Pictures, and five reference captions of each."""

    task: CaptionTabletop
    batch = 256

    @cached_property
    def references(self) -> dict[str, list[str]]:
        pairs = zip(self.ids, self.split.captions, strict=True)
        return {name: [caption.text for caption in five] for name, five in pairs}

    def facts(self) -> dict[str, Any]:
        codec = self.task.frozen["caption_codec"]["sha256"]
        return super().facts() | frozen_autoencoder() | {"codec": codec}

    def rows(self, part: slice) -> dict[str, Any]:
        """The picture's latent, and the text latents (means) of its five captions.

        Validation and test keep one, the caption that names every solid: decoded, it is the oracle.
        """
        kept = slice(None) if self.name == "train" else slice(words.FULL, words.FULL + 1)
        ids = self.split.tokens[part, kept].reshape(-1, words.MAX_TOKENS)
        target = self.task.codec.means(ids)
        return {
            "target": target.reshape(part.stop - part.start, -1, *target.shape[1:]),
            "source": np.array(self.latents[part]),
            "groups": self.split.indices[part],
            "ids": self.ids[part],
        }

    def key(self) -> dict[str, Any]:
        protocols = {"captions": metric.PROTOCOL, "scene_f1": words.PROTOCOL}
        return self.world_key(protocols, json.dumps(self.references))

    def score(self, predictions: Sequence[str]) -> Scored:
        pairs = zip(predictions, self.split.scenes, strict=True)
        f1 = [float(words.scene_f1(text, scene)) for text, scene in pairs]
        facts = Scored({"scene_f1": mean_score(f1, "higher")})
        facts.items = {"id": list(self.ids), "scene_f1": f1, "caption": list(predictions)}
        by_id = dict(zip(self.ids, predictions, strict=True))
        return merge([facts, metric.caption_scores(by_id, self.references)])

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.picture(index), self.references[self.ids[index]][words.FULL]

    def pair(self, index: int) -> tuple[Cell, list[str]]:
        return self.picture(index), self.references[self.ids[index]]


class CaptionTabletop(TabletopTask[CaptionedPictures]):
    """See the file's docstring."""

    version, kind = 2, CaptionedPictures

    def primary(self, items: int) -> str:
        return "scene_f1"

    @cached_property
    def problem(self) -> Problem:
        from crossflow.problem import MapShape, Problem

        source, target = (
            MapShape(channels, self.size // 8, self.size // 8) for channels in (16, TEXT_CHANNELS)
        )
        return Problem(source, target, 1, "variational", "reconstruction", null_rate=0.0)

    @property
    def codec(self) -> CaptionCodec:
        return self._kept_codec[0]

    @cached_property
    def frozen(self) -> dict[str, Any]:
        _, facts, self.seconds["caption codec"] = self._kept_codec
        return {"autoencoder": frozen_autoencoder(), "caption_codec": facts}

    @cached_property
    def _kept_codec(self) -> tuple[CaptionCodec, dict[str, Any], float]:
        """The codec of this training set, its facts, the seconds it took."""
        from benchmarks.codecs import caption as codecs

        train = self.train.split
        unseen = replace(self.split("validation"), count=CODEC_MEASURED)
        shape = codecs.CodecShape(
            len(words.VOCABULARY), words.MAX_TOKENS, TEXT_CHANNELS, self.size // 8, self.size // 8
        )
        data = {"measured_on_scenes": CODEC_MEASURED, "vocabulary": list(words.VOCABULARY)}
        codec, facts, seconds = codecs.kept_codec(
            Path(self.config.work) / "codecs",
            shape,
            data | {"version": self.version, **SceneItems.facts(self.train)},
            lambda: train.tokens.reshape(-1, words.MAX_TOKENS),
            unseen.tokens.reshape(-1, words.MAX_TOKENS),
            steps=CODEC_STEPS,
            device=train.device,
            report=self.report,
        )
        return codec, {**facts, "measured_on_scenes": CODEC_MEASURED}, seconds

    def decode(self, target: Tensor) -> list[str]:
        return [words.decode(row) for row in self.codec.words(target)]

    def floor(self, train: Store) -> list[str]:
        """The caption seen most often in training, the first of equals by the alphabet."""
        texts = sorted(c.text for five in self.train.split.captions for c in five)
        return [bounds.most_frequent(texts)] * len(self.test.ids)


TASK = CaptionTabletop
