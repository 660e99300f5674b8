"""What the real depth tasks share: BTS list files, 16-bit depth PNGs, published protocols."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.metrics.depth import DepthProtocol
from benchmarks.tasks.images import decode, first_few, open_image
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, UInt16

# NYU: 1e-3 to 10 m and Eigen's crop, rows 45:471 and columns 41:601 of 480 x 640
# (cleinc/bts, pytorch/bts_main.py:275-297). Depth PNGs are millimetres.
EIGEN_CROP_NYU = (45 / 480, 471 / 480, 41 / 640, 601 / 640)
NYU_SCALE = 1000.0
_PNG16_MODES = ("I;16", "I;16B", "I;16L", "I;16N")


def nyu_protocol(nonfinite: str = "refuse") -> DepthProtocol:
    """BTS's protocol for NYU Depth v2; `nonfinite` is the field `task.nonfinite`."""
    return DepthProtocol(low=1e-3, high=10.0, crop=EIGEN_CROP_NYU, nonfinite=nonfinite)


@dataclass(frozen=True)
class DepthFrame:
    """One line of a list file.

    id: first field without leading slash and suffix; names the prediction. depth is None where the
    list says None (45 of KITTI's 697). group: the scene, the first folder of the id. focal: pixels.
    """

    id: str
    image: Path
    depth: Path | None
    group: str
    focal: float | None = None


def read_list(list_file: Path, folder: Path) -> list[DepthFrame]:
    """Frames of a BTS list: `image depth [focal]` a line, paths below `folder`.

    The training list's paths begin with a slash, which is no root: os.path.join would drop the
    folder. Raises InputError with the line number for a line of another form, an id that occurs
    twice and paths that leave the folder; and for an empty list.
    """
    try:
        text = list_file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{list_file}: not a text file ({error})") from None
    frames: dict[str, DepthFrame] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        frame = _frame(line.split(), folder, f"{list_file} line {number}")
        if frame.id in frames:
            raise InputError(f"{list_file} line {number}: {frame.id} occurs twice")
        frames[frame.id] = frame
    if not frames:
        raise InputError(f"{list_file}: the list is empty")
    return list(frames.values())


def _frame(fields: list[str], folder: Path, where: str) -> DepthFrame:
    if len(fields) not in (2, 3):
        raise InputError(
            f"{where}: {len(fields)} fields, need `image depth` or `image depth focal`"
        )
    image, depth = PurePosixPath(fields[0].lstrip("/")), PurePosixPath(fields[1].lstrip("/"))
    if ".." in image.parts or ".." in depth.parts:
        raise InputError(f"{where}: a path leaves the data folder")
    try:
        focal = float(fields[2]) if len(fields) == 3 else None
    except ValueError:
        raise InputError(f"{where}: the focal length {fields[2]} is not a number") from None
    return DepthFrame(
        id=str(image.with_suffix("")),
        image=folder / image,
        depth=None if fields[1] == "None" else folder / depth,
        group=image.parts[0] if len(image.parts) > 1 else "",
        focal=focal,
    )


def check_frames(frames: list[DepthFrame], published: str) -> None:
    """Raises InputError when listed files are missing: how many, the first, where to get them."""
    files = [path for frame in frames for path in (frame.image, frame.depth) if path is not None]
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(files)} listed files are missing: {first_few(missing)}; "
            f"{published}"
        )


def read_depth_png(path: Path, scale: float = NYU_SCALE) -> Float[np.ndarray, "h w"]:
    """Depth in metres (float32) from a 16-bit grey PNG of depth * scale; 0 = no measurement.

    Raises InputError naming the file for another bit depth: an 8-bit map would be read as
    millimetres and score as a scene 25 cm deep.
    """
    with open_image(path) as image:
        if image.mode not in _PNG16_MODES:
            raise InputError(
                f"{path}: image mode {image.mode}, a depth map must be 16-bit grey (uint16)"
            )
        decode(image, path)
        return np.array(image).astype(np.float32) / np.float32(scale)


def write_depth_png(path: Path, depth: Float[np.ndarray, "h w"], scale: float = NYU_SCALE) -> None:
    """Writes uint16(depth * scale), truncated as NYU's and KITTI's own files are.

    Raises InputError for depths that 16 bits cannot hold.
    """
    if not np.isfinite(depth).all() or depth.min() < 0 or depth.max() * scale >= 65536:
        raise InputError(f"{path}: depths must be finite and below {65536 / scale:g} m")
    codes: UInt16[np.ndarray, "h w"] = (depth.astype(np.float64) * scale).astype(np.uint16)
    Image.fromarray(codes).save(path)
