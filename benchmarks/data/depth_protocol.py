"""What the real depth tasks share: frames, BTS list files, 16-bit depth PNGs, published ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from benchmarks.data.images import decode, first_few, image_size, open_image, read_rgb
from benchmarks.metrics import depth_crops
from benchmarks.metrics.depth import DepthProtocol
from crossflow.errors import InputError
from crossflow.files import is_file

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8, UInt16

NYU_SCALE = 1000.0  # depth PNGs of NYU Depth v2 are millimetres
KITTI_SCALE = 256.0
_PNG16_MODES = ("I;16", "I;16B", "I;16L", "I;16N")


def nyu_protocol(nonfinite: str = "refuse", crop: str = "eigen") -> DepthProtocol:
    """NYU Depth v2: 1e-3 to 10 m (cleinc/bts, pytorch/bts_main.py:275-297).

    nonfinite, crop: the fields `task.nonfinite` and `task.crop`.
    """
    return DepthProtocol(1e-3, 10.0, depth_crops.NYU[crop], nonfinite, float32=True)


def kitti_protocol(nonfinite: str = "refuse", crop: str = "kb_garg") -> DepthProtocol:
    """KITTI: 1e-3 to 80 m, at most 80 m being the Eigen split's rule."""
    return DepthProtocol(1e-3, 80.0, depth_crops.KITTI[crop], nonfinite, float32=True)


class Frame(Protocol):
    """A picture with its depth map, wherever they lie.

    id names the prediction. group: frames that must not be both in training and validation. scale:
    depth codes a metre.
    """

    @property
    def id(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def scale(self) -> float: ...

    def size(self) -> tuple[int, int]:
        """(height, width) of picture and depth. InputError where they differ."""

    def picture(self) -> UInt8[np.ndarray, "h w 3"]:
        """The picture, RGB."""

    def codes(self) -> UInt16[np.ndarray, "h w"]:
        """Depth times scale, 0 = no measurement."""

    def stamp(self) -> str:
        """Changes when the files do, without reading them."""


@dataclass(frozen=True)
class DepthFrame:
    """One line of a list file: see `Frame`.

    id: first field without leading slash and suffix. depth is None where the list says None (45 of
    KITTI's 697). group: the scene, the first folder or folders of the id. focal: pixels.
    """

    id: str
    image: Path
    depth: Path | None
    group: str
    focal: float | None = None
    scale: float = NYU_SCALE

    def size(self) -> tuple[int, int]:
        depth = self._depth()
        size, other = image_size(depth), image_size(self.image)
        if size != other:
            raise InputError(
                f"{self.image} and {depth} differ in size: {other[0]} x {other[1]} and "
                f"{size[0]} x {size[1]} pixels"
            )
        return size[1], size[0]

    def picture(self) -> UInt8[np.ndarray, "h w 3"]:
        return read_rgb(self.image)

    def codes(self) -> UInt16[np.ndarray, "h w"]:
        return read_depth_codes(self._depth())

    def stamp(self) -> str:
        stats = (path.stat() for path in (self.image, self._depth()))
        return " ".join(f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats)

    def _depth(self) -> Path:
        if self.depth is None:
            raise InputError(f"{self.id}: the list gives no depth map for this frame")
        return self.depth


def load_depth(frame: Frame) -> Float[np.ndarray, "h w"]:
    """The ground truth alone, float32 metres, 0 = unknown."""
    return frame.codes().astype(np.float32) / np.float32(frame.scale)


def load(frame: Frame) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """Picture and depth at the size of the files. InputError where their sizes differ."""
    frame.size()
    return frame.picture(), load_depth(frame)


def read_list(
    list_file: Path,
    folder: Path,
    *,
    scale: float = NYU_SCALE,
    group_parts: int = 1,
    depth_folder: Callable[[PurePosixPath], Path] | None = None,
) -> list[DepthFrame]:
    """Frames of a BTS list: `image depth [focal]` a line, paths below `folder`.

    group_parts: how many folders of the id name its scene. depth_folder: from a listed depth map to
    the folder it lies below, where that is another one. The training list's paths begin with a
    slash, which is no root: os.path.join would drop the folder. Raises InputError with the line
    number for a line of another form, an id that occurs twice and paths that leave the folder; and
    for an empty list.
    """
    try:
        text = list_file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{list_file}: not a text file ({error})") from None
    frames: dict[str, DepthFrame] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        frame = _frame(
            line.split(),
            folder,
            f"{list_file} line {number}",
            scale,
            group_parts,
            depth_folder or (lambda depth: folder),
        )
        if frame.id in frames:
            raise InputError(f"{list_file} line {number}: {frame.id} occurs twice")
        frames[frame.id] = frame
    if not frames:
        raise InputError(f"{list_file}: the list is empty")
    return list(frames.values())


def _frame(
    fields: list[str],
    folder: Path,
    where: str,
    scale: float,
    group_parts: int,
    depth_folder: Callable[[PurePosixPath], Path],
) -> DepthFrame:
    if len(fields) not in (2, 3):
        raise InputError(
            f"{where}: {len(fields)} fields, need `image depth` or `image depth focal`"
        )
    image, depth = PurePosixPath(fields[0].lstrip("/")), PurePosixPath(fields[1].lstrip("/"))
    if ".." in image.parts or ".." in depth.parts:
        raise InputError(f"{where}: a path leaves the data folder")
    if not image.name or not depth.name:
        raise InputError(f"{where}: a path without a file name")
    try:
        focal = float(fields[2]) if len(fields) == 3 else None
    except ValueError:
        raise InputError(f"{where}: the focal length {fields[2]} is not a number") from None
    return DepthFrame(
        id=str(image.with_suffix("")),
        image=folder / image,
        depth=None if fields[1] == "None" else depth_folder(depth) / depth,
        group="/".join(image.parts[:-1][:group_parts]),
        focal=focal,
        scale=scale,
    )


def check_frames(frames: Sequence[DepthFrame], published: str) -> None:
    """Raises InputError when listed files are missing: how many, the first, where to get them."""
    files = [path for frame in frames for path in (frame.image, frame.depth) if path is not None]
    missing = [path for path in files if not is_file(path)]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(files)} listed files are missing: {first_few(missing)}; "
            f"{published}"
        )


def read_depth_codes(path: Path) -> UInt16[np.ndarray, "h w"]:
    """The codes of a 16-bit grey PNG.

    Raises InputError naming the file for another bit depth: an 8-bit map would be read as
    millimetres and score as a scene 25 cm deep.
    """
    with open_image(path) as image:
        if image.mode not in _PNG16_MODES:
            raise InputError(
                f"{path}: image mode {image.mode}, a depth map must be 16-bit grey (uint16)"
            )
        decode(image, path)
        return np.array(image).astype(np.uint16)


def read_depth_png(path: Path, scale: float = NYU_SCALE) -> Float[np.ndarray, "h w"]:
    """Depth in metres (float32) from a PNG of depth * scale; 0 = no measurement."""
    return read_depth_codes(path).astype(np.float32) / np.float32(scale)


def write_depth_png(path: Path, depth: Float[np.ndarray, "h w"], scale: float = NYU_SCALE) -> None:
    """Writes uint16(depth * scale), truncated as NYU's and KITTI's own files are.

    Raises InputError for depths that 16 bits cannot hold.
    """
    if not np.isfinite(depth).all() or depth.min() < 0 or depth.max() * scale >= 65536:
        raise InputError(f"{path}: depths must be finite and below {65536 / scale:g} m")
    codes: UInt16[np.ndarray, "h w"] = (depth.astype(np.float64) * scale).astype(np.uint16)
    Image.fromarray(codes).save(path)
