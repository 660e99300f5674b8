"""Reading pictures strictly, and the two geometric steps every image task shares."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from benchmarks.data.tar_member import Member
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import UInt8

T = TypeVar("T")

PHOTO_MODES = ("RGB", "L", "CMYK")  # ImageNet has some grey and some CMYK files
HEADER = 2**16  # bytes of a file in a tar that are read for its size
LR_FILTER = "bicubic_pil"  # names the degradation in records: antialiased, 8 bit
_BICUBIC = Image.Resampling.BICUBIC  # Pillow widens the kernel when it shrinks: it antialiases


def open_image(path: Path | Member) -> Image.Image:
    """An image whose header was read; raises InputError naming the file when there is none."""
    try:
        return Image.open(path if isinstance(path, Path) else io.BytesIO(path.read_bytes()))
    except FileNotFoundError:
        raise InputError(f"{path}: no such image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not an image that can be read ({error})") from None


def decode(image: Image.Image, path: Path | Member) -> None:
    """Reads all pixels; a truncated or damaged file raises InputError instead of grey rows."""
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: the image is truncated or damaged ({error})") from None


def read_rgb(
    path: Path | Member, modes: Sequence[str] = ("RGB",), least: int = 1
) -> UInt8[np.ndarray, "h w 3"]:
    """An 8-bit RGB picture. EXIF orientation is ignored, as the field's loaders do.

    modes: Pillow modes that are accepted and converted. least: smallest short side in pixels.
    Raises InputError naming the file when it is missing, truncated, too small or of another mode.
    """
    with open_image(path) as image:
        if image.mode not in modes:
            raise InputError(f"{path}: image mode {image.mode}, need {' or '.join(modes)} (8 bit)")
        if min(image.size) < least:
            raise InputError(
                f"{path}: {image.width} x {image.height} pixels, the short side must be {least}"
            )
        decode(image, path)
        return np.array(image.convert("RGB"))


def image_size(path: Path | Member) -> tuple[int, int]:
    """(width, height) from the header alone."""
    if isinstance(path, Member):
        try:
            with Image.open(io.BytesIO(path.head(HEADER))) as image:
                return image.size
        except (OSError, SyntaxError, ValueError):
            pass  # a longer header, or no image: the whole file tells
    with open_image(path) as image:
        return image.size


def bicubic(
    image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "height width 3"]:
    """The image at `size` (height, width): Pillow's bicubic, antialiased when shrinking, 8 bit."""
    height, width = size
    return np.array(Image.fromarray(image).resize((width, height), _BICUBIC))


def centre_square(image: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Centre crop to the short side, then Pillow bicubic to `size` (crop first, as U-ViT does)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    return square if side == size else bicubic(square, (size, size))


def shrink(image: UInt8[np.ndarray, "h w 3"], scale: int) -> UInt8[np.ndarray, "h/s w/s 3"]:
    """The low-resolution image: bicubic with antialias by Pillow in 8 bit (`LR_FILTER`).

    Raises InputError when a side is no multiple of the scale.
    """
    height, width = image.shape[:2]
    if height % scale or width % scale:
        raise InputError(f"task.scale={scale} does not divide the image size {width} x {height}")
    return bicubic(image, (height // scale, width // scale))


def enlarge(image: UInt8[np.ndarray, "h w 3"], scale: int) -> UInt8[np.ndarray, "h*s w*s 3"]:
    """The bicubic baseline: the low-resolution image at full size, by Pillow in 8 bit."""
    height, width = image.shape[:2]
    return bicubic(image, (height * scale, width * scale))


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """`limit` items evenly spaced over the sequence, in its order; all of them for None.

    The first items of a sorted data set are one class or one scene, hence the spacing.
    """
    if limit is None or limit >= len(items):
        return list(items)
    if limit < 1:
        raise InputError(f"task.limit={limit}: need at least one item")
    return [items[i * len(items) // limit] for i in range(limit)]


def first_few(names: Sequence[Any], count: int = 3) -> str:
    """`a, b, c and 7 more`: how messages list offenders."""
    shown = ", ".join(str(name) for name in names[:count])
    more = len(names) - count
    return f"{shown} and {more} more" if more > 0 else shown
