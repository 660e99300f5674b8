"""NYU Depth v2 from nyu_depth_v2_labeled.mat and splits.mat, as BTS's converter reads them.

The .mat file is HDF5 (MATLAB v7.3), its arrays transposed: `images` (N, 3, W, H) uint8, `rawDepths`
(N, W, H) float32 metres, 0 for nothing, `sceneTypes` and `scenes` references to texts. cleinc/bts,
utils/extract_official_train_test_set_from_mat.py makes of it: uint16(1000 d), truncated; pictures
black outside FRAMED; `<scene type>/rgb_<i>` for frame i from 0, while splits.mat counts from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.depth_frames import NYU, Frame, scene
from benchmarks.data.files import optional, require_listed, stamp_of
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import UInt8, UInt16

DATA_FILE, SPLIT_FILE = "nyu_depth_v2_labeled.mat", "splits.mat"
SIZE = (480, 640)  # height and width; other tools turn the axes of what they write
FRAMED = (slice(7, 474), slice(7, 632))  # rows and columns that are not black


@dataclass(frozen=True)
class LabeledFrame(Frame):
    """One frame of the .mat file, which is `image` and `depth`. index: counted from 0."""

    index: int

    def size(self) -> tuple[int, int]:
        return SIZE

    def picture(self) -> UInt8[np.ndarray, "h w 3"]:
        whole = self._read("images").transpose(2, 1, 0)
        framed = np.zeros_like(whole, order="C")
        framed[FRAMED] = whole[FRAMED]
        return framed

    def codes(self) -> UInt16[np.ndarray, "h w"]:
        metres = self._read("rawDepths").T
        codes = metres * metres.dtype.type(self.scale)  # truncation depends on the precision
        if not (np.isfinite(codes).all() and codes.min() >= 0 and codes.max() < 65536):
            raise InputError(f"{self.depth}: rawDepths of {self.id} are not all from 0 to 65.5 m")
        return np.ascontiguousarray(codes.astype(np.uint16))

    def stamp(self) -> str:
        return f"{self.index} {stamp_of(self.image)}"

    def _read(self, name: str) -> np.ndarray:
        with _opened(self.image) as file:
            return np.asarray(file[name][self.index])


def frames(root: Path, split: str) -> list[LabeledFrame]:
    """The 795 frames of "train" or the 654 of "test", by scene type and number."""
    path, splits = root / DATA_FILE, root / SPLIT_FILE
    require_listed([path, splits], "files of task.layout=labeled", NYU.published)
    with _opened(path) as file:
        images, depths = file["images"], file["rawDepths"]
        has = [(images.shape, str(images.dtype)), (depths.shape, depths.dtype.kind)]
        types, scenes = _texts(file, "sceneTypes"), _texts(file, "scenes")
    height, width = SIZE
    need = [((len(types), 3, width, height), "uint8"), ((len(scenes), width, height), "f")]
    if has != need or len(types) != len(scenes):
        raise InputError(f"{path}: images and rawDepths are {has}, need {need}: axes in this order")
    chosen = [
        LabeledFrame(f"{types[i]}/rgb_{i:05d}", scene(scenes[i]), NYU.scale, path, path, i)
        for i in split_indices(splits, split, len(types))
    ]
    return sorted(chosen, key=lambda frame: frame.id)


def split_indices(path: Path, split: str, count: int) -> list[int]:
    """Frames of a split, counted from 0; splits.mat must be of `count` frames."""
    from scipy.io import loadmat

    try:
        splits = loadmat(path)
        train, test = ((splits[f"{part}Ndxs"].ravel() - 1).tolist() for part in ("train", "test"))
    except Exception as error:  # scipy's parser raises whatever it runs into
        raise InputError(f"{path}: not the published file ({error}); {NYU.published}") from None
    if sorted(train + test) != list(range(count)):
        raise InputError(f"{path}: its indices are not those of {count} frames, each in one split")
    return test if split == "test" else train


def _texts(file: Any, name: str) -> list[str]:
    """A MATLAB cell array of texts: references to arrays of character codes."""
    references = np.asarray(file[name]).ravel()
    return ["".join(map(chr, np.asarray(file[text]).ravel())) for text in references]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The HDF5 file; InputError that names it for whatever reading it runs into."""
    h5py = optional("h5py", "task.layout=labeled")
    try:
        with h5py.File(path) as file:
            yield file
    except Exception as error:
        raise InputError(f"{path}: not the published file ({error}); {NYU.published}") from None
