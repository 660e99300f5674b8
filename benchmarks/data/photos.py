"""Photographs for super-resolution: ImageNet's classes, and folders of pictures of any size.

ImageNet: {train,val}/<wnid>/*.JPEG, also Tiny-ImageNet sorted the same way, or {train,val}/*.tar
(`task.layout=webdataset`, see `shards`), whose keys name the predictions.

Folders: `task.layout` names the pattern in LAYOUTS, below `task.root`; what is trained on lies the
same way in train/, for div2k in DIV2K_train_HR and so on. The folder of small versions may be
missing: they are then made by Pillow's bicubic with antialias, which is not MATLAB's. Where it is
there it is used, and must hold one for every photograph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.data.files import Listing, by_name, first_few, list_files, stamp_of
from benchmarks.data.images import (
    PHOTO_MODES,
    centre_square,
    enlarge,
    image_size,
    read_rgb,
    shrink,
    spread,
)
from benchmarks.data.shards import Member, samples
from crossflow.errors import InputError
from crossflow.files import sha256

if TYPE_CHECKING:
    from jaxtyping import UInt8

IMAGENET_PUBLISHED = "ILSVRC 2012 is published at https://image-net.org/download-images.php"
FOLDERS_PUBLISHED = (
    "Set5, Set14, BSD100 and Urban100 are published with github.com/jbhuang0604/SelfExSR, DIV2K at "
    "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
)
IMAGENET_SUFFIXES = (".jpeg", ".jpg", ".png")
SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg")
MODES = ("RGB", "L")  # Set14 has grey pictures


class Photo(NamedTuple):
    """One file of ImageNet."""

    id: str  # its path below the split's folder (in a tar: its key) without suffix
    path: Path | Member


class Photos(NamedTuple):
    """Photographs in the order of their ids, and what is left out of a split."""

    photos: list[Photo]
    too_small: list[str]  # ids
    left_out: int  # files that are no pictures by their suffix


def imagenet(
    root: Path, split: str, size: int, limit: int | None = None, layout: str = "folders"
) -> Photos:
    """Photographs whose short side is at least `size`, smaller ones skipped and counted.

    `limit` takes evenly spaced files before their size is looked at, so that a small run need not
    open 1.28 million headers. InputError says what was looked for, where, and where it is
    published; a missing split is never replaced by the other.
    """
    folder = root / split
    if layout == "webdataset":
        pairs = samples(folder, f"task.layout=webdataset: the {split} split")
        listing = Listing(by_name((pair.key, pair.image) for pair in pairs), 0)
    else:
        listing = list_files(folder, IMAGENET_SUFFIXES)
    if split not in ("train", "val") or not listing.files:
        raise InputError(
            f"task.split={split} (train, val) of ImageNet needs {folder}/<wnid>/*.JPEG "
            f"(task.layout=webdataset: {folder}/*.tar), no picture was found; {IMAGENET_PUBLISHED}"
        )
    chosen = [Photo(*item) for item in spread(list(listing.files.items()), limit)]
    large = [photo for photo in chosen if min(image_size(photo.path)) >= size]
    names = {photo.id for photo in large}
    small = [photo.id for photo in chosen if photo.id not in names]
    if not large:
        count = f"all {len(small)} images in {folder}"
        raise InputError(f"task.size={size}: {count} are smaller, {first_few(small)}")
    return Photos(large, small, listing.left_out)


def load_photo(
    photo: Photo, size: int, scale: int
) -> tuple[UInt8[np.ndarray, "low low 3"], UInt8[np.ndarray, "size size 3"]]:
    """Low-resolution image and target: centre square at `size`, then bicubic by 1/scale."""
    target = centre_square(read_rgb(photo.path, PHOTO_MODES), size)
    return shrink(target, scale), target


# layout -> where a photograph lies, then its small version; * is the name they share
LAYOUTS = {
    "folders": ("HR/*", "LR/*"),
    "basicsr": ("GTmod12/*", "LRbicx{scale}/*"),
    "selfexsr": ("image_SRF_{scale}/*_SRF_{scale}_HR", "image_SRF_{scale}/*_SRF_{scale}_LR"),
    "div2k": ("DIV2K_{part}_HR/*", "DIV2K_{part}_LR_bicubic/X{scale}/*x{scale}"),
}


@dataclass(frozen=True)
class Pair:
    """A photograph at its own size, and its small version."""

    id: str  # names the prediction
    high: Path
    low: Path | None  # None where it is made
    scale: int
    box: tuple[int, int, int] | None = None  # (top, left, side) of the square that counts, or all

    def size(self) -> tuple[int, int]:
        """(height, width) that is scored: the photograph's, cut to multiples of the scale."""
        if self.box is not None:
            return self.box[2], self.box[2]
        width, height = image_size(self.high)
        return height - height % self.scale, width - width % self.scale

    def stamp(self) -> str:
        """Name, sizes and times of the files."""
        files = filter(None, (self.high, self.low))
        return f"{self.id} {self.scale} {self.box} {stamp_of(*files)}"


def pairs(root: Path, layout: str, part: str, scale: int) -> list[Pair]:
    """The photographs of a part ("test" or "train"), in the order of their names.

    InputError where there are none, where small versions are missing, too many or of another size
    than the photograph's (cut to multiples of the scale) divided by the scale.
    """
    base = root / "train" if part == "train" and layout != "div2k" else root
    words = {"scale": scale, "part": "train" if part == "train" else "valid"}
    patterns = [str(base / pattern.format(**words)) for pattern in LAYOUTS[layout]]
    high, low = map(_named, patterns)
    if not high:
        raise InputError(
            f"the {part} split (task.layout={layout}) needs {patterns[0]}.png, none was found; "
            f"{FOLDERS_PUBLISHED}"
        )
    if low and (alone := sorted(high.keys() ^ low.keys())):
        raise InputError(
            f"{len(alone)} photographs {patterns[0]} have no small version {patterns[1]}, or the "
            f"reverse: {first_few(alone)}"
        )
    every = [Pair(name, high[name], low.get(name), scale) for name in sorted(high)]
    wrong = []
    for pair in every:
        height, width = (length // scale for length in pair.size())
        has = (width, height) if pair.low is None else image_size(pair.low)
        if has != (width, height) or not all(has):
            wrong.append(f"{pair.id}: {has} instead of {width, height} pixels (width, height)")
    if wrong:
        raise InputError(f"task.scale={scale}: {len(wrong)} pairs do not fit: {first_few(wrong)}")
    return every


def _named(pattern: str) -> dict[str, Path]:
    """Picture files of a folder by what stands for *; other files are let be."""
    folder, suffix = Path(pattern).parent, pattern.rpartition("*")[2]
    return {
        name.removesuffix(suffix): path
        for name, path in list_files(folder, SUFFIXES).files.items()
        if name.endswith(suffix) and "/" not in name
    }


def same_files(scored: Sequence[Pair], trained: Sequence[Pair]) -> list[str]:
    """Ids of training photographs whose file is that of a scored one, whatever its name.

    Only files of equal length are read: a large training set is not.
    """
    lengths = {pair.high.stat().st_size for pair in scored}
    alike = [pair for pair in trained if pair.high.stat().st_size in lengths]
    known = {sha256(pair.high) for pair in scored if alike}
    return [pair.id for pair in alike if sha256(pair.high) in known]


def load_pair(pair: Pair) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]]:
    """The enlarged small picture (Pillow's bicubic) and the true one, of one size.

    A box is cut out of both after the whole picture was enlarged: it has no border of its own.
    """
    _, enlarged, target = _whole(pair.high, pair.low, pair.scale)
    if pair.box is None:
        return enlarged, target
    top, left, side = pair.box
    inside = np.s_[top : top + side, left : left + side]
    return np.ascontiguousarray(enlarged[inside]), np.ascontiguousarray(target[inside])


def small(pair: Pair) -> UInt8[np.ndarray, "h w 3"]:
    """The small picture of a whole photograph: given, or made of it."""
    return _whole(pair.high, pair.low, pair.scale)[0]


# Squares of one photograph follow each other: it is read once for all of them.
@lru_cache(maxsize=8)
def _whole(high: Path, low: Path | None, scale: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Small, enlarged and true picture, read-only."""
    target = read_rgb(high, MODES)
    height, width = (length - length % scale for length in target.shape[:2])
    target = np.ascontiguousarray(target[:height, :width])
    little = shrink(target, scale) if low is None else read_rgb(low, MODES)
    pictures = little, enlarge(little, scale), target
    for picture in pictures:
        picture.setflags(write=False)
    return pictures


def made(every: Sequence[Pair]) -> bool:
    """Whether the small pictures are made here."""
    return all(pair.low is None for pair in every)


def crops(pair: Pair, side: int) -> list[Pair]:
    """Training squares of `side` pixels: as many as fit into the picture's area, at random places.

    Drawn from the photograph's name alone; places are multiples of the scale. The photograph must
    hold a square.
    """
    height, width = pair.size()
    seed = int.from_bytes(hashlib.sha256(pair.id.encode()).digest()[:8], "little")
    random = np.random.default_rng(seed)
    drawn: dict[tuple[int, int], Pair] = {}
    for _ in range(height * width // side**2):
        places = (random.integers((full - side) // pair.scale + 1) for full in (height, width))
        top, left = (int(place) * pair.scale for place in places)
        drawn[top, left] = replace(pair, id=f"{pair.id}@{top},{left}", box=(top, left, side))
    return list(drawn.values())
