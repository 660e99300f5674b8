"""Photographs for super-resolution: ImageNet's classes, and folders of pictures of any size.

ImageNet: {train,val}/<wnid>/*.JPEG, also Tiny-ImageNet sorted the same way, or {train,val}/*.tar
(`task.layout=webdataset`, see `shards`), whose keys name the predictions.

Folders: `task.layout` says how files lie under `task.root` (S is `task.scale`):

    folders   HR/NAME.png, LR/NAME.png;  training: train/HR/NAME.png, train/LR/NAME.png
    basicsr   GTmod12/NAME.png, LRbicxS/NAME.png;  training: train/GTmod12, train/LRbicxS
    selfexsr  image_SRF_S/NAME_SRF_S_HR.png, NAME_SRF_S_LR.png;  training: train/image_SRF_S
    div2k     DIV2K_valid_HR/NAME.png, DIV2K_valid_LR_bicubic/XS/NAMExS.png;  training:
              DIV2K_train_HR, DIV2K_train_LR_bicubic/XS

The folder of small versions may be missing: they are then made by Pillow's bicubic with antialias,
which is not MATLAB's. Where it is there it is used, and must hold one for every photograph.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.data.files import first_few, list_files, one_form
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
from benchmarks.metrics.score import per_item
from crossflow.errors import InputError
from crossflow.files import is_folder, sha256

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


@dataclass(frozen=True)
class Photo:
    """One file of ImageNet."""

    id: str  # its path below the split's folder (in a tar: its key) without suffix
    path: Path | Member


@dataclass(frozen=True)
class Photos:
    """Photographs in the order of their ids, and what is left out of a split."""

    photos: list[Photo]
    too_small: list[str]  # ids
    left_out: int  # files that are no pictures by their suffix


def imagenet(
    root: Path, split: str, size: int, limit: int | None = None, layout: str = "folders"
) -> Photos:
    """Photographs whose short side is at least `size`, smaller ones skipped and counted.

    `limit` takes evenly spaced files before their size is looked at, so that a small run need not
    open 1.28 million headers. A missing split is never replaced by the other. Raises InputError
    that says what was looked for, where, and where the data are published.
    """
    if split not in ("train", "val"):
        raise InputError(f"task.split={split}: ImageNet has train and val")
    folder, left_out = root / split, 0
    every: dict[str, Photo] = {}
    if layout == "webdataset":
        for sample in samples(folder, f"task.layout=webdataset: the {split} split"):
            name = one_form(sample.key)
            if name in every:
                raise InputError(
                    f"{every[name].path} and {sample.image} share one key: keys name predictions"
                )
            every[name] = Photo(name, sample.image)
    elif is_folder(folder):
        listing = list_files(folder, IMAGENET_SUFFIXES)
        every = {name: Photo(name, path) for name, path in listing.files.items()}
        left_out = listing.left_out
    if not every:
        raise InputError(
            f"the {split} split of ImageNet needs {folder}/<wnid>/*.JPEG (task.layout=webdataset: "
            f"{folder}/*.tar), no picture was found; {IMAGENET_PUBLISHED}"
        )
    chosen = spread(list(every.values()), limit)
    large = [min(image_size(photo.path)) >= size for photo in chosen]
    if not any(large):
        raise InputError(
            f"task.size={size}: all {len(chosen)} images in {folder} are smaller, "
            f"{first_few([photo.id for photo in chosen])}"
        )
    kept = [photo for photo, fits in zip(chosen, large, strict=True) if fits]
    return Photos(kept, [p.id for p, fits in zip(chosen, large, strict=True) if not fits], left_out)


def load_photo(
    photo: Photo, size: int, scale: int
) -> tuple[UInt8[np.ndarray, "low low 3"], UInt8[np.ndarray, "size size 3"]]:
    """Low-resolution image and target: centre square at `size`, then bicubic by 1/scale."""
    target = centre_square(read_rgb(photo.path, PHOTO_MODES, least=size), size)
    return shrink(target, scale), target


# layout -> (folder, name) of a photograph, then of its small version
LAYOUTS = {
    "folders": ("HR", "{name}", "LR", "{name}"),
    "basicsr": ("GTmod12", "{name}", "LRbicx{scale}", "{name}"),
    "selfexsr": (
        *("image_SRF_{scale}", "{name}_SRF_{scale}_HR"),
        *("image_SRF_{scale}", "{name}_SRF_{scale}_LR"),
    ),
    "div2k": ("DIV2K_{part}_HR", "{name}", "DIV2K_{part}_LR_bicubic/X{scale}", "{name}x{scale}"),
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
        """Names, sizes and times of the files."""
        files = [path.stat() for path in (self.high, self.low) if path is not None]
        times = " ".join(f"{file.st_size} {file.st_mtime_ns}" for file in files)
        return f"{self.id} {self.scale} {self.box} {times}"


def pairs(root: Path, layout: str, part: str, scale: int) -> list[Pair]:
    """The photographs of a part ("test" or "train"), in the order of their names.

    Raises InputError where there are none, where small versions are missing, too many or of another
    size than the photograph's (cut to multiples of the scale) divided by the scale.
    """
    base = root / "train" if part == "train" and layout != "div2k" else root
    words = {"scale": scale, "part": "train" if part == "train" else "valid", "name": "{name}"}
    folder, name, low_folder, low_name = (text.format(**words) for text in LAYOUTS[layout])
    high, low = _named(base / folder, name), _named(base / low_folder, low_name)
    if not high:
        raise InputError(
            f"the {part} split (task.layout={layout}) needs {base / folder}/"
            f"{name.format(name='NAME')}.png, none was found; {FOLDERS_PUBLISHED}"
        )
    missing, extra = sorted(high.keys() - low.keys()), sorted(low.keys() - high.keys())
    if low and (missing or extra):
        what = "have no small version" if missing else "small versions have no photograph"
        raise InputError(
            f"{base / low_folder}: {len(missing or extra)} {what} of {base / folder}: "
            f"{first_few(missing or extra)}"
        )
    every = [Pair(name, high[name], low.get(name), scale) for name in sorted(high)]
    wrong = [text for text in per_item(lambda index: _mismatch(every[index]), len(every)) if text]
    if wrong:
        raise InputError(f"task.scale={scale}: {len(wrong)} pairs do not fit: {first_few(wrong)}")
    return every


def _named(folder: Path, name: str) -> dict[str, Path]:
    """Picture files of a folder by what stands for {name}; other files are let be."""
    pattern = re.compile("([^/]+)".join(re.escape(part) for part in name.split("{name}")))
    files = list_files(folder, SUFFIXES).files if is_folder(folder) else {}
    matches = ((pattern.fullmatch(stem), path) for stem, path in files.items())
    return {match[1]: path for match, path in matches if match is not None}


def _mismatch(pair: Pair) -> str | None:
    """What is wrong with the sizes of a pair, from the headers."""
    height, width = pair.size()
    if not height or not width:
        return f"{pair.id} is smaller than the scale"
    need = width // pair.scale, height // pair.scale
    has = need if pair.low is None else image_size(pair.low)
    if pair.low is None or has == need:
        return None
    return f"{pair.id}: {pair.low.name} is {has[0]} x {has[1]} instead of {need[0]} x {need[1]}"


def same_files(scored: Sequence[Pair], trained: Sequence[Pair]) -> list[str]:
    """Ids of training photographs whose file is that of a scored one, whatever its name.

    Only files of equal length are read: a large training set is not.
    """
    lengths = {pair.high.stat().st_size for pair in scored}
    alike = [pair for pair in trained if pair.high.stat().st_size in lengths]
    known = {sha256(pair.high) for pair in scored} if alike else set()
    return [pair.id for pair in alike if sha256(pair.high) in known]


def load_pair(pair: Pair) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]]:
    """The enlarged small picture (Pillow's bicubic) and the true one, of one size.

    A box is cut out of both after the whole picture was enlarged: it has no border of its own.
    """
    enlarged, target = _whole(pair.high, pair.low, pair.scale, replace(pair, box=None).stamp())
    if pair.box is None:
        return enlarged, target
    top, left, side = pair.box
    inside = np.s_[top : top + side, left : left + side]
    return np.ascontiguousarray(enlarged[inside]), np.ascontiguousarray(target[inside])


# Squares of one photograph follow each other: it is read once for all of them.
@lru_cache(maxsize=8)
def _whole(high: Path, low: Path | None, scale: int, stamp: str) -> tuple[np.ndarray, np.ndarray]:
    """See `load_pair`; `stamp` makes a changed file another entry. Both are read-only."""
    target = read_rgb(high, MODES)
    height, width = target.shape[:2]
    target = np.ascontiguousarray(target[: height - height % scale, : width - width % scale])
    small = shrink(target, scale) if low is None else read_rgb(low, MODES)
    enlarged = enlarge(small, scale)
    for picture in (enlarged, target):
        picture.setflags(write=False)
    return enlarged, target


def small(pair: Pair) -> UInt8[np.ndarray, "h w 3"]:
    """The small picture of a whole photograph: given, or made of it."""
    if pair.low is not None:
        return read_rgb(pair.low, MODES)
    return shrink(load_pair(pair)[1], pair.scale)


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
