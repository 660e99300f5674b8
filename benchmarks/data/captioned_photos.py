"""Photographs with captions, how their pixels are read, and what a store depends on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.data.images import PHOTO_MODES, OnDemand, bicubic, centre_square, read_rgb
from benchmarks.data.shards import Member
from benchmarks.data.splits import digest

if TYPE_CHECKING:
    from jaxtyping import UInt8

VARIANTS = 5  # captions of a photograph that are trained on; some have six or seven
# Names of the two preparations, in fingerprints and score keys.
CROPPED = "centre_square_lanczos_pil"
SQUASHED = "whole_bicubic_pil"


@dataclass(frozen=True)
class Caption:
    """A cleaned caption and its id in the annotations."""

    id: int
    text: str


@dataclass(frozen=True)
class Photo:
    """A photograph and all of its captions, in the order of their ids."""

    id: int
    path: Path | Member
    captions: tuple[Caption, ...]
    crawled_as: int | None = None  # of a crawled pair, the id of the first pair with this image

    @property
    def group(self) -> int:
        """One number for all pairs of an image: they are cut apart and told apart together."""
        return self.id if self.crawled_as is None else self.crawled_as

    @property
    def trained(self) -> list[str]:
        """The VARIANTS captions of smallest id, fewer come round again; a crawled pair has one."""
        if self.crawled_as is not None:
            return [self.captions[0].text]
        return [self.captions[k % len(self.captions)].text for k in range(VARIANTS)]


@dataclass(frozen=True)
class Split:
    """Photographs in the order of their ids."""

    name: str
    photos: list[Photo]
    cleaned: int  # captions whose characters were replaced
    # Of training data that are no published split, what is kept in records.
    facts: dict[str, int] = field(default_factory=dict)


class Pictures(OnDemand):
    """Photographs at `size` x `size`, uint8 RGB, read when asked for.

    prepare: `cropped` or `squashed`. InputError from the read names a damaged file.
    """

    def __init__(
        self, photos: Sequence[Photo], size: int, prepare: Callable[[np.ndarray, int], np.ndarray]
    ) -> None:
        self.photos = photos
        super().__init__(
            lambda i: prepare(read_rgb(photos[i].path, PHOTO_MODES), size), len(photos)
        )


def cropped(image: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Centre crop to the short side, then Pillow's Lanczos to `size`: U-ViT's, CrossFlow's rule."""
    return centre_square(image, size, Image.Resampling.LANCZOS)


def squashed(image: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The whole picture at `size` x `size`, bicubic: captions also tell what is at the edges."""
    return bicubic(image, (size, size))


def files_digest(photos: Iterable[Photo]) -> str:
    """Of names, sizes and times of files and of their captions: reading them takes too long."""
    stats = ((photo, photo.path.stat()) for photo in photos)
    rows = (
        f"{photo.id} {photo.path.name} {s.st_size} {s.st_mtime_ns} {captions_json([photo])}"
        for photo, s in stats
    )
    return digest("\n".join(rows))


def captions_json(photos: Sequence[Photo]) -> str:
    """All captions with their ids, as one text."""
    return json.dumps([[p.id, [[c.id, c.text] for c in p.captions]] for p in photos])
