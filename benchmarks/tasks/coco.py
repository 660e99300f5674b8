"""What the tasks on photographs with captions share: a split is scored, another trained on.

What is trained on is the training split that belongs to the scored one, or the pairs of
`task.train_root`; validation is cut from it, by image.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from benchmarks.data import captions as splits
from benchmarks.data.captions import Photo, Split, files_digest
from benchmarks.data.images import spread
from benchmarks.data.splits import cut
from benchmarks.tasks.photos import PhotoTask
from benchmarks.tasks.task import AnyItems


class CaptionedPhotos(PhotoTask[AnyItems]):
    """A task on photographs with captions."""

    layout: ClassVar[str]  # where `task.layout` is not given
    captions = 5  # COCO's and Flickr's; crawled pairs have one
    uses: tuple[str, ...] = (*splits.USES, "weights.autoencoder")

    @cached_property
    def scored(self) -> Split:
        return splits.scored(self.config, self.layout, self.report)

    @cached_property
    def trained_on(self) -> Split:
        return splits.training(self.config, self.layout, self.report, self.scored)

    @cached_property
    def chosen_and_held(self) -> tuple[list[Photo], list[Photo]]:
        """Photographs that are trained on, and those that are held out of training."""
        photos, limit = self.trained_on.photos, self.config.task.train_limit
        return cut(photos, lambda photo: str(photo.group), limit, None)

    @property
    def chosen(self) -> list[Photo]:
        return self.chosen_and_held[0]

    @property
    def held(self) -> list[Photo]:
        """The validation items."""
        return spread(self.chosen_and_held[1], self.config.task.validation_limit)

    @cached_property
    def trained_files(self) -> str:
        return files_digest(self.chosen)

    def crawled(self) -> dict[str, int]:
        return self.trained_on.facts
