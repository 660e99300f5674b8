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
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.splits import Report, choose, digest
from benchmarks.metrics import captions as metric
from benchmarks.tabletop import captions as words
from benchmarks.tasks import bounds
from benchmarks.tasks.encoded import in_batches, open_store
from benchmarks.tasks.prediction_files import CaptionFiles
from benchmarks.tasks.t2i_tabletop import token_ids
from benchmarks.tasks.tabletop_world import (
    RenderedSplit,
    World,
    frozen_autoencoder,
    store_facts,
    truth_key,
    world,
)
from benchmarks.tasks.task import Former, Prepared
from crossflow.files import published

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.codecs.caption_codec import CaptionCodec
    from benchmarks.config.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

DEFAULTS = {"split": "iid", "size": 64}
CODEC_STEPS, CODEC_BATCH, CODEC_SEED = 600, 64, 0
# Numbers a position of the text latent. A caption is some fifty bits: in 16 channels it is readable
# through so much noise that a flow settles it in the first fifth of its path, where few training
# times lie, and flow matching then learnt captions that had nothing to do with the picture.
TEXT_CHANNELS = 2
# Validation scenes its accuracy is measured on: fixed, because jobs with other limits share it.
CODEC_MEASURED = 64


class CaptionTruth(CaptionFiles):
    """Five reference captions of each scene of a split."""

    def __init__(self, split: RenderedSplit, size: int) -> None:
        self.split, self.size = split, size
        self.ids: Sequence[str] = split.ids

    @cached_property
    def references(self) -> dict[str, list[str]]:
        pairs = zip(self.ids, self.split.captions, strict=True)
        return {name: [caption.text for caption in five] for name, five in pairs}

    @cached_property
    def _pictures(self) -> np.ndarray:
        return self.split.pictures(self.size)

    def key(self) -> dict[str, Any]:
        protocols = {"captions": metric.PROTOCOL, "scene_f1": words.PROTOCOL}
        return truth_key(self.split, protocols, json.dumps(self.references))

    def score(self, predictions: Sequence[str]) -> Scored:
        from benchmarks.metrics.score import Scored, mean_score, merge

        pairs = zip(predictions, self.split.scenes, strict=True)
        f1 = [float(words.scene_f1(text, scene)) for text, scene in pairs]
        facts = Scored({"scene_f1": mean_score(f1, "higher")})
        facts.items = {"id": list(self.ids), "scene_f1": f1, "caption": list(predictions)}
        spoken = dict(zip(self.ids, predictions, strict=True))
        return merge([facts, metric.caption_scores(spoken, self.references)])

    def cells(self, index: int) -> tuple[Cell, Cell]:
        picture = self._pictures[index].transpose(1, 2, 0)
        return picture, self.references[self.ids[index]][words.FULL]

    def pair(self, index: int) -> tuple[Cell, list[str]]:
        return self.cells(index)[0], self.references[self.ids[index]]


class CaptionTabletop(Former):
    """See the file's docstring."""

    version = 2
    uses: tuple[str, ...] = ()

    def primary(self, items: int) -> str:
        return "scene_f1"

    def problem(self, size: int) -> Problem:
        """Latent of a picture to a text latent on its grid."""
        from crossflow.problem import MapShape, Problem

        return Problem(
            source=MapShape(16, size // 8, size // 8),
            target=MapShape(TEXT_CHANNELS, size // 8, size // 8),
            patch=1,
            encoder="variational",
            charge="reconstruction",
            null_rate=0.0,
        )

    def truth(self, config: Config, report: Report) -> CaptionTruth:
        size = _size(config)
        return CaptionTruth(world(config, report).test, size)

    def prepared(self, config: Config, report: Report) -> Prepared:
        size = _size(config)
        splits, problem = world(config, report), self.problem(size)
        codec, facts, codec_seconds = _codec(config, splits, size, report)
        started = time.perf_counter()

        def store(split: RenderedSplit, statistics: Any = None) -> Store:
            made = store_facts("caption_tabletop", self.version, splits, split)
            made |= {"codec": facts["sha256"], "size": size}
            folder = Path(config.work) / "stores" / f"caption-{split.name}"
            made |= frozen_autoencoder()
            batches = in_batches(lambda: _rows(split, size, codec), 256)
            return open_store(folder, problem, made, split.count, batches, statistics, report)

        train = store(splits.train)
        return Prepared(
            problem=problem,
            train=train,
            validation=store(splits.validation, train.statistics),
            test=store(splits.test, train.statistics),
            truth=CaptionTruth(splits.test, size),
            validation_truth=CaptionTruth(splits.validation, size),
            decode=lambda target: _speak(codec, target),
            floor=lambda: [_most_frequent(splits.train)] * splits.test.count,
            frozen={"autoencoder": frozen_autoencoder(), "caption_codec": facts},
            seconds={"caption codec": codec_seconds, "stores": time.perf_counter() - started},
        )


def _codec(
    config: Config, splits: World, size: int, report: Report
) -> tuple[CaptionCodec, dict[str, Any], float]:
    """The codec of this training set, its facts for the record, and the seconds it took.

    Trained once and kept under `work`; the seed is its own, so that all seeds of a match share it.
    """
    import hashlib

    from benchmarks.codecs import caption_codec as codecs

    shape = codecs.CodecShape(
        len(words.VOCABULARY), words.MAX_TOKENS, TEXT_CHANNELS, size // 8, size // 8
    )
    made = {"steps": CODEC_STEPS, "batch": CODEC_BATCH, "seed": CODEC_SEED, **asdict(shape)}
    made |= {"kl_weight": codecs.KL_WEIGHT, "latent_noise": codecs.LATENT_NOISE}
    made |= {"measured_on_scenes": CODEC_MEASURED, "vocabulary": list(words.VOCABULARY)}
    made |= store_facts("caption_tabletop", TASK.version, splits, splits.train)
    where = Path(config.work) / "codecs" / f"caption_tabletop-{digest(json.dumps(made))}"
    weights, card = where / "codec.safetensors", where / "card.json"
    if not where.is_dir():
        codec, cost = codecs.train_codec(
            shape,
            token_ids(splits.train).reshape(-1, words.MAX_TOKENS),
            token_ids(_unseen(splits)).reshape(-1, words.MAX_TOKENS),
            steps=CODEC_STEPS,
            batch=CODEC_BATCH,
            seed=CODEC_SEED,
            device=splits.train.device,
            report=lambda done, total, _: report("caption codec: training", done, total),
        )
        with published(where) as partial:
            codecs.save_codec(codec, partial / weights.name)
            measured = {**asdict(cost), "measured_on_scenes": CODEC_MEASURED}
            (partial / card.name).write_text(json.dumps(measured))
    facts = json.loads(card.read_text())
    seconds = facts.pop("seconds")
    facts["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    return codecs.load_codec(weights, splits.train.device), facts, seconds


def _unseen(splits: World) -> RenderedSplit:
    """The validation scenes on which a codec is measured, whatever `task.validation_limit`."""
    return replace(splits.validation, count=CODEC_MEASURED)


def _size(config: Config) -> int:
    return int(choose("task.size", config.task.size, (32, 64)))


def _rows(
    split: RenderedSplit, size: int, codec: CaptionCodec
) -> Callable[[slice], dict[str, Any]]:
    """Rows of a store: the picture's latent, and the text latents (means) of its five captions.

    Validation and test keep one, the caption that names every solid: decoded, it is the oracle.
    """
    import torch

    source = split.latents(f"hr{size}", split.pictures(size))
    ids = token_ids(split).astype(np.int64)
    if split.name != "train":
        ids = ids[:, words.FULL : words.FULL + 1]
    where = next(codec.parameters()).device

    def batch(rows: slice) -> dict[str, Any]:
        tokens = torch.from_numpy(ids[rows].reshape(-1, words.MAX_TOKENS)).to(where)
        with torch.no_grad():
            means = codec.encode(tokens)[0].cpu().numpy().astype(np.float16)
        return {
            "target": means.reshape(rows.stop - rows.start, -1, *means.shape[1:]),
            "source": np.array(source[rows]),
            "groups": split.indices[rows],
            "ids": split.ids[rows],
        }

    return batch


def _speak(codec: CaptionCodec, target: Tensor) -> list[str]:
    found = codec.words(target.to(next(codec.parameters()).device)).cpu().numpy()
    return [words.decode(row) for row in found]


def _most_frequent(train: RenderedSplit) -> str:
    """The caption seen most often in training, the first of equals by the alphabet."""
    return bounds.most_frequent(sorted(c.text for five in train.captions for c in five))


TASK = CaptionTabletop
