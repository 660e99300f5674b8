"""NYU Depth v2 in the folders and list files of BTS."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from benchmarks.data.depth_protocol import DepthFrame, check_frames, read_list
from crossflow.errors import InputError
from crossflow.files import is_file, is_folder

# split -> (list file, folder of its paths), both below the root
SPLITS = {
    "train": ("nyudepthv2_train_files_with_gt.txt", "sync"),
    "test": ("nyudepthv2_test_files_with_gt.txt", "official_splits/test"),
}
_PART = re.compile(r"(?<=[0-9])[a-z]$")
PUBLISHED = (
    "the list files and the training frames (sync.zip) are published at "
    "https://github.com/cleinc/bts, the labelled test frames at "
    "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"
)


def frames(root: Path, split: str, list_file: Path | None = None) -> list[DepthFrame]:
    """Frames of "train" (24,231 in the published list) or "test" (654), in the order of the list.

    list_file: another list for the same folder (`task.split_file`). A missing split is never
    replaced by the other. Raises InputError that says what was looked for, where, and where the
    data are published.
    """
    if split not in SPLITS:
        raise InputError(f"task.split={split}: NYU Depth v2 has {' and '.join(SPLITS)}")
    name, folder_name = SPLITS[split]
    path, folder = list_file or root / name, root / folder_name
    absent = [
        str(p) for p, there in ((path, is_file(path)), (folder, is_folder(folder))) if not there
    ]
    if absent:
        raise InputError(
            f"the {split} split of NYU Depth v2 needs {' and '.join(absent)}, not found; "
            f"{PUBLISHED}"
        )
    found = read_list(path, folder)
    check_frames(found, PUBLISHED)
    return [replace(frame, group=scene(frame.group)) for frame in found]


def scene(name: str) -> str:
    """The recorded scene that a folder of the raw data is of: bedroom_0017 for bedroom_0017b.

    What the letters mean was not verified. They are taken for parts of one recording, which is the
    careful choice: a room must not be both trained and validated on.
    """
    return _PART.sub("", name)
