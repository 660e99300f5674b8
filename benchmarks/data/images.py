"""Reading pictures strictly, and the geometric steps that image tasks share."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image, ImageFile

from benchmarks.data.files import Member
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import UInt8

    Rgb = UInt8[np.ndarray, "h w 3"]

T = TypeVar("T")

PHOTO_MODES = ("RGB", "L", "CMYK")  # ImageNet has some grey and some CMYK files
LR_FILTER = "bicubic_pil"  # names the degradation in records: antialiased, 8 bit
_BICUBIC = Image.Resampling.BICUBIC  # Pillow widens the kernel when it shrinks: it antialiases


class OnDemand(Sequence[np.ndarray]):
    """`length` arrays, not in memory; make(i) gives the i-th, 0 <= i < length, each time anew."""

    def __init__(self, make: Callable[[int], np.ndarray], length: int) -> None:
        self.make, self.length = make, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int | slice) -> Any:
        chosen = range(self.length)[index]  # the rules of a list, and IndexError past the end
        return self.make(chosen) if isinstance(chosen, int) else [self.make(i) for i in chosen]


@contextmanager
def open_picture(path: Path | Member) -> Iterator[ImageFile.ImageFile]:
    """A picture, its pixels read inside the block; what its decoder raises there names the file."""
    try:
        file = path if isinstance(path, Path) else io.BytesIO(path.read_bytes())
        with Image.open(file) as image:
            yield image
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: not an image, or truncated or damaged ({error})") from None


def read_rgb(path: Path | Member, modes: Sequence[str] = ("RGB",)) -> Rgb:
    """An 8-bit RGB picture. EXIF orientation is ignored, as the field's loaders do.

    modes: Pillow modes that are accepted and converted. InputError: another mode, or 16 bits a
    channel, of which Pillow would keep the upper eight.
    """
    with open_picture(path) as image:
        deep = " of 16 bits" if any(";16" in str(tile) for tile in image.tile) else ""
        if deep or image.mode not in modes:
            need = " or ".join(modes)
            raise InputError(f"{path}: image mode {image.mode}{deep}, need {need} (8 bit)")
        return np.array(image.convert("RGB"))


def image_size(path: Path | Member) -> tuple[int, int]:
    """(width, height) from the header alone."""
    with open_picture(path) as image:
        return image.size


def bicubic(image: Rgb, size: tuple[int, int]) -> Rgb:
    """The image at `size` (height, width): Pillow's bicubic, antialiased when shrinking, 8 bit."""
    height, width = size
    return np.array(Image.fromarray(image).resize((width, height), _BICUBIC))


def centre_square(image: Rgb, size: int, resample: Image.Resampling = _BICUBIC) -> Rgb:
    """Centre crop to the short side, then Pillow's `resample` to `size`; U-ViT's order."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    if side == size:
        return square
    return np.array(Image.fromarray(square).resize((size, size), resample))


def shrink(image: Rgb, scale: int) -> Rgb:
    """The low-resolution image (`LR_FILTER`). InputError: a side is no multiple of the scale."""
    height, width = image.shape[:2]
    if height % scale or width % scale:
        raise InputError(f"task.scale={scale} does not divide the image size {width} x {height}")
    return bicubic(image, (height // scale, width // scale))


def enlarge(image: Rgb, scale: int) -> Rgb:
    """The bicubic baseline: the low-resolution image at full size, by Pillow in 8 bit."""
    height, width = image.shape[:2]
    return bicubic(image, (height * scale, width * scale))


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """`limit` items evenly spaced, in their order: the first of a data set are of one class."""
    if limit is None or limit >= len(items):
        return list(items)
    if limit < 1:
        raise InputError(f"task.limit={limit}: need at least one item")
    return [items[i * len(items) // limit] for i in range(limit)]
