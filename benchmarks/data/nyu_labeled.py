"""NYU Depth v2 from nyu_depth_v2_labeled.mat and splits.mat, as BTS's converter reads them.

The .mat file is HDF5 (MATLAB v7.3), its arrays transposed: `images` (N, 3, W, H) uint8, `rawDepths`
(N, W, H) float32 metres with 0 where the sensor saw nothing, `sceneTypes` and `scenes` references
to texts. What cleinc/bts, utils/extract_official_train_test_set_from_mat.py makes of it: depth
codes are uint16(1000 d), truncated; pictures are black outside rows 7:474 and columns
7:632; frame i, counted from 0, is `<scene type>/rgb_<i in 5 digits>`, while splits.mat counts from
1. The test ids are those of nyudepthv2_test_files_with_gt.txt (a test compares all 654).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.depth_protocol import NYU_SCALE
from benchmarks.data.nyu_reader import scene
from crossflow.errors import InputError
from crossflow.files import is_file

if TYPE_CHECKING:
    from jaxtyping import UInt8, UInt16

DATA_FILE, SPLIT_FILE = "nyu_depth_v2_labeled.mat", "splits.mat"
INDICES = {"train": "trainNdxs", "test": "testNdxs"}  # 795 and 654, counted from 1
ARRAYS = ("images", "rawDepths", "sceneTypes", "scenes")
FRAMED = (slice(7, 474), slice(7, 632))  # rows and columns that are not black
PUBLISHED = (
    "both files are published at https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html "
    "(splits.mat also at https://github.com/cleinc/bts, utils/)"
)


@dataclass(frozen=True)
class LabeledFrame:
    """One frame of the .mat file: see `depth_protocol.Frame`. index: counted from 0."""

    id: str
    group: str
    file: Path
    index: int
    shape: tuple[int, int]
    scale: float = NYU_SCALE

    def size(self) -> tuple[int, int]:
        return self.shape

    def picture(self) -> UInt8[np.ndarray, "h w 3"]:
        whole = self._read("images").transpose(2, 1, 0)
        framed = np.zeros_like(whole, order="C")
        framed[FRAMED] = whole[FRAMED]
        return framed

    def codes(self) -> UInt16[np.ndarray, "h w"]:
        metres = self._read("rawDepths").T
        codes = metres * metres.dtype.type(self.scale)  # truncation depends on the precision
        if not (np.isfinite(codes).all() and codes.min() >= 0 and codes.max() < 65536):
            raise InputError(
                f"{self.file}: rawDepths of frame {self.index} are not all between 0 and 65.5 m"
            )
        return np.ascontiguousarray(codes.astype(np.uint16))

    def stamp(self) -> str:
        stat = self.file.stat()
        return f"{self.index} {stat.st_size} {stat.st_mtime_ns}"

    def _read(self, name: str) -> np.ndarray:
        with _open(self.file) as file:
            try:
                return np.asarray(file[name][self.index])
            except (OSError, ValueError) as error:
                raise InputError(
                    f"{self.file}: {name} of frame {self.index} cannot be read ({error})"
                ) from None


def frames(root: Path, split: str) -> list[LabeledFrame]:
    """Frames of "train" or "test", by scene type and number.

    Raises InputError that says what was looked for and where it is published, and for files that
    are not what they should be.
    """
    path, splits = root / DATA_FILE, root / SPLIT_FILE
    absent = [str(p) for p in (path, splits) if not is_file(p)]
    if absent:
        raise InputError(
            f"NYU Depth v2 in layout labeled needs {' and '.join(absent)}, not found; {PUBLISHED}"
        )
    with _open(path) as file:
        # a group of that name is no array
        missing = [name for name in ARRAYS if not hasattr(file.get(name), "shape")]
        if missing:
            raise InputError(f"{path}: no {', '.join(missing)} in it; {PUBLISHED}")
        images, depths = file["images"], file["rawDepths"]
        count, colours, width, height = images.shape if images.ndim == 4 else (0, 0, 0, 0)
        if colours != 3 or depths.shape != (count, width, height):
            raise InputError(
                f"{path}: images {images.shape} and rawDepths {depths.shape} do not belong "
                "together, need (N, 3, W, H) and (N, W, H)"
            )
        if images.dtype != np.uint8 or depths.dtype.kind != "f":
            raise InputError(
                f"{path}: images are {images.dtype} and rawDepths {depths.dtype}, need uint8 and "
                "floating point metres"
            )
        types, scenes = _texts(file, "sceneTypes"), _texts(file, "scenes")
    if not len(types) == len(scenes) == count:
        raise InputError(f"{path}: {count} images, {len(types)} sceneTypes, {len(scenes)} scenes")
    found = [
        LabeledFrame(frame_id(types[i], i), scene(scenes[i]), path, i, (height, width))
        for i in split_indices(splits, split, count)
    ]
    return sorted(found, key=lambda frame: frame.id)


def frame_id(scene_type: str, index: int) -> str:
    """The id of a frame, counted from 0: what BTS's converter calls its picture."""
    return f"{scene_type}/rgb_{index:05d}"


def split_indices(path: Path, split: str, count: int) -> list[int]:
    """Frames of a split, counted from 0. InputError where splits.mat is not of `count` frames."""
    from scipy.io import loadmat

    if split not in INDICES:
        raise InputError(f"task.split={split}: NYU Depth v2 has {' and '.join(INDICES)}")
    try:
        splits = loadmat(path, variable_names=list(INDICES.values()))
    except Exception as error:
        # What scipy's parser runs into: of a file cut short alone OSError, ValueError, TypeError,
        # IndexError and MatReadError, which has no base class but this one.
        raise InputError(f"{path}: not a MATLAB file that can be read ({error})") from None
    missing = [name for name in INDICES.values() if name not in splits]
    if missing:
        raise InputError(f"{path}: no {', '.join(missing)} in it; {PUBLISHED}")
    numbers = {name: [int(i) - 1 for i in splits[key].ravel()] for name, key in INDICES.items()}
    every = sorted(i for indices in numbers.values() for i in indices)
    if every != list(range(count)):
        raise InputError(
            f"{path}: its {len(every)} indices are not those of {count} frames, each in one split"
        )
    return numbers[split]


def _texts(file: Any, name: str) -> Sequence[str]:
    """A MATLAB cell array of texts: references to arrays of character codes."""
    references = np.asarray(file[name]).ravel()
    try:
        return ["".join(map(chr, np.asarray(file[one]).ravel())) for one in references]
    # numbers in the references' place, null references, references to what is no text
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise InputError(f"{file.filename}: {name} are not texts ({error})") from None


def _open(path: Path) -> Any:
    """The file, for reading. InputError where it is no HDF5 file or h5py is not installed."""
    try:
        import h5py
    except ModuleNotFoundError:
        raise InputError(
            "task.layout=labeled reads MATLAB v7.3 files with h5py, which is not installed: "
            "pip install 'crossflow-bench[real]'"
        ) from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not a MATLAB v7.3 file that can be read ({error})") from None
