"""ILSVRC folders: {train,val}/<wnid>/*.JPEG, also Tiny-ImageNet sorted the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data.images import (
    PHOTO_MODES,
    centre_square,
    first_few,
    image_size,
    read_rgb,
    shrink,
    spread,
)
from benchmarks.data.tar_member import Member
from crossflow.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8

SPLITS = ("train", "val")
SUFFIXES = (".jpeg", ".jpg", ".png")
PUBLISHED = "ILSVRC 2012 is published at https://image-net.org/download-images.php"


@dataclass(frozen=True)
class Photo:
    """One file. id: its path below the split's folder (in a tar: its key) without suffix.

    It names the prediction.
    """

    id: str
    path: Path | Member


@dataclass(frozen=True)
class Photos:
    """Photographs in the order of their ids. too_small: ids left out because of their size."""

    photos: list[Photo]
    too_small: list[str]


def photos(root: Path, split: str, size: int, limit: int | None = None) -> Photos:
    """Photographs whose short side is at least `size`, smaller ones skipped and counted.

    `limit` takes evenly spaced files before their size is looked at, so that a small run need not
    open 1.28 million headers. A missing split is never replaced by the other. Raises InputError
    that says what was looked for, where, and where the data are published.
    """
    if split not in SPLITS:
        raise InputError(f"task.split={split}: ImageNet has {' and '.join(SPLITS)}")
    folder = root / split
    wanted = f"the {split} split of ImageNet needs {folder}/<wnid>/*.JPEG"
    if not folder.is_dir():
        raise InputError(f"{wanted}, the folder does not exist; {PUBLISHED}")
    found: dict[str, Photo] = {}
    for path in sorted(folder.rglob("*")):
        # macOS archives hold "._x.JPEG" beside x.JPEG: no image
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise InputError(f"{path} and {found[name].path} would share one prediction name")
        found[name] = Photo(name, path)
    if not found:
        raise InputError(f"{wanted}, none was found; {PUBLISHED}")
    return large_enough(list(found.values()), size, limit, folder)


def large_enough(found: Sequence[Photo], size: int, limit: int | None, folder: Path) -> Photos:
    """`limit` evenly spaced photographs, without those whose short side is below `size`."""
    chosen = spread(found, limit)
    large = [min(image_size(photo.path)) >= size for photo in chosen]
    kept = [photo for photo, fits in zip(chosen, large, strict=True) if fits]
    if not kept:
        raise InputError(
            f"task.size={size}: all {len(chosen)} images in {folder} are smaller, "
            f"{first_few([photo.id for photo in chosen])}"
        )
    return Photos(kept, [p.id for p, fits in zip(chosen, large, strict=True) if not fits])


def load(
    photo: Photo, size: int, scale: int
) -> tuple[UInt8[np.ndarray, "low low 3"], UInt8[np.ndarray, "size size 3"]]:
    """Low-resolution image and target: centre square at `size`, then bicubic by 1/scale."""
    target = centre_square(read_rgb(photo.path, PHOTO_MODES, least=size), size)
    return shrink(target, scale), target
