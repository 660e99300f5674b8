"""Pictures with depth maps: NYU Depth v2 and KITTI's Eigen split in the folders and lists of BTS.

A list has a line a frame, `image depth [focal]`. Depth PNGs are 16 bits, 0 = no measurement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from benchmarks.data.files import find_listed, one_form
from benchmarks.data.images import image_size, open_picture, read_rgb
from benchmarks.metrics import depth_crops
from benchmarks.metrics.depth import DepthProtocol
from crossflow.errors import InputError
from crossflow.files import is_file, is_folder, read_text

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8, UInt16

NYU_SCALE = 1000.0  # depth PNGs of NYU Depth v2 are millimetres
KITTI_SCALE = 256.0
_PNG16_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
# split -> (list file, folder of its paths), both below the root
NYU_SPLITS = {
    "train": ("nyudepthv2_train_files_with_gt.txt", "sync"),
    "test": ("nyudepthv2_test_files_with_gt.txt", "official_splits/test"),
}
NYU_PUBLISHED = (
    "the list files and the training frames (sync.zip) are published at "
    "https://github.com/cleinc/bts, the labelled test frames at "
    "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"
)
# BTS's name of the list, then AdaBins's for the same lines
KITTI_LISTS = {
    "train": ("eigen_train_files_with_gt.txt", "kitti_eigen_train_files_with_gt.txt"),
    "test": ("eigen_test_files_with_gt.txt", "kitti_eigen_test_files_with_gt.txt"),
}
# Where drives with ground truth may lie: as the lists name them, or as the archive unpacks.
KITTI_DEPTH_FOLDERS = (
    *(".", "data_depth_annotated", "train", "val"),
    *("data_depth_annotated/train", "data_depth_annotated/val"),
)
KITTI_PUBLISHED = (
    "the list files are published at https://github.com/cleinc/bts (train_test_inputs/), pictures "
    "(raw data) and depth maps (data_depth_annotated.zip) at https://www.cvlibs.net/datasets/kitti"
)
_PART = re.compile(r"(?<=[0-9])[a-z]$")  # of a scene of NYU


def nyu_protocol(nonfinite: str = "refuse", crop: str = "eigen") -> DepthProtocol:
    """NYU Depth v2: 1e-3 to 10 m (cleinc/bts, pytorch/bts_main.py:275-297).

    nonfinite, crop: the fields `task.nonfinite` and `task.crop`.
    """
    return DepthProtocol(1e-3, 10.0, depth_crops.NYU[crop], nonfinite, float32=True)


def kitti_protocol(nonfinite: str = "refuse", crop: str = "kb_garg") -> DepthProtocol:
    """KITTI: 1e-3 to 80 m, at most 80 m being the Eigen split's rule."""
    return DepthProtocol(1e-3, 80.0, depth_crops.KITTI[crop], nonfinite, float32=True)


class Frame(Protocol):
    """A picture with its depth map, wherever they lie."""

    @property
    def id(self) -> str:
        """Names the prediction."""

    @property
    def group(self) -> str:
        """The scene: its frames must not be both in training and validation."""

    @property
    def scale(self) -> float:
        """Depth codes a metre."""

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
    """One line of a list file: see `Frame`."""

    id: str  # the first field without leading slash and suffix
    image: Path
    depth: Path | None  # None where the list says None (45 of KITTI's 697)
    group: str  # the first folder or folders of the id
    focal: float | None = None  # pixels
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


def nyu_frames(root: Path, split: str, list_file: Path | None = None) -> list[DepthFrame]:
    """Frames of "train" (24,231 in the published list) or "test" (654), in the order of the list.

    list_file: another list for the same folder (`task.split_file`). A missing split is never
    replaced by the other. InputError says what was looked for, where, and where it is published.
    """
    name, folder_name = NYU_SPLITS[split]
    path, folder = list_file or root / name, root / folder_name
    if not (is_file(path) and is_folder(folder)):
        raise InputError(
            f"the {split} split of NYU Depth v2 needs {path} and {folder}/, not found; "
            f"{NYU_PUBLISHED}"
        )
    frames = _present(read_list(path, folder), NYU_PUBLISHED)
    return [replace(frame, group=scene(frame.group)) for frame in frames]


def scene(name: str) -> str:
    """The recorded scene that a folder of NYU's raw data is of: bedroom_0017 for bedroom_0017b.

    What the letters mean was not verified. They are taken for parts of one recording, which is the
    careful choice: a room must not be both trained and validated on.
    """
    return _PART.sub("", name)


def kitti_frames(
    root: Path, split: str, list_file: Path | None = None
) -> tuple[list[DepthFrame], list[str]]:
    """Frames with ground truth of "train" (23,158) or "test" (652), ids of those without (45).

    list_file, errors: as in `nyu_frames`.
    """
    places = [root / name for name in KITTI_LISTS[split]] if list_file is None else [list_file]
    path = next(filter(is_file, places), None)
    if path is None:
        raise InputError(
            f"the {split} split of KITTI Eigen needs {' or '.join(map(str, places))}, not found; "
            f"{KITTI_PUBLISHED}"
        )
    below: dict[str, Path] = {}

    def depth_folder(depth: PurePosixPath) -> Path:
        """The first folder that has the drive; the root where none has, to be named as missing."""
        drive = depth.parts[0]
        if drive not in below:
            folders = (root / name for name in KITTI_DEPTH_FOLDERS)
            having = (folder for folder in folders if is_folder(folder / drive / "proj_depth"))
            below[drive] = next(having, root)
        return below[drive]

    listed = read_list(path, root, scale=KITTI_SCALE, group_parts=2, depth_folder=depth_folder)
    scored = [frame for frame in listed if frame.depth is not None]
    if not scored:
        raise InputError(f"{path}: none of its {len(listed)} frames has a depth map")
    without = [frame.id for frame in listed if frame.depth is None]
    return _present(scored, KITTI_PUBLISHED), without


def _present(frames: Sequence[DepthFrame], published: str) -> list[DepthFrame]:
    """The frames, their files as they are called on the disk. InputError: files are missing."""
    paths = [path for frame in frames for path in (frame.image, frame.depth) if path is not None]
    real = dict(zip(paths, find_listed(paths, "listed files", published), strict=True))
    return [
        replace(frame, image=real[frame.image], depth=frame.depth and real[frame.depth])
        for frame in frames
    ]


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
    slash, which is no root. InputError names the line that has another form.
    """
    frames: dict[str, DepthFrame] = {}
    for number, line in enumerate(read_text(list_file).splitlines(), start=1):
        if not (fields := line.split()):
            continue
        where = f"{list_file} line {number}"
        if len(fields) not in (2, 3):
            raise InputError(f"{where}: {len(fields)} fields, need `image depth [focal]`")
        image, depth = (PurePosixPath(field.lstrip("/")) for field in fields[:2])
        if not (image.name and depth.name) or ".." in (*image.parts, *depth.parts):
            raise InputError(f"{where}: {line.strip()} are no two files in the data folder")
        try:
            focal = float(fields[2]) if len(fields) == 3 else None
        except ValueError:
            raise InputError(f"{where}: the focal length {fields[2]} is not a number") from None
        name = one_form(str(image.with_suffix("")))
        if name in frames:
            raise InputError(f"{where}: {name} occurs twice")
        below = folder if depth_folder is None else depth_folder(depth)
        frames[name] = DepthFrame(
            id=name,
            image=folder / image,
            depth=None if fields[1] == "None" else below / depth,
            group="/".join(image.parts[:-1][:group_parts]),
            focal=focal,
            scale=scale,
        )
    if not frames:
        raise InputError(f"{list_file}: the list is empty")
    return list(frames.values())


def read_depth_codes(path: Path) -> UInt16[np.ndarray, "h w"]:
    """The codes of a 16-bit grey PNG.

    Raises InputError naming the file for another bit depth: an 8-bit map would be read as
    millimetres and score as a scene 25 cm deep.
    """
    with open_picture(path) as image:
        if image.mode not in _PNG16_MODES:
            raise InputError(
                f"{path}: image mode {image.mode}, a depth map must be 16-bit grey (uint16)"
            )
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
