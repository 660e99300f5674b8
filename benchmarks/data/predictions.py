"""Predictions on disk, the same for our own runs and for anybody's: find, check, read, write.

Depth: `<id>.npy` (float32 metres) or `<id>.png` (the data set's uint16 coding). Images:
`<id>.png`, 8-bit RGB. Captions: `captions.json` in the COCO results format.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

from benchmarks.config.inputs import is_folder
from benchmarks.data.depth_frames import metres, read_depth_codes
from benchmarks.data.files import first_few, list_files, read_form
from benchmarks.data.images import OnDemand, image_size, read_rgb
from benchmarks.metrics.captions import clean_caption
from crossflow.errors import InputError
from crossflow.files import write_atomic

CAPTIONS_FILE = "captions.json"
Size = tuple[int, ...]  # (height, width)
# Of one suffix: size of a file without reading it, and its array.
Format = tuple[Callable[[Path], Size], Callable[[Path], np.ndarray]]


class Predictions(OnDemand):
    """The prediction of each id, read when asked for; files and sizes are checked beforehand.

    sizes: of the ground truth of each id. unscored: ids whose files are let be, as are files of
    other suffixes. InputError: ids without a file, with two, or of another size; unknown ids.
    """

    def __init__(
        self,
        folder: Path,
        ids: Sequence[str],
        sizes: Sequence[Size],
        formats: Mapping[str, Format],
        unscored: Sequence[str] = (),
    ) -> None:
        if not is_folder(folder):
            raise InputError(f"predictions={folder}: no such folder")
        files = list_files(folder, formats).files
        kinds, items = " or ".join(formats), len(ids)
        missing = [f"{name}{next(iter(formats))}" for name in ids if name not in files]
        _refuse(folder, missing, f"of {items} files ({kinds}) are missing")
        extra = sorted(files.keys() - {*ids, *unscored})
        _refuse(folder, extra, f"predictions belong to no item of the split ({items} items)")
        self.paths = [files[name] for name in ids]
        chosen = [formats[path.suffix.lower()] for path in self.paths]
        wrong = []
        for name, path, (size, _), need in zip(ids, self.paths, chosen, sizes, strict=True):
            if (has := size(path)) != need:
                both = (" x ".join(map(str, lengths)) for lengths in (has, need))
                wrong.append(f"{name} is {' instead of '.join(both)}")
        truth = "size (height x width) than the ground truth, nothing is resized"
        _refuse(folder, wrong, f"of {items} have another {truth}")
        super().__init__(lambda index: chosen[index][1](self.paths[index]), items)


def _refuse(folder: Path, offenders: Sequence[str], what: str) -> None:
    if offenders:
        raise InputError(f"predictions={folder}: {len(offenders)} {what}: {first_few(offenders)}")


def depth_formats(scale: float | None) -> dict[str, Format]:
    """Depth maps: float32 metres; with a scale, also PNGs of that many codes a metre."""
    npy: Format = (lambda path: _open_npy(path).shape, lambda path: np.array(_open_npy(path)))
    if scale is None:
        return {".npy": npy}
    return {".npy": npy, ".png": (_png_size, lambda path: metres(read_depth_codes(path), scale))}


def _png_size(path: Path) -> Size:
    return image_size(path)[::-1]


IMAGE_FORMATS: dict[str, Format] = {".png": (_png_size, read_rgb)}


def _open_npy(path: Path) -> np.ndarray:
    """A float32 array, mapped. Not by `np.load`, which takes what begins like a zip for several."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # whatever numpy's reading of a damaged header runs into
        raise InputError(f"{path}: not a numpy file that can be read ({error})") from None
    if array.dtype != np.float32:
        raise InputError(f"{path}: {array.dtype}, a predicted depth map must be float32 metres")
    return array


def write_depth(folder: Path, name: str, depth: np.ndarray) -> None:
    """Metres (h, w) as `<name>.npy`, float32."""
    path = folder / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(depth, dtype=np.float32), allow_pickle=False)


def write_image(folder: Path, name: str, image: np.ndarray) -> None:
    """An 8-bit RGB picture (h, w, 3) as `<name>.png`."""
    path = folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_captions(folder: Path, captions: Mapping[int, str]) -> None:
    """Writes `captions.json`: [{"image_id": 1, "caption": "..."}]."""
    rows = [{"image_id": key, "caption": text} for key, text in captions.items()]
    write_atomic(folder / CAPTIONS_FILE, json.dumps(rows, ensure_ascii=False, indent=0) + "\n")


class _Caption(BaseModel):
    image_id: int
    caption: Annotated[str, Field(min_length=0)] | None  # lone surrogates have no length


def read_captions(location: Path, ids: Sequence[int]) -> list[str]:
    """The caption of each image id, from a folder or a COCO results file.

    null is an empty caption; control characters become spaces, as in what is scored. InputError: no
    such list, an id that is missing, unknown or twice.
    """
    path = location / CAPTIONS_FILE if is_folder(location) else location
    rows = read_form(path, list[_Caption], 'the COCO results file: [{"image_id", "caption"}]')
    counts = Counter(row.image_id for row in rows)
    for what, keys in (
        ("images have no caption", set(ids) - counts.keys()),
        ("captions are of no image", counts.keys() - set(ids)),
        ("images have several captions", [key for key, count in counts.items() if count > 1]),
    ):
        if keys:
            raise InputError(f"{path}: {len(keys)} {what} of the split: {first_few(sorted(keys))}")
    captions = {row.image_id: clean_caption(row.caption or "") for row in rows}
    return [captions[key] for key in ids]
