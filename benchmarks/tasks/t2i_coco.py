"""Text to image on COCO: caption -> picture, FID and KID against the photographs of the split.

`task.root` and `task.layout`: see `captions`, coco is the default. Of the scored
split's images, in the order of their ids, `task.limit` (default 30,000, or all where there are
fewer) are chosen by a generator with a named seed, which also chooses one caption of each; more
items contain fewer. The reference is every image of the split, cropped to the centre square, then
Lanczos to `task.size`. (COCO val2014, 30,000 captions, 40,504 images: the CrossFlow paper's
FID-30K, whose own list of captions was never published.)

The source is a row of word ids of the training captions (`vocabulary`), with embeddings learned
alike in all arms, or with `weights.text_encoder` the features of CLIP or T5. The flow runs in
pixels, or with `weights.autoencoder` in its latents. Five captions an image are trained on, the
source encoder is charged with the paper's image-text contrastive loss. With `task.train_root` the
pairs of WebDataset shards are trained on instead, one caption each (`shards`), as the
paper's text-to-image models are. Validation is cut from what is trained on, by image. FID, KID, IS,
precision and recall need `weights.inception`, the CLIP score `weights.clip`. With `task.prompts`
every arm also draws GenEval's prompts (`geneval_samples`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.codecs.image import ImageSpace, checked_size, image_space
from benchmarks.codecs.text import CaptionTokens, caption_tokens
from benchmarks.config import device
from benchmarks.data import captions as splits
from benchmarks.data.captioned_photos import (
    CROPPED,
    Photo,
    Pictures,
    Split,
    cropped,
    files_digest,
)
from benchmarks.data.images import spread
from benchmarks.data.splits import Report, digest
from benchmarks.metrics import clip, distribution
from benchmarks.metrics.geneval import read_prompts
from benchmarks.metrics.inception import find_inception, inception_scores, used_digest
from benchmarks.metrics.score import merge
from benchmarks.tasks import bounds
from benchmarks.tasks.encoded import in_batches, open_store
from benchmarks.tasks.geneval_samples import geneval_extra
from benchmarks.tasks.prediction_files import PictureFiles
from benchmarks.tasks.sums import Blender
from benchmarks.tasks.task import Former, Prepared, Trained

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

DEFAULTS = {"size": 256}
LAYOUT = "coco"
ITEMS = 30_000
CHOICE = "philox-2014"  # the named seed of items and captions
BATCH = 16  # rows encoded at once: features of five captions by T5 are 3 MB a row


class TextToImageTruth(PictureFiles):
    """One caption of each chosen image; the photographs of the split are the reference.

    ids: of the captions. photos, captions: of the items, in the order of the images' ids.
    """

    def __init__(
        self,
        split: str,
        reference: Sequence[Photo],
        items: int,
        config: Config,
        cleaned: int = 0,
    ) -> None:
        self.split, self.size, self.cleaned = split, checked_size(config), cleaned
        rows, picks = choose_captions(reference, items)
        self.photos = [reference[row] for row in rows]
        self.captions = [p.captions[k] for p, k in zip(self.photos, picks, strict=True)]
        self.ids: Sequence[str] = [str(caption.id) for caption in self.captions]
        self.reference = Pictures(reference, self.size, cropped)
        self.pictures = Pictures(self.photos, self.size, cropped)
        self.weights, self.download = config.weights, config.download
        # The file's digest: two files of one architecture give other scores under one name.
        found, clip_digest = clip.find_clip(config.weights.clip, config.download)
        self.clip = None if found is None else clip_digest
        self.device, self.cache = device.resolve(config.device), Path(config.work) / "features"

    @cached_property
    def _files(self) -> str:
        """Digest of the reference's files, in their order."""
        return digest(*(photo.path.read_bytes() for photo in self.reference.photos))

    def key(self) -> dict[str, Any]:
        texts = [caption.text for caption in self.captions]
        return {
            "split": self.split,
            "items": digest("\n".join(self.ids)),
            "truth": digest(self._files, *texts),
            "protocols": {"distribution": distribution.PROTOCOL, "clip": clip.PROTOCOL},
            "options": {
                "size": self.size,
                "choice": CHOICE,
                "reference": "all images of the split",
                "reference_images": len(self.reference),
                "preparation": CROPPED,
                "clip": self.clip,
                "inception": used_digest(self.weights.inception, self.download),
            },
        }

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        texts = [caption.text for caption in self.captions]
        agreement = clip.clip_scores(
            self.ids,
            predictions,
            texts,
            weights=self.weights.clip,
            download=self.download,
            device=self.device,
        )
        distances = inception_scores(
            predictions,
            self.reference,
            weights=self.weights.inception,
            download=self.download,
            device=self.device,
            cache=self.cache,
            cache_key=digest(self._files, str(self.size), CROPPED),
        )
        scored = merge([distances, agreement])
        scored.items["id"] = list(self.ids)
        scored.items["image_id"] = [photo.id for photo in self.photos]
        scored.items["caption"] = texts
        if self.cleaned:
            scored.counts["captions_cleaned"] = self.cleaned
        return scored

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.captions[index].text, self.pictures[index]

    def pair(self, index: int) -> tuple[Cell, Cell]:
        return self.cells(index)


def choose_captions(photos: Sequence[Photo], items: int) -> tuple[list[int], list[int]]:
    """Rows of `items` photographs, and the number of one caption of each, for photos by id.

    The raw stream of numpy's Philox is the same in all versions (NEP 19). A photograph's caption
    does not depend on how many are chosen.
    """
    seed = int(CHOICE.rpartition("-")[2])
    bits = np.random.Philox(key=seed).random_raw(2 * len(photos)).reshape(-1, 2)
    rows = sorted(np.argsort(bits[:, 0], kind="stable")[:items].tolist())
    return rows, [int(bits[row, 1] % np.uint64(len(photos[row].captions))) for row in rows]


class TextToImageCoco(Former):
    """See the file's docstring."""

    version = 1
    uses: tuple[str, ...] = (
        *splits.USES,
        *("task.prompts", "weights.autoencoder", "weights.text_encoder"),
        *("weights.inception", "weights.clip"),
    )

    def primary(self, items: int) -> str:
        """KID below 10,000 items: FID is biased by the number of samples."""
        return distribution.metric_name("fid" if items >= 10_000 else "kid", items)

    def problem(self, source: CaptionTokens, space: ImageSpace) -> Problem:
        """Tokens to a picture in pixels or latents."""
        from crossflow.problem import MapShape, Problem

        return Problem(
            source=source.shape,
            target=MapShape(space.channels, space.side, space.side),
            patch=space.patch,
            encoder="variational",
            charge="contrastive",
            null_rate=0.1,
        )

    def draw_more(self, prepared: Prepared, trained: Trained) -> None:
        Blender(prepared, trained).draw_strips()

    def truth(self, config: Config, report: Report) -> TextToImageTruth:
        return _truth(splits.scored(config, LAYOUT, report, images=True), config)

    def prepared(self, config: Config, report: Report) -> Prepared:
        started = time.perf_counter()
        prompts = None if config.task.prompts is None else read_prompts(Path(config.task.prompts))
        split = splits.scored(config, LAYOUT, report, images=True)
        trained_on = splits.training(config, LAYOUT, report, split)
        chosen, held = splits.validation_cut(config, trained_on)
        held = spread(held, config.task.validation_limit)
        truth = _truth(split, config)
        validation = TextToImageTruth("validation", held, len(held), config)
        where = device.resolve(config.device)
        space, source = image_space(config, where), caption_tokens(config, where, chosen)
        problem = self.problem(source, space)
        network, reason = find_inception(config.weights.inception, config.download)
        frozen = {**space.frozen, **source.frozen}
        task_facts = {"task": "t2i_coco", "version": self.version, **frozen}

        def store(part: str, rows: _Rows, statistics: Any = None) -> Store:
            facts = {**task_facts, "part": part, "size": space.size, "preparation": CROPPED}
            facts |= {"data": rows.digest, "train": files_digest(chosen)}
            folder = Path(config.work) / "stores" / f"t2i_coco-{part}"
            batches = in_batches(lambda: partial(rows.batch, source=source, space=space), BATCH)
            return open_store(folder, problem, facts, len(rows.photos), batches, statistics, report)

        train = store("train", _Rows(chosen, [p.trained for p in chosen], None))
        return Prepared(
            problem=problem,
            train=train,
            validation=store("validation", _Rows.of(validation), train.statistics),
            test=store("test", _Rows.of(truth), train.statistics),
            truth=truth,
            validation_truth=validation,
            decode=space.decode,
            floor=lambda: _random_photographs(chosen, space.size, len(truth.ids)),
            frozen=frozen,
            training=trained_on.facts,
            seconds={"stores": time.perf_counter() - started},
            unscored=reason if network is None else None,
            extra=None
            if prompts is None
            else geneval_extra(
                Path(config.work), prompts, problem, source, task_facts, train.statistics, report
            ),
        )


def _truth(split: Split, config: Config) -> TextToImageTruth:
    items = min(config.task.limit or ITEMS, len(split.photos))
    return TextToImageTruth(split.name, split.photos, items, config, split.cleaned)


@dataclass(frozen=True)
class _Rows:
    """Rows of a store: photographs, the captions of each, their names (None: the images' ids)."""

    photos: Sequence[Photo]
    captions: Sequence[Sequence[str]]
    names: Sequence[str] | None

    @classmethod
    def of(cls, truth: TextToImageTruth) -> _Rows:
        return cls(truth.photos, [[c.text] for c in truth.captions], truth.ids)

    @property
    def digest(self) -> str:
        return digest(files_digest(self.photos), "\n".join(self.names or ()))

    def batch(self, rows: slice, source: CaptionTokens, space: ImageSpace) -> dict[str, Any]:
        """Pictures, and the tokens of all their captions."""
        photos, captions = self.photos[rows], self.captions[rows]
        values, mask = source.encode([text for several in captions for text in several])
        shape = len(photos), len(captions[0])
        names = [str(photo.id) for photo in photos] if self.names is None else self.names[rows]
        return {
            "target": space.batch(Pictures(photos, space.size, cropped)[:]),
            "source": values.reshape(*shape, *values.shape[1:]),
            "mask": mask.reshape(*shape, -1),
            "groups": [photo.group for photo in photos],
            "ids": list(names),
        }


def _random_photographs(train: Sequence[Photo], size: int, count: int) -> Pictures:
    """A random training picture for every item: what needs no caption."""
    picks = bounds.random_rows(len(train), count)
    return Pictures([train[pick] for pick in picks], size, cropped)


TASK = TextToImageCoco
