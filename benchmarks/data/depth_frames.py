"""Pictures with depth maps: NYU Depth v2 and KITTI's Eigen split in the folders and lists of BTS.

A list has a line a frame, `image depth [focal]`. Depth PNGs are 16 bits, 0 = no measurement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.data.files import first_few, one_form, require_listed, stamp_of
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
    """KITTI: 1e-3 to 80 m, the Eigen split's rule."""
    return DepthProtocol(1e-3, 80.0, depth_crops.KITTI[crop], nonfinite, float32=True)


@dataclass(frozen=True)
class Frame:
    """A picture with its depth map: a line of a list."""

    id: str  # names the prediction: the line's first field without leading slash and suffix
    group: str  # the scene: its frames must not be both in training and validation
    scale: float  # depth codes a metre
    image: Path
    depth: Path

    def size(self) -> tuple[int, int]:
        """(height, width) of picture and depth. InputError where they differ."""
        size, other = image_size(self.depth), image_size(self.image)
        if size != other:
            raise InputError(
                f"{self.image} and {self.depth} differ in size: {other} and {size} (width, height)"
            )
        return size[1], size[0]

    def picture(self) -> UInt8[np.ndarray, "h w 3"]:
        """The picture, RGB."""
        return read_rgb(self.image)

    def codes(self) -> UInt16[np.ndarray, "h w"]:
        """Depth times scale, 0 = no measurement."""
        return read_depth_codes(self.depth)

    def stamp(self) -> str:
        """Changes when the files do, without reading them."""
        return stamp_of(self.image, self.depth)


def load_depth(frame: Frame) -> Float[np.ndarray, "h w"]:
    """The ground truth alone, float32 metres, 0 = unknown."""
    return frame.codes().astype(np.float32) / np.float32(frame.scale)


def load(frame: Frame) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """Picture and depth at the size of the files. InputError where their sizes differ."""
    frame.size()
    return frame.picture(), load_depth(frame)


def nyu_frames(root: Path, split: str, list_file: Path | None = None) -> list[Frame]:
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
    listed, without = read_list(path)
    if without:
        raise InputError(f"{path}: {len(without)} frames have no depth map: {first_few(without)}")
    frames = [
        Frame(id_, scene("/".join(id_.split("/")[:-1][:1])), NYU_SCALE, folder / a, folder / b)
        for id_, (a, b) in listed.items()
    ]
    return _there(frames, NYU_PUBLISHED)


def scene(name: str) -> str:
    """The recorded scene that a folder of NYU's raw data is of: bedroom_0017 for bedroom_0017b.

    What the letters mean was not verified. They are taken for parts of one recording, which is the
    careful choice: a room must not be both trained and validated on.
    """
    return _PART.sub("", name)


def kitti_frames(
    root: Path, split: str, list_file: Path | None = None
) -> tuple[list[Frame], list[str]]:
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
    listed, without = read_list(path)

    @cache
    def folder_of(drive: str) -> Path:
        folders = (root / name for name in KITTI_DEPTH_FOLDERS)
        return next((f for f in folders if is_folder(f / drive / "proj_depth")), root)

    frames = [
        Frame(
            id_, "/".join(id_.split("/")[:-1][:2]), KITTI_SCALE, root / a, folder_of(b.parts[0]) / b
        )
        for id_, (a, b) in listed.items()
    ]
    return _there(frames, KITTI_PUBLISHED), without


def _there(frames: list[Frame], published: str) -> list[Frame]:
    """The frames; InputError where their files are not there."""
    files = [path for frame in frames for path in (frame.image, frame.depth)]
    require_listed(files, "listed files", published)
    return frames


Listed = dict[str, tuple[PurePosixPath, PurePosixPath]]  # picture and depth map of an id


def read_list(path: Path) -> tuple[Listed, list[str]]:
    """Files of a BTS list, and the ids whose depth map is None; in the order of the list.

    The training list's paths begin with a slash, which is no root. InputError names the line that
    has another form, or whose picture was there before.
    """
    listed: Listed = {}
    without: list[str] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not (fields := line.split()):
            continue
        image, depth = (PurePosixPath(field.lstrip("/")) for field in (*fields, "")[:2])
        name = one_form(str(image.with_suffix(""))) if image.name else ""
        inside = image.name and depth.name and ".." not in (*image.parts, *depth.parts)
        if len(fields) not in (2, 3) or not inside or name in listed or name in without:
            raise InputError(
                f"{path} line {number}: {line.strip()}: need `image depth [focal]`, two files in "
                "the folder, each picture once"
            )
        if fields[1] == "None":
            without.append(name)
        else:
            listed[name] = image, depth
    if not listed:
        raise InputError(f"{path}: none of its {len(without)} frames has a depth map")
    return listed, without


def read_depth_codes(path: Path) -> UInt16[np.ndarray, "h w"]:
    """The codes of a 16-bit grey PNG; InputError: an 8-bit one would score as 25 cm deep."""
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
    """Writes uint16(depth * scale), truncated as NYU's and KITTI's own files are."""
    if not np.isfinite(depth).all() or depth.min() < 0 or depth.max() * scale >= 65536:
        raise InputError(f"{path}: depths must be finite and below {65536 / scale:g} m")
    codes: UInt16[np.ndarray, "h w"] = (depth.astype(np.float64) * scale).astype(np.uint16)
    Image.fromarray(codes).save(path)
