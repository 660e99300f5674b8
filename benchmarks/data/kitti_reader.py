"""KITTI's Eigen split in the list files of BTS, with the improved ground truth of 2017."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from benchmarks.data.depth_protocol import KITTI_SCALE, DepthFrame, check_frames, read_list
from crossflow.errors import InputError
from crossflow.files import is_file, is_folder

# BTS's name of the list, then AdaBins's for the same lines
LISTS = {
    "train": ("eigen_train_files_with_gt.txt", "kitti_eigen_train_files_with_gt.txt"),
    "test": ("eigen_test_files_with_gt.txt", "kitti_eigen_test_files_with_gt.txt"),
}
# Where drives with ground truth may lie: as the lists name them, or as the archive unpacks.
DEPTH_FOLDERS = [
    *(".", "data_depth_annotated", "train", "val"),
    *("data_depth_annotated/train", "data_depth_annotated/val"),
]
PUBLISHED = (
    "the list files are published at https://github.com/cleinc/bts (train_test_inputs/), pictures "
    "(raw data) and depth maps (data_depth_annotated.zip) at https://www.cvlibs.net/datasets/kitti"
)


@dataclass(frozen=True)
class Split:
    """Frames with ground truth, and the ids of those without (the list says None)."""

    frames: list[DepthFrame]
    without: list[str]


def frames(root: Path, split: str, list_file: Path | None = None) -> Split:
    """Frames of "train" (23,158 in the published list) or "test" (697, 45 of them without truth).

    list_file: another list for the same folders (`task.split_file`). A missing split is never
    replaced by the other. Raises InputError that says what was looked for, where, and where the
    data are published; also for listed files that are missing.
    """
    if split not in LISTS:
        raise InputError(f"task.split={split}: KITTI Eigen has {' and '.join(LISTS)}")
    looked_for = [root / name for name in LISTS[split]] if list_file is None else [list_file]
    path = next((path for path in looked_for if is_file(path)), None)
    if path is None:
        raise InputError(
            f"the {split} split of KITTI Eigen needs {' or '.join(map(str, looked_for))}, not "
            f"found; {PUBLISHED}"
        )
    below: dict[str, Path] = {}

    def depth_folder(depth: PurePosixPath) -> Path:
        """The first folder that has the drive; the root where none has, to be named as missing."""
        drive = depth.parts[0]
        if drive not in below:
            places = (root / name for name in DEPTH_FOLDERS)
            found = (place for place in places if is_folder(place / drive / "proj_depth"))
            below[drive] = next(found, root)
        return below[drive]

    listed = read_list(path, root, scale=KITTI_SCALE, group_parts=2, depth_folder=depth_folder)
    scored = [frame for frame in listed if frame.depth is not None]
    if not scored:
        raise InputError(f"{path}: none of its {len(listed)} frames has a depth map")
    check_frames(scored, PUBLISHED)
    return Split(scored, [frame.id for frame in listed if frame.depth is None])
