"""Photographs with captions, whatever file lists them: the strict checks, and how pixels are read.

Captions are taken as they are published but for one rule: control characters, line and paragraph
separators and lone surrogates become a space, blanks at both ends go (`metrics.captions
.clean_caption`; some of COCO's captions hold a line break, which the PTB tokeniser would take for
the end of a caption). Captions so changed are counted, in training and in scoring alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from benchmarks.data.images import PHOTO_MODES, bicubic, first_few, read_rgb
from benchmarks.data.lazy import OnDemand
from benchmarks.data.splits import digest
from benchmarks.data.tar_member import Member
from benchmarks.metrics.captions import clean_caption
from crossflow.errors import InputError
from crossflow.files import is_file, is_folder, read_json

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
    """A photograph and all of its captions, in the order of their ids.

    crawled_as: None, or, of a pair of a crawled set, the id of its first pair with this image.
    """

    id: int
    path: Path | Member
    captions: tuple[Caption, ...]
    crawled_as: int | None = None

    @property
    def group(self) -> int:
        """One number for all pairs of an image: they are cut apart and told apart together."""
        return self.id if self.crawled_as is None else self.crawled_as

    @property
    def trained(self) -> list[str]:
        """The VARIANTS captions of smallest id; where there are fewer they come round again.

        The one caption of a pair of a web-crawled set stays one: its features take the most bytes.
        """
        if self.crawled_as is not None:
            return [self.captions[0].text]
        return [self.captions[k % len(self.captions)].text for k in range(VARIANTS)]


@dataclass(frozen=True)
class Split:
    """Photographs in the order of their ids. cleaned: captions whose characters were replaced.

    facts: of training data that are no published split, what is kept in records.
    """

    name: str
    photos: list[Photo]
    cleaned: int
    facts: dict[str, int] = field(default_factory=dict)


class Collector:
    """Takes photographs and captions as a file lists them, refuses what is wrong, gives a split.

    where: the file, for messages.
    """

    def __init__(self, where: Path) -> None:
        self.where = where
        self._paths: dict[int, Path] = {}
        self._captions: dict[int, list[Caption]] = {}
        self._seen: set[int] = set()
        self._cleaned = 0

    def photo(self, number: int, path: Path) -> None:
        """A photograph. InputError for an id that was there before."""
        if number in self._paths:
            raise InputError(f"{self.where}: image id {number} is there twice")
        self._paths[number] = path
        self._captions[number] = []

    def caption(self, number: int, photo: int, text: str) -> None:
        """A caption. InputError: id twice, unknown photograph, no text left after cleaning."""
        if number in self._seen:
            raise InputError(f"{self.where}: caption id {number} is there twice")
        if photo not in self._paths:
            raise InputError(
                f"{self.where}: caption {number} is of image {photo}, which the file does not list"
            )
        self._seen.add(number)
        kept = clean_caption(text)
        self._cleaned += kept != text
        if not kept.strip():
            raise InputError(f"{self.where}: caption {number} of image {photo} is empty")
        self._captions[photo].append(Caption(number, kept.strip()))

    def split(self, name: str, images: bool) -> Split:
        """All photographs, by id. images: whether their files must be there.

        InputError: no photograph, one without a caption, or files that do not exist.
        """
        if not self._paths:
            raise InputError(f"{self.where}: the {name} split has no images")
        bare = [number for number, captions in self._captions.items() if not captions]
        if bare:
            raise InputError(
                f"{self.where}: {len(bare)} images have no caption: {first_few(sorted(bare))}"
            )
        photos = [
            Photo(n, self._paths[n], tuple(sorted(self._captions[n], key=lambda c: c.id)))
            for n in sorted(self._paths)
        ]
        if images:
            _require_files([self._paths[photo.id] for photo in photos], name)
        return Split(name, photos, self._cleaned)


def _require_files(paths: Sequence[Path], name: str) -> None:
    """InputError that counts the files that are missing; each folder is listed once."""
    folders = {path.parent for path in paths}
    there = {
        folder: {path.name for path in folder.iterdir()} if is_folder(folder) else set()
        for folder in folders
    }
    missing = [path for path in paths if path.name not in there[path.parent]]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(paths)} images of the {name} split are missing: "
            f"{first_few(missing, 2)}"
        )


def read_object(path: Path, keys: Sequence[str], published: str) -> dict[str, Any]:
    """An object of a JSON file that has `keys`. InputError that names the file otherwise."""
    if not is_file(path):
        raise InputError(f"{path}: no such file; {published}")
    found = read_json(path)
    lacking = [key for key in keys if not isinstance(found, dict) or key not in found]
    if lacking:
        raise InputError(f"{path}: has no {' and no '.join(lacking)}; {published}")
    return found


def entry(row: Any, where: str, kinds: dict[str, type]) -> list[Any]:
    """The values of `kinds` in a JSON object; InputError: one is missing or of another type."""
    for key, kind in kinds.items():
        value = row.get(key) if isinstance(row, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"{where}: {key} is {value!r}, not of type {kind.__name__}")
    return [row[key] for key in kinds]


class Pictures(OnDemand):
    """Photographs at `size` x `size`, uint8 RGB, read when asked for.

    prepare: `cropped` or `squashed`. InputError from the read names a damaged file.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        size: int,
        prepare: Callable[[np.ndarray, int], np.ndarray],
    ) -> None:
        self.photos, self.size, self.prepare = photos, size, prepare
        super().__init__(self._read, len(photos))

    def _read(self, index: int) -> UInt8[np.ndarray, "size size 3"]:
        return self.prepare(read_rgb(self.photos[index].path, PHOTO_MODES), self.size)


def cropped(image: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Centre crop to the short side, then Pillow's Lanczos to `size` (U-ViT's, CrossFlow's rule).

    Photographs whose short side is below `size` are enlarged, as theirs are.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(np.ascontiguousarray(image[top : top + side, left : left + side]))
    return np.array(square.resize((size, size), Image.Resampling.LANCZOS))


def squashed(image: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The whole picture at `size` x `size`, bicubic: captions also tell what is at the edges."""
    return bicubic(image, (size, size))


def files_digest(photos: Iterable[Photo]) -> str:
    """Of names, sizes and times of files and of their captions: what a store is made from.

    Reading every picture to see a change would take as long as encoding them.
    """
    stats = ((photo, photo.path.stat()) for photo in photos)
    rows = (
        f"{photo.id} {photo.path.name} {s.st_size} {s.st_mtime_ns} {captions_json([photo])}"
        for photo, s in stats
    )
    return digest("\n".join(rows))


def captions_json(photos: Sequence[Photo]) -> str:
    """All captions with their ids, as one text."""
    return json.dumps([[p.id, [[c.id, c.text] for c in p.captions]] for p in photos])
