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
every arm also draws GenEval's prompts (`t2i_geneval`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.codecs.image import checked_size
from benchmarks.codecs.text import CaptionTokens, caption_tokens
from benchmarks.data.captions import CROPPED, Photo, Pictures, cropped, files_digest
from benchmarks.data.splits import digest, digest_all
from benchmarks.metrics import clip, distribution
from benchmarks.metrics.geneval import read_prompts
from benchmarks.metrics.score import merge
from benchmarks.metrics.weights import used_digest
from benchmarks.tasks import bounds
from benchmarks.tasks.coco import CaptionedPhotos
from benchmarks.tasks.sums import Blender
from benchmarks.tasks.t2i_geneval import Prompts
from benchmarks.tasks.task import PictureItems, Prepared, Trained

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

DEFAULTS = {"size": 256}
ITEMS = 30_000
CHOICE = "philox-2014"  # the named seed of items and captions


class TrainedPhotos(PictureItems):
    """Photographs, and all captions of each that are trained on."""

    batch = 16  # features of five captions by T5 are 3 MB a row

    def __init__(self, task: TextToImageCoco, name: str, photos: Sequence[Photo]) -> None:
        self.task, self.name, self.photos, self.size = task, name, photos, checked_size(task.config)
        self.texts, self.ids = [photo.trained for photo in photos], [str(p.id) for p in photos]
        self.pictures = Pictures(photos, self.size, cropped)

    def facts(self) -> dict[str, Any]:
        facts = {"part": self.name, "size": self.size, "preparation": CROPPED, **self.task.frozen}
        names = "" if self.name == "train" else "\n".join(self.ids)
        data = digest(files_digest(self.photos), names)
        return facts | {"data": data, "train": self.task.trained_files}

    def rows(self, part: slice) -> dict[str, Any]:
        """Pictures, and the tokens of all their captions."""
        texts = self.texts[part]
        values, mask = self.task.tokens.encode([text for several in texts for text in several])
        shape = len(texts), len(texts[0])
        return {
            "target": self.task.space.batch(self.pictures[part]),
            "source": values.reshape(*shape, *values.shape[1:]),
            "mask": mask.reshape(*shape, -1),
            "groups": [photo.group for photo in self.photos[part]],
            "ids": self.ids[part],
        }


class ScoredPhotos(TrainedPhotos):
    """One caption of each chosen photograph; all photographs of the split are the reference.

    ids: of the captions, in the order of the images' ids. cleaned: captions that were changed.
    """

    def __init__(
        self,
        task: TextToImageCoco,
        name: str,
        split: str,
        reference: Sequence[Photo],
        items: int,
        cleaned: int = 0,
    ) -> None:
        rows, picks = choose_captions(reference, items)
        super().__init__(task, name, [reference[row] for row in rows])
        self.split, self.cleaned = split, cleaned
        self.captions = [p.captions[k] for p, k in zip(self.photos, picks, strict=True)]
        self.ids = [str(caption.id) for caption in self.captions]
        self.texts = [[caption.text] for caption in self.captions]
        self.shapes = [(self.size, self.size)] * len(self.ids)
        self.reference = Pictures(reference, self.size, cropped)
        # The file's digest: two files of one architecture give other scores under one name.
        weights, download = task.config.weights.clip, task.config.download
        self.clip = used_digest(clip.find_clip(weights, download))

    @cached_property
    def _files(self) -> str:
        """Digest of the reference's files, in their order."""
        return digest_all(photo.path.read_bytes() for photo in self.reference.photos)

    def key(self) -> dict[str, Any]:
        weights, download = self.task.config.weights.inception, self.task.config.download
        return {
            "split": self.split,
            "items": digest("\n".join(self.ids)),
            "truth": digest(self._files, *(caption.text for caption in self.captions)),
            "protocols": {"distribution": distribution.PROTOCOL, "clip": clip.PROTOCOL},
            "options": {
                "size": self.size,
                "choice": CHOICE,
                "reference": "all images of the split",
                "reference_images": len(self.reference),
                "preparation": CROPPED,
                "clip": self.clip,
                "inception": used_digest(distribution.find_inception(weights, download)),
            },
        }

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        config, texts = self.task.config, [caption.text for caption in self.captions]
        where: dict[str, Any] = {"download": config.download, "device": self.task.device}
        agreement = clip.clip_scores(
            self.ids, predictions, texts, weights=config.weights.clip, **where
        )
        distances = distribution.inception_scores(
            predictions,
            self.reference,
            weights=config.weights.inception,
            reference_key=digest(self._files, str(self.size), CROPPED),
            **where,
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


def choose_captions(photos: Sequence[Photo], items: int) -> tuple[list[int], list[int]]:
    """Rows of `items` photographs, and the number of one caption of each, for photos by id.

    The raw stream of numpy's Philox is the same in all versions (NEP 19). A photograph's caption
    does not depend on how many are chosen.
    """
    seed = int(CHOICE.rpartition("-")[2])
    bits = np.random.Philox(key=seed).random_raw(2 * len(photos)).reshape(-1, 2)
    rows = sorted(np.argsort(bits[:, 0], kind="stable")[:items].tolist())
    return rows, [int(bits[row, 1] % np.uint64(len(photos[row].captions))) for row in rows]


class TextToImageCoco(CaptionedPhotos[TrainedPhotos]):
    """See the file's docstring."""

    version, layout = 1, "coco"
    uses = (
        *(*CaptionedPhotos.uses, "task.prompts", "weights.text_encoder"),
        *("weights.inception", "weights.clip"),
    )

    def primary(self, items: int) -> str:
        """KID below 10,000 items: FID is biased by the number of samples."""
        return distribution.metric_name("fid" if items >= 10_000 else "kid", items)

    def items(self, part: str) -> TrainedPhotos:
        if part == "train":
            return TrainedPhotos(self, part, self.chosen)
        if part == "validation":
            return ScoredPhotos(self, part, part, self.held, len(self.held))
        split = self.scored
        items = min(self.config.task.limit or ITEMS, len(split.photos))
        return ScoredPhotos(self, part, split.name, split.photos, items, split.cleaned)

    @cached_property
    def tokens(self) -> CaptionTokens:
        return caption_tokens(self.config, self.device, self.chosen)

    @cached_property
    def problem(self) -> Problem:
        from crossflow.problem import MapShape, Problem

        target = MapShape(self.space.channels, self.space.side, self.space.side)
        shapes = self.tokens.shape, target, self.space.patch
        return Problem(*shapes, "variational", "contrastive", null_rate=0.1)

    @cached_property
    def frozen(self) -> dict[str, Any]:
        return {**self.space.frozen, **self.tokens.frozen}

    def decode(self, target: Tensor) -> list[np.ndarray]:
        return self.space.decode(target)

    def floor(self, train: Store) -> Pictures:
        """A random training picture for every item: what needs no caption."""
        picks = bounds.random_rows(len(self.chosen), len(self.test.ids))
        return Pictures([self.chosen[pick] for pick in picks], self.space.size, cropped)

    def unavailable(self) -> str | None:
        weights = self.config.weights.inception
        network, reason = distribution.find_inception(weights, self.config.download)
        return reason if network is None else None

    def prepare(self) -> Prepared:
        given = self.config.task.prompts
        prompts = None if given is None else read_prompts(Path(given))
        prepared = super().prepare()
        if prompts is not None:
            self.prompts = Prompts(self, self.tokens, prompts, prepared.train.statistics)
            self.prompts.store = self.store(self.prompts, prepared.train.statistics)
        return prepared

    def draw_more(self, prepared: Prepared, trained: Trained) -> None:
        Blender(prepared, trained).draw_strips()
        if self.config.task.prompts is not None:
            self.prompts.draw(prepared, trained)


TASK = TextToImageCoco
