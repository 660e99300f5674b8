"""Folders of photographs for super-resolution, at their own sizes, with or without small versions.

`task.layout` says how files lie under `task.root` (S is `task.scale`):

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

from benchmarks.data.images import enlarge, first_few, image_size, read_rgb, shrink
from benchmarks.data.pool import ordered_map
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import UInt8

MODES = ("RGB", "L")  # Set14 has grey pictures
SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg")
PUBLISHED = (
    "Set5, Set14, BSD100 and Urban100 are published with github.com/jbhuang0604/SelfExSR, DIV2K at "
    "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
)


@dataclass(frozen=True)
class Layout:
    """Folder and file name (without suffix) of a photograph and of its small version."""

    high: str
    low: str
    high_name: str = "{name}"
    low_name: str = "{name}"


_FOLDERS = Layout("HR", "LR")
_BASICSR = Layout("GTmod12", "LRbicx{scale}")
_SELFEXSR = Layout(
    *("image_SRF_{scale}", "image_SRF_{scale}"),
    *("{name}_SRF_{scale}_HR", "{name}_SRF_{scale}_LR"),
)
_DIV2K = Layout("DIV2K_{part}_HR", "DIV2K_{part}_LR_bicubic/X{scale}", low_name="{name}x{scale}")
LAYOUTS = {"folders": _FOLDERS, "basicsr": _BASICSR, "selfexsr": _SELFEXSR, "div2k": _DIV2K}


@dataclass(frozen=True)
class Pair:
    """A photograph. id: names the prediction. low: its small version, None where it is made.

    box: (top, left, side) of the square that counts, None for all of it.
    """

    id: str
    high: Path
    low: Path | None
    scale: int
    box: tuple[int, int, int] | None = None

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
    names = LAYOUTS[layout]
    base = root / "train" if part == "train" and layout != "div2k" else root
    words = {"scale": str(scale), "part": "train" if part == "train" else "valid"}
    high_folder, low_folder = (base / _fill(f, words) for f in (names.high, names.low))
    high = _files(high_folder, _fill(names.high_name, words))
    if not high:
        wanted = high_folder / (_fill(names.high_name, words).replace("{name}", "NAME") + ".png")
        raise InputError(
            f"the {part} split (task.layout={layout}) needs {wanted}, none was found; {PUBLISHED}"
        )
    low = _files(low_folder, _fill(names.low_name, words))
    if low:
        missing, extra = sorted(high.keys() - low.keys()), sorted(low.keys() - high.keys())
        if missing or extra:
            what = "have no small version" if missing else "small versions have no photograph"
            raise InputError(
                f"{low_folder}: {len(missing or extra)} {what} of {high_folder}: "
                f"{first_few(missing or extra)}"
            )
    found = [Pair(name, high[name], low.get(name), scale) for name in sorted(high)]
    wrong = [text for text in ordered_map(_mismatch, found) if text]
    if wrong:
        raise InputError(f"task.scale={scale}: {len(wrong)} pairs do not fit: {first_few(wrong)}")
    return found


def same_files(scored: Sequence[Pair], trained: Sequence[Pair]) -> list[str]:
    """Ids of training photographs whose file is that of a scored one, whatever its name.

    Only files of equal length are read: a large training set is not.
    """
    lengths = {pair.high.stat().st_size for pair in scored}
    alike = [pair for pair in trained if pair.high.stat().st_size in lengths]
    known = {_file_digest(pair.high) for pair in scored} if alike else set()
    return [pair.id for pair in alike if _file_digest(pair.high) in known]


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(pair: Pair) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]]:
    """The enlarged small picture (Pillow's bicubic) and the true one, of one size.

    A box is cut out of both after the whole picture was enlarged: it has no border of its own.
    """
    stamp = pair.stamp() if pair.box is None else replace(pair, box=None).stamp()
    enlarged, target = _whole(pair.high, pair.low, pair.scale, stamp)
    if pair.box is None:
        return enlarged, target
    top, left, side = pair.box
    inside = np.s_[top : top + side, left : left + side]
    return np.ascontiguousarray(enlarged[inside]), np.ascontiguousarray(target[inside])


def small(pair: Pair) -> UInt8[np.ndarray, "h w 3"]:
    """The small picture of a whole photograph: given, or made of it."""
    if pair.low is not None:
        return read_rgb(pair.low, MODES)
    return shrink(load(pair)[1], pair.scale)


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


# Squares of one photograph follow each other: it is read once for all of them.
@lru_cache(maxsize=8)
def _whole(high: Path, low: Path | None, scale: int, stamp: str) -> tuple[np.ndarray, np.ndarray]:
    """See `load`; `stamp` makes a changed file another entry. Both are read-only."""
    target = read_rgb(high, MODES)
    height, width = target.shape[:2]
    target = np.ascontiguousarray(target[: height - height % scale, : width - width % scale])
    small = shrink(target, scale) if low is None else read_rgb(low, MODES)
    enlarged = enlarge(small, scale)
    for picture in (enlarged, target):
        picture.setflags(write=False)
    return enlarged, target


def _fill(template: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        template = template.replace(f"{{{word}}}", value)
    return template


def _files(folder: Path, name: str) -> dict[str, Path]:
    """Picture files of a folder by what stands for {name}; other files are let be."""
    before, after = (re.escape(part) for part in name.split("{name}"))
    pattern, found = re.compile(f"{before}(.+){after}"), dict[str, Path]()
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = pattern.fullmatch(path.stem)
        if match is None or path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if match[1] in found:
            raise InputError(f"{path} and {found[match[1]].name} would share one prediction name")
        found[match[1]] = path
    return found


def _mismatch(pair: Pair) -> str | None:
    """What is wrong with the sizes of a pair, from the headers."""
    height, width = pair.size()
    if not height or not width:
        return f"{pair.id} is smaller than the scale"
    if pair.low is None:
        return None
    has, need = image_size(pair.low), (width // pair.scale, height // pair.scale)
    if has == need:
        return None
    return f"{pair.id}: {pair.low.name} is {has[0]} x {has[1]} instead of {need[0]} x {need[1]}"


def made(found: Sequence[Pair]) -> bool:
    """Whether the small pictures are made here."""
    return all(pair.low is None for pair in found)
