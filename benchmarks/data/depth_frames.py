"""Pictures with depth maps: NYU Depth v2 and KITTI's Eigen split in the folders and lists of BTS.

A list has a line a frame, `image depth [focal]`. Depth PNGs are 16 bits, 0 = no measurement. A flow
makes log metres without holes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.config.inputs import is_file, is_folder, read_text
from benchmarks.data.files import one_form, require_listed, stamp_of
from benchmarks.data.images import image_size, open_picture, read_rgb
from benchmarks.data.splits import Report
from benchmarks.metrics import depth_crops
from benchmarks.metrics.depth import DepthProtocol
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8, UInt16


@dataclass(frozen=True)
class DataSet:
    """Where the files of a published data set lie below its root."""

    name: str
    lists: tuple[str, ...]  # BTS's name of the list of a split, then other people's
    folders: dict[str, str]  # split -> folder of the listed paths
    depth_folders: tuple[str, ...]  # below that, where depth maps may lie instead
    parts: int  # of an id, that name its scene
    scale: float  # depth codes a metre
    published: str


NYU = DataSet(
    "NYU Depth v2",
    ("nyudepthv2_{}_files_with_gt.txt",),
    {"train": "sync", "test": "official_splits/test"},
    depth_folders=(),
    parts=1,
    scale=1000.0,
    published="the list files and the training frames (sync.zip) are published at "
    "https://github.com/cleinc/bts, the labelled frames and splits.mat at "
    "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html",
)
KITTI = DataSet(
    "KITTI Eigen",
    ("eigen_{}_files_with_gt.txt", "kitti_eigen_{}_files_with_gt.txt"),
    {"train": ".", "test": "."},
    tuple(f"{a}/{b}" for a in (".", "data_depth_annotated") for b in (".", "train", "val")),
    parts=2,
    scale=256.0,
    published="the list files are published at https://github.com/cleinc/bts (train_test_inputs/), "
    "pictures (raw data) and depth maps (data_depth_annotated.zip) at "
    "https://www.cvlibs.net/datasets/kitti",
)


def nyu_protocol(nonfinite: str = "refuse", crop: str = "eigen") -> DepthProtocol:
    """1e-3 to 10 m (cleinc/bts, pytorch/bts_main.py:275-297), by task.nonfinite and task.crop."""
    return DepthProtocol(1e-3, 10.0, depth_crops.NYU[crop], nonfinite, float32=True)


def kitti_protocol(nonfinite: str = "refuse", crop: str = "kb_garg") -> DepthProtocol:
    """1e-3 to 80 m, the Eigen split's rule."""
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
            both = f"{self.image} and {self.depth}"
            raise InputError(f"{both} differ in size: {other} and {size} (width, height)")
        return size[1], size[0]

    def picture(self) -> UInt8[np.ndarray, "h w 3"]:
        return read_rgb(self.image)

    def codes(self) -> UInt16[np.ndarray, "h w"]:
        """Depth times scale, 0 = no measurement."""
        return read_depth_codes(self.depth)

    def stamp(self) -> str:
        return stamp_of(self.image, self.depth)


def load_depth(frame: Frame) -> Float[np.ndarray, "h w"]:
    """The ground truth alone, float32 metres, 0 = unknown."""
    return metres(frame.codes(), frame.scale)


def load(frame: Frame) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
    """Picture and depth at the size of the files. InputError where their sizes differ."""
    frame.size()
    return frame.picture(), load_depth(frame)


def listed_frames(
    data: DataSet,
    root: Path,
    split: str,
    list_file: str | None = None,
    report: Report = lambda *_: None,
) -> tuple[list[Frame], list[str]]:
    """Frames of "train" or "test" in the order of the list, and ids of those without a depth map.

    NYU has 24,231 and 654; KITTI 23,158 and 652, and 45 without. list_file: another test list.
    """
    base = root / data.folders[split]
    places = [root / name.format(split) for name in data.lists]
    if list_file and split == "test":
        places = [Path(list_file)]
    path = next(filter(is_file, places), None)
    if path is None:
        need = f"{' or '.join(map(str, places))} and the files that it names in {base}/"
        raise InputError(
            f"the {split} split of {data.name} needs {need}, not found; {data.published}"
        )

    @cache
    def depths_of(drive: PurePosixPath) -> Path:
        folders = (base / name for name in data.depth_folders)
        return next((folder for folder in folders if is_folder(folder / drive)), base)

    listed, without = read_list(path)
    frames = []
    for name, (image, depth) in listed.items():
        group = scene("/".join(name.split("/")[:-1][: data.parts]))
        place = depths_of(PurePosixPath(*depth.parts[:2]))
        frames.append(Frame(name, group, data.scale, base / image, place / depth))
    files = [path for frame in frames for path in (frame.image, frame.depth)]
    require_listed(files, "listed files", data.published)
    used = "scored" if split == "test" else "trained on"
    counts = f"{len(frames)} of {len(frames) + len(without)} listed frames have ground truth"
    report(f"{data.name}: {counts} and are {used}, {len(without)} have none", 1, 1)
    return frames, without


def scene(name: str) -> str:
    """The recorded scene of a folder of NYU's raw data: bedroom_0017 for bedroom_0017b.

    That letters are parts of one recording was not verified; it is the careful choice.
    """
    return re.sub(r"(?<=[0-9])[a-z]$", "", name)


Listed = dict[str, tuple[PurePosixPath, PurePosixPath]]  # picture and depth map of an id


def read_list(path: Path) -> tuple[Listed, list[str]]:
    """Files of a BTS list, and the ids whose depth map is None; a leading slash is no root."""
    listed: Listed = {}
    without: list[str] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not (fields := line.split()):
            continue
        image, depth = (PurePosixPath(field.lstrip("/")) for field in (*fields, "")[:2])
        name = one_form(str(image).removesuffix(image.suffix))
        outside = ".." in (*image.parts, *depth.parts)
        if len(fields) not in (2, 3) or outside or name in listed or name in without:
            need = "`image depth [focal]`, two files in the folder, each picture once"
            raise InputError(f"{path} line {number}: {line.strip()}: need {need}")
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
        if image.mode not in ("I;16", "I;16B", "I;16L", "I;16N"):
            need = "a depth map must be 16-bit grey (uint16)"
            raise InputError(f"{path}: image mode {image.mode}, {need}")
        return np.array(image).astype(np.uint16)


def metres(codes: UInt16[np.ndarray, "h w"], scale: float) -> Float[np.ndarray, "h w"]:
    """Depth in metres (float32); 0 = no measurement."""
    return codes.astype(np.float32) / np.float32(scale)


def to_log(depth: Float[np.ndarray, "*s"], protocol: DepthProtocol) -> Float[np.ndarray, "*s"]:
    """ln(metres), limited to the protocol's range: the errors that score depth are relative."""
    return np.log(protocol.clamp(depth)).astype(np.float32)


def from_log(target: Float[np.ndarray, "*s"], protocol: DepthProtocol) -> Float[np.ndarray, "*s"]:
    """Back to metres, limited to the protocol's range."""
    limited = np.clip(target, np.log(protocol.low), np.log(protocol.high))
    return np.exp(limited).astype(np.float32)


def fill_holes(depth: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Pixels without a measurement (0) get the nearest measured depth; all zero stays all zero."""
    holes = depth <= 0
    if not holes.any() or holes.all():
        return depth
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(holes, return_distances=False, return_indices=True)
    return np.asarray(depth[tuple(nearest)])


def reduce_depth(
    depth: Float[np.ndarray, "h w"], size: tuple[int, int]
) -> Float[np.ndarray, "H W"]:
    """Depth at a smaller size: the mean of the measured pixels of each cell, 0 where none is."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    measured = torch.from_numpy((depth > 0).astype(np.float32))[None]
    metres = torch.from_numpy(depth.astype(np.float32))[None]
    share = adaptive_avg_pool2d(measured, size)
    mean = adaptive_avg_pool2d(metres * measured, size) / share.clamp(min=1e-6)
    return np.asarray(torch.where(share > 0, mean, 0.0)[0].numpy())


def enlarge(depth: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "H W"]:
    """Depth at the ground truth's size: bilinear, pixel centres aligned."""
    import torch
    from torch.nn.functional import interpolate

    maps = torch.from_numpy(np.ascontiguousarray(depth))[None, None]
    return np.asarray(interpolate(maps, size=size, mode="bilinear", align_corners=False)[0, 0])
