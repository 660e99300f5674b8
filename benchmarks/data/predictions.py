"""Predictions on disk, the same for our own runs and for anybody's: find, check, read, write.

Depth: `<id>.npy` (float32 metres) or `<id>.png` (the data set's uint16 coding). Images:
`<id>.png`, 8-bit RGB. Captions: `captions.json` in the COCO results format. Files are looked at
before the first one is scored, so that one message lists everything that is missing or too much;
pixels are read one item at a time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

from benchmarks.data.depth_frames import read_depth_png
from benchmarks.data.files import first_few, list_files, one_form, read_form
from benchmarks.data.images import OnDemand, image_size, read_rgb
from crossflow.errors import InputError
from crossflow.files import is_folder, write_atomic

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

CAPTIONS_FILE = "captions.json"
Size = tuple[int, int]  # (height, width)


def find_predictions(
    folder: Path, ids: Sequence[str], suffixes: Sequence[str], unscored: Sequence[str] = ()
) -> list[Path]:
    """The prediction file of each id, in their order. Files for `unscored` ids are let be.

    InputError: no such folder, ids without a file or with two, files of these suffixes for unknown
    ids (a wrong split or layout). Other files are let be.
    """
    if not is_folder(folder):
        raise InputError(f"predictions={folder}: no such folder")
    there = list_files(folder, suffixes).files
    names = [one_form(name) for name in ids]
    missing = [f"{name}{suffixes[0]}" for name in names if name not in there]
    extra = sorted(there.keys() - {*names, *map(one_form, unscored)})
    for offenders, what in (
        (missing, f"of {len(ids)} files ({' or '.join(suffixes)}) are missing"),
        (extra, f"predictions belong to no item of the split ({len(ids)} items)"),
    ):
        if offenders:
            raise InputError(
                f"predictions={folder}: {len(offenders)} {what}: {first_few(offenders)}"
            )
    return [there[name] for name in names]


class DepthPredictions(OnDemand):
    """Depth maps of a folder, read when asked for: float32 metres, sizes checked beforehand.

    shapes: of the ground truth of each id. scale: of the uint16 coding in PNGs, None where the data
    set has none (then only .npy is taken). Values are judged by the scorer.
    """

    def __init__(
        self,
        folder: Path,
        ids: Sequence[str],
        shapes: Sequence[Size],
        scale: float | None,
        unscored: Sequence[str] = (),
    ) -> None:
        suffixes = (".npy",) if scale is None else (".npy", ".png")
        self.scale, self.paths = scale, find_predictions(folder, ids, suffixes, unscored)
        has = [image_size(p)[::-1] if _is_png(p) else _open_npy(p).shape for p in self.paths]
        _refuse_sizes(folder, ids, has, shapes)
        super().__init__(self._read, len(ids))

    def _read(self, index: int) -> Float[np.ndarray, "h w"]:
        path = self.paths[index]
        if self.scale is not None and _is_png(path):
            return read_depth_png(path, self.scale)
        return np.array(_open_npy(path))


class ImagePredictions(OnDemand):
    """8-bit RGB PNGs of a folder, read when asked for; sizes (each id's, or one) checked before."""

    def __init__(
        self,
        folder: Path,
        ids: Sequence[str],
        sizes: Sequence[Size] | Size,
        unscored: Sequence[str] = (),
    ) -> None:
        self.paths = find_predictions(folder, ids, (".png",), unscored)
        wanted: Any = [sizes] * len(ids) if isinstance(sizes, tuple) else sizes
        _refuse_sizes(folder, ids, [image_size(path)[::-1] for path in self.paths], wanted)
        super().__init__(lambda index: read_rgb(self.paths[index]), len(ids))


def _refuse_sizes(
    folder: Path, ids: Sequence[str], shapes: Sequence[tuple[int, ...]], wanted: Sequence[Size]
) -> None:
    wrong = [
        f"{name} is {' x '.join(map(str, has))} instead of {need[0]} x {need[1]}"
        for name, has, need in zip(ids, shapes, wanted, strict=True)
        if tuple(has) != tuple(need)
    ]
    if wrong:
        raise InputError(
            f"predictions={folder}: {len(wrong)} of {len(ids)} have another size (height x width) "
            f"than the ground truth, nothing is resized: {first_few(wrong)}"
        )


def _is_png(path: Path) -> bool:
    return path.suffix.lower() == ".png"


def _open_npy(path: Path) -> np.ndarray:
    """A float32 array, mapped. Not by `np.load`, which takes what begins like a zip for several."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # whatever numpy's reading of a damaged header runs into
        raise InputError(f"{path}: not a numpy file that can be read ({error})") from None
    if array.dtype != np.float32:
        raise InputError(f"{path}: {array.dtype}, a predicted depth map must be float32 metres")
    return array


def write_depth(folder: Path, name: str, depth: Float[np.ndarray, "h w"]) -> Path:
    """Writes `<name>.npy`, float32 metres."""
    path = folder / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(depth, dtype=np.float32), allow_pickle=False)
    return path


def write_image(folder: Path, name: str, image: UInt8[np.ndarray, "h w 3"]) -> Path:
    """Writes `<name>.png`, 8-bit RGB."""
    path = folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def write_captions(folder: Path, captions: Mapping[int, str]) -> Path:
    """Writes `captions.json`: [{"image_id": 1, "caption": "..."}]."""
    rows = [{"image_id": key, "caption": text} for key, text in captions.items()]
    path = folder / CAPTIONS_FILE
    write_atomic(path, json.dumps(rows, ensure_ascii=False, indent=0) + "\n")
    return path


class _Caption(BaseModel):
    image_id: int
    caption: Annotated[str, Field(min_length=0)] | None  # lone surrogates have no length


def read_captions(location: Path, ids: Iterable[int]) -> dict[int, str]:
    """Captions by image id, in the order of `ids`, from a folder or a COCO results file.

    null is an empty caption. InputError: no such list, an id that is missing, unknown or twice.
    """
    path = location / CAPTIONS_FILE if is_folder(location) else location
    rows = read_form(path, list[_Caption], 'the COCO results file: [{"image_id", "caption"}]')
    counts, wanted = Counter(row.image_id for row in rows), dict.fromkeys(ids)
    for what, keys in (
        ("images have no caption", wanted.keys() - counts.keys()),
        ("captions are of no image", counts.keys() - wanted.keys()),
        ("images have several captions", [key for key, count in counts.items() if count > 1]),
    ):
        if keys:
            raise InputError(f"{path}: {len(keys)} {what} of the split: {first_few(sorted(keys))}")
    captions = {row.image_id: row.caption or "" for row in rows}
    return {key: captions[key] for key in wanted}
