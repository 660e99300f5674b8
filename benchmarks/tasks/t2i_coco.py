"""Text to image on COCO: caption -> picture, FID and KID against the photographs of the split.

Of the scored split's images `task.limit` (default 30,000, or all where there are fewer) are chosen
by a generator with a named seed, which also chooses one caption of each; more items contain fewer.
The reference is every image of the split. COCO val2014, 30,000 captions, 40,504 images: the paper's
FID-30K, whose own list of captions was never published. Five captions an image are trained on; the
source encoder is charged with the image-text contrastive loss. Data and choices: docs/data.md.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.codecs.image import checked_size
from benchmarks.codecs.text import (
    FIELD,
    LARGEST,
    LENGTH,
    CaptionTokens,
    Vocabulary,
    caption_tokens,
    word_tokens,
)
from benchmarks.codecs.weights import elsewhere
from benchmarks.data.captions import CROPPED, Photo, Pictures, Split, files_digest
from benchmarks.data.splits import digest, digest_all
from benchmarks.metrics import clip, distribution, geneval
from benchmarks.metrics.score import Scored, merge
from benchmarks.metrics.weights import used_digest
from benchmarks.records.samples import Cell
from benchmarks.tasks import bounds, sums
from benchmarks.tasks.coco import CaptionedPhotos
from benchmarks.tasks.task import PictureItems, Prepared, Trained
from crossflow.problem import Problem, Source, TokenShape

DEFAULTS = {"size": 256}
ITEMS = 30_000
CHOICE = "philox-2014"  # the named seed of items and captions


class TrainedPhotos(PictureItems):
    """Photographs, and all captions of each that are trained on."""

    batch = 16  # features of five captions by T5 are 3 MB a row

    def __init__(self, task: TextToImageCoco, name: str, photos: Sequence[Photo]) -> None:
        self.task, self.name, self.photos, self.size = task, name, photos, checked_size(task.config)
        self.texts, self.ids = [photo.trained for photo in photos], [str(p.id) for p in photos]
        self.groups = [photo.group for photo in photos]
        self.pictures = Pictures(photos, self.size, CROPPED)

    def facts(self) -> dict[str, Any]:
        facts = {"part": self.name, "size": self.size, "preparation": CROPPED, **self.task.frozen}
        data = digest(files_digest(self.photos), "\n".join(self.ids))
        return facts | {"data": data, "train": self.task.trained_files}

    def rows(self, part: slice) -> dict[str, Any]:
        """Pictures, and the tokens of all their captions."""
        texts = self.texts[part]
        values, mask = self.task.tokens.encode([text for several in texts for text in several])
        source, mask = (x.reshape(len(texts), -1, *x.shape[1:]) for x in (values, mask))
        target = self.task.space.batch(self.pictures[part])
        return {"target": target, "source": source, "mask": mask}


class ScoredPhotos(TrainedPhotos):
    """One caption of each chosen photograph; all photographs of the split are the reference.

    ids: of the captions, in the order of the images' ids.
    """

    def __init__(self, task: TextToImageCoco, name: str, split: Split, items: int) -> None:
        rows, picks = choose_captions(split.photos, items)
        super().__init__(task, name, [split.photos[row] for row in rows])
        self.split, self.cleaned = split.name, split.cleaned
        captions = [p.captions[pick] for p, pick in zip(self.photos, picks, strict=True)]
        self.ids = [str(caption.id) for caption in captions]
        self.captions = [caption.text for caption in captions]
        self.texts = [[text] for text in self.captions]
        self.shapes = [(self.size, self.size)] * len(self.ids)
        self.reference = Pictures(split.photos, self.size, CROPPED)
        # The file's digest: two files of one architecture give other scores under one name.
        self.clip = used_digest(clip.find_clip(task.config.weights.clip, task.config.download))

    @cached_property
    def _files(self) -> str:
        """Digest of the reference's files, in their order."""
        return digest_all(photo.path.read_bytes() for photo in self.reference.photos)

    def key(self) -> dict[str, Any]:
        protocols = {"distribution": distribution.PROTOCOL, "clip": clip.PROTOCOL}
        options = {"size": self.size, "choice": CHOICE, "preparation": CROPPED, "clip": self.clip}
        options |= {"reference": "all images of the split", "reference_images": len(self.reference)}
        options |= {"inception": used_digest(self.task.inception)}
        return self.named(digest(self._files, *self.captions), protocols, **options)

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        config, content = self.task.config, digest(self._files, str(self.size), CROPPED)
        network: Any = {"weights": config.weights.clip, "download": config.download}
        given = self.ids, predictions, self.captions
        agreement = clip.clip_scores(*given, device=self.task.device, **network)
        scored = merge([self.task.distances(predictions, self.reference, content), agreement])
        scored.items |= {"id": list(self.ids), "image_id": [photo.id for photo in self.photos]}
        scored.items["caption"] = self.captions
        if self.cleaned:
            scored.counts["captions_cleaned"] = self.cleaned
        return scored

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.captions[index], self.pictures[index]


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

    version, layout = 2, "coco"
    uses = (
        *(*CaptionedPhotos.uses, "task.prompts", "weights.text_encoder"),
        *("weights.inception", "weights.clip"),
    )

    def items(self, part: str) -> TrainedPhotos:
        if part == "train":
            return TrainedPhotos(self, part, self.chosen)
        if part == "validation":
            return ScoredPhotos(self, part, Split(part, self.held, 0, {}), len(self.held))
        _ = self.prompts  # what is wrong with them is told before anything is trained
        limit = self.config.task.limit or ITEMS
        return ScoredPhotos(self, part, self.scored, min(limit, len(self.scored.photos)))

    @cached_property
    def tokens(self) -> CaptionTokens:
        own_words = self.config.weights.text_encoder is None
        return caption_tokens(self.config, self.device, self.chosen if own_words else [])

    def assume(self) -> list[str]:
        notes, name = super().assume(), self.config.weights.text_encoder
        if elsewhere(name, self.config.download):
            width = 4096 if "t5" in str(name) else 768  # T5-XXL, or CLIP ViT-L/14
            self.tokens = word_tokens(Vocabulary([]))._replace(
                shape=TokenShape(LENGTH, width=width)
            )
            notes.append(f"{FIELD}={name} is not here: its tokens have {width} numbers")
        elif name is None and self.config.task.root is None:
            self.tokens = word_tokens(Vocabulary([""] * LARGEST))
            notes.append(f"the vocabulary has {LARGEST:,} words, the most it may have")
        return notes

    @property
    def stored(self) -> tuple[str, str]:  # type: ignore[override]
        return super().stored[0], "int16" if self.tokens.shape.width is None else "float16"

    @cached_property
    def problem(self) -> Problem:
        shapes = self.tokens.shape, self.shape, self.space.patch
        return Problem(*shapes, "variational", "contrastive", null_rate=0.1)

    @cached_property
    def frozen(self) -> dict[str, Any]:
        return {**self.space.frozen, **self.tokens.frozen}

    def floor(self) -> Pictures:
        """A random training picture for every item: what needs no caption."""
        picks = bounds.random_rows(len(self.chosen), len(self.test.ids))
        return Pictures([self.chosen[pick] for pick in picks], self.space.size, CROPPED)

    @cached_property
    def prompts(self) -> list[geneval.Prompt]:
        """GenEval's, which are never trained on."""
        given = self.config.task.prompts
        return [] if given is None else geneval.read_prompts(Path(given))

    def draw_more(self, prepared: Prepared, trained: Trained) -> None:
        """Strips; and four pictures of each prompt in GenEval's folders, `<run folder>/geneval`."""
        sums.draw(prepared, trained)
        if self.prompts:
            drawn = [self._draw(prepared, trained, draw) for draw in range(geneval.IMAGES)]
            folder = trained.folder / "geneval"
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed here
            geneval.write_samples(folder, self.prompts, lambda i: [each[i] for each in drawn])
            print(f"geneval: {folder}", file=sys.stderr)

    def _draw(self, prepared: Prepared, trained: Trained, draw: int) -> list[np.ndarray]:
        """A picture of each prompt, by the draw of that number."""
        sampler, count = replace(trained.sampler, draw=draw), len(self.prompts)
        names = [geneval.folder_name(index) for index in range(count)]
        pictures: list[np.ndarray] = []
        for start in range(0, count, sampler.batch):
            part = slice(start, start + sampler.batch)
            encoded = self.tokens.encode([prompt["prompt"] for prompt in self.prompts[part]])
            values, mask = map(torch.from_numpy, encoded)
            values = values.float() if values.is_floating_point() else values.long()
            source = Source(values, mask).to(sampler.device)
            with torch.no_grad():
                ends = trained.arm.method.sample_ends(source, sampler.draws(names[part]))
            target, _ = sampler.follow(trained.arm, prepared.test, ends, trained.guidance)
            pictures += prepared.decode(target)
            trained.report("sampling for geneval", draw * count + len(pictures), 4 * count)
        return pictures


TASK = TextToImageCoco
