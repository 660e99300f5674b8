"""Photographs for super-resolution: ImageNet's classes, and folders of pictures of any size.

ImageNet: {train,val}/<wnid>/*.JPEG or {train,val}/*.tar (`task.layout=webdataset`, see `files`),
whose keys name the predictions.

Folders: `task.layout` names the pattern in LAYOUTS, below `task.root`; what is trained on lies the
same way in train/. Where there is no folder of small versions they are made by Pillow's bicubic
with antialias, which is not MATLAB's. Pictures of any size go through a flow of one size as squares
of `side` pixels that overlap by at least a quarter; where they meet, values are averaged with
weights that fall linearly towards a tile's border (a tent).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product, starmap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.config.inputs import is_folder
from benchmarks.data import images
from benchmarks.data.files import Listing, Member, by_name, first_few, list_files, samples, stamp_of
from benchmarks.data.images import image_size
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.data.images import Rgb

IMAGENET_PUBLISHED = "ILSVRC 2012 is published at https://image-net.org/download-images.php"
FOLDERS_PUBLISHED = (
    "Set5, Set14, BSD100 and Urban100 are published with github.com/jbhuang0604/SelfExSR, DIV2K at "
    "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
)
IMAGENET_SUFFIXES = (".jpeg", ".jpg", ".png")
SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg")
MODES = ("RGB", "L")  # Set14 has grey pictures
TILE_RULE = 1  # raised by hand when a blended picture may change
TILE_OVERLAP = 4  # one part in so many of a side


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

    `limit` takes evenly spaced files before their size is looked at: a small run need not open 1.28
    million headers.
    """
    folder = root / split
    if layout == "webdataset":
        pairs = samples(folder, f"task.layout=webdataset: the {split} split")
        listing = Listing(by_name((pair.key, pair.image) for pair in pairs), 0)
    else:
        listing = list_files(folder, IMAGENET_SUFFIXES)
    if split not in ("train", "val") or not listing.files:
        need = f"{folder}/<wnid>/*.JPEG (task.layout=webdataset: {folder}/*.tar)"
        raise InputError(
            f"task.split={split} (train, val) of ImageNet needs {need}, no picture was found; "
            f"{IMAGENET_PUBLISHED}"
        )
    large, small = list[Photo](), list[Photo]()
    for photo in starmap(Photo, images.spread(list(listing.files.items()), limit)):
        (large if min(image_size(photo.path)) >= size else small).append(photo)
    names = [photo.id for photo in small]
    if not large:
        count = f"all {len(names)} images in {folder}"
        raise InputError(f"task.size={size}: {count} are smaller, {first_few(names)}")
    return Photos(large, names, listing.left_out)


def load_photo(photo: Photo, size: int, scale: int) -> tuple[Rgb, Rgb]:
    """Low-resolution image and target: centre square at `size`, then bicubic by 1/scale."""
    target = images.centre_square(images.read_rgb(photo.path, images.PHOTO_MODES), size)
    return images.shrink(target, scale), target


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
    low: Path | None  # None where it is made: of all photographs, or of none
    scale: int
    box: tuple[int, int, int] | None = None  # (top, left, side) of the square that counts, or all

    def size(self) -> tuple[int, int]:
        """(height, width) that is scored: the photograph's, cut to multiples of the scale."""
        if self.box is not None:
            return self.box[2], self.box[2]
        width, height = image_size(self.high)
        return height - height % self.scale, width - width % self.scale

    def stamp(self) -> str:
        files = filter(None, (self.high, self.low))
        return f"{self.id} {self.scale} {self.box} {stamp_of(*files)}"


def pairs(root: Path, layout: str, part: str, scale: int) -> tuple[list[Pair], int]:
    """The photographs of a part ("test" or "train"), in the order of their names, and how many
    other files lie in their folders."""
    base = root / "train" if part == "train" and layout != "div2k" else root
    words = {"scale": scale, "part": "train" if part == "train" else "valid"}
    patterns = [str(base / pattern.format(**words)) for pattern in LAYOUTS[layout]]
    high, low = map(_named, patterns)
    if not high:
        need = f"the {part} split (task.layout={layout}) needs {patterns[0]}.png"
        raise InputError(f"{need}, none was found; {FOLDERS_PUBLISHED}")
    large, little = (Path(pattern).parent for pattern in patterns)
    given = low or (large != little and is_folder(little))
    if given and (alone := sorted(high.keys() ^ low.keys())):
        lack = f"photographs {patterns[0]} have no small version {patterns[1]}, or the reverse"
        raise InputError(f"{len(alone)} {lack}: {first_few(alone)}")
    every = [Pair(name, high[name], low.get(name), scale) for name in sorted(high)]
    wrong = []
    for pair in every:
        height, width = (length // scale for length in pair.size())
        has = (width, height) if pair.low is None else image_size(pair.low)
        if has != (width, height) or not all(has):
            wrong.append(f"{pair.id}: {has} instead of {width, height} pixels (width, height)")
    if wrong:
        raise InputError(f"task.scale={scale}: {len(wrong)} pairs do not fit: {first_few(wrong)}")
    listed = [list_files(folder, SUFFIXES) for folder in {large, little}]
    files = sum(len(listing.files) + listing.left_out for listing in listed)
    return every, files - len(high) - len(low)


def _named(pattern: str) -> dict[str, Path]:
    """Picture files of a folder by what stands for *; other files are let be."""
    folder, suffix = Path(pattern).parent, pattern.rpartition("*")[2]
    return {
        name.removesuffix(suffix): path
        for name, path in list_files(folder, SUFFIXES).files.items()
        if name.endswith(suffix) and "/" not in name
    }


def load_pair(pair: Pair) -> tuple[Rgb, Rgb]:
    """The enlarged small picture (Pillow's bicubic) and the true one; a box is cut out of both."""
    _, enlarged, target = _whole(pair.high, pair.low, pair.scale)
    if pair.box is None:
        return enlarged, target
    top, left, side = pair.box
    inside = np.s_[top : top + side, left : left + side]
    return np.ascontiguousarray(enlarged[inside]), np.ascontiguousarray(target[inside])


def small(pair: Pair) -> Rgb:
    """The small picture of a whole photograph."""
    return _whole(pair.high, pair.low, pair.scale)[0]


# Squares of one photograph follow each other: it is read once for all of them.
@lru_cache(maxsize=8)
def _whole(high: Path, low: Path | None, scale: int) -> tuple[Rgb, Rgb, Rgb]:
    """Small, enlarged and true picture, read-only."""
    target = images.read_rgb(high, MODES)
    height, width = (length - length % scale for length in target.shape[:2])
    target = np.ascontiguousarray(target[:height, :width])
    given = None if low is None else images.read_rgb(low, MODES)
    little = images.shrink(target, scale) if given is None else given
    pictures = little, images.enlarge(little, scale), target
    for picture in pictures:
        picture.setflags(write=False)
    return pictures


def crops(pair: Pair, side: int) -> list[Pair]:
    """As many training squares as the area holds, at places drawn from the name alone."""
    height, width = pair.size()
    seed = hashlib.sha256(pair.id.encode()).digest()[:8]
    random = np.random.default_rng(int.from_bytes(seed, "little"))
    drawn: dict[tuple[int, int], Pair] = {}
    for _ in range(height * width // side**2):
        places = (random.integers((full - side) // pair.scale + 1) for full in (height, width))
        top, left = (int(place) * pair.scale for place in places)
        drawn[top, left] = replace(pair, id=f"{pair.id}@{top},{left}", box=(top, left, side))
    return list(drawn.values())


class Tile(NamedTuple):
    """A predicted tile: what `Prepared.decode` gives where pictures have sizes of their own."""

    pixels: Rgb


def corners(size: tuple[int, int], side: int) -> list[tuple[int, int]]:
    """(top, left) of the tiles of a picture of (height, width), row by row, in equal steps."""
    starts = []
    for last in (max(0, length - side) for length in size):
        steps = max(1, -(-last // (side - side // TILE_OVERLAP)))
        starts.append(sorted({last * i // steps for i in range(steps + 1)}))
    rows, columns = starts
    return list(product(rows, columns))


def cut(picture: Rgb, corner: tuple[int, int], side: int) -> Rgb:
    """A tile of a picture; beyond the picture its edge pixels are repeated."""
    top, left = corner
    inside = picture[top : top + side, left : left + side]
    lacking = [(0, side - inside.shape[0]), (0, side - inside.shape[1]), (0, 0)]
    return np.pad(inside, lacking, mode="edge")


def blend(tiles: Sequence[Rgb], size: tuple[int, int], side: int) -> Rgb:
    """The picture of (height, width) that tiles in the order of `corners` make, rounded."""
    height, width = size
    line = np.minimum(np.arange(1.0, side + 1), np.arange(side, 0.0, -1))
    tent = (line[:, None] * line)[..., None]
    canvas = (max(height, side), max(width, side))
    total, weights = np.zeros((*canvas, 3)), np.zeros((*canvas, 1))
    for (top, left), tile in zip(corners(size, side), tiles, strict=True):
        where = np.s_[top : top + side, left : left + side]
        total[where] += tent * tile
        weights[where] += tent
    whole: np.ndarray = np.rint(total / weights).astype(np.uint8)
    return np.ascontiguousarray(whole[:height, :width])
