"""Monocular depth on NYU Depth v2: RGB -> metric depth, in pixel space.

`task.layout` says how the data lie under `task.root`:

bts (default): github.com/cleinc/bts's list files and folders.

    nyudepthv2_train_files_with_gt.txt      24,231 lines; paths below sync/
    nyudepthv2_test_files_with_gt.txt       654 lines; paths below official_splits/test/
    sync/kitchen_0028b/rgb_00045.jpg, sync_depth_00045.png ...
    official_splits/test/bathroom/rgb_00045.jpg, sync_depth_00045.png ...

    A line is `image depth focal`; some lists begin each path with a slash. Depth PNGs are
    millimetres in 16 bits, 0 = no measurement. `task.split_file` names another test list.

labeled: nyu_depth_v2_labeled.mat (2.8 GB) and splits.mat, from
    cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html: 795 training and the same 654 test frames under
    the same ids, read as BTS's converter writes them. Truth and scores equal those of layout bts;
    pictures differ by the JPEG coding there.

The flow runs at `task.size` rows (4/3 as many columns); its depth is enlarged to the frame's
480 x 640 and scored there by BTS's formulas, from 1 mm to 10 m, inside Eigen's crop (`task.crop`:
eigen or none). `task.flip_test=true` takes the mean with the mirrored prediction for the mirrored
picture (for predictions of other programs it states that they were made so; such rows have a
score_key of their own). Training frames are neither cropped nor augmented. Validation is cut from
the training split by scene, parts of one scene (kitchen_0028a, kitchen_0028b) together. Predictions
of other programs: `<id>.npy` in metres or `<id>.png` in millimetres, e.g. `bathroom/rgb_00045.npy`,
480 x 640.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.data import nyu_labeled
from benchmarks.data.depth_frames import NYU, Frame, listed_frames, nyu_protocol
from benchmarks.data.splits import choose, require_root
from benchmarks.metrics import depth_crops
from benchmarks.tasks.depth_real import RealDepth
from crossflow.errors import InputError

DEFAULTS = {"split": "test", "size": 96, "layout": "bts", "crop": "eigen"}


class DepthNyu(RealDepth):
    """See the file's docstring."""

    version, uses = 2, (*RealDepth.uses, "task.layout")
    protocol, window = staticmethod(nyu_protocol), staticmethod(depth_crops.whole)
    crops, scale = tuple(depth_crops.NYU), NYU.scale
    sizes, columns = {24: 4, 48: 4, 96: 8, 120: 8, 240: 8, 480: 8}, (4, 3)

    def frames(self, part: str) -> tuple[Sequence[Frame], Sequence[str]]:
        config = self.config
        layout = choose("task.layout", config.task.layout, ("bts", "labeled"))
        listed = config.task.split_file
        if layout == "labeled":
            if listed is not None:
                raise InputError(
                    f"task.split_file={listed}: layout labeled has its splits in splits.mat, leave "
                    "it out"
                )
            files = f"{nyu_labeled.DATA_FILE} and {nyu_labeled.SPLIT_FILE}"
            root = require_root(config, files, NYU.published)
            return nyu_labeled.frames(root, part), []
        root = require_root(config, NYU.looked_for, NYU.published)
        return listed_frames(NYU, root, part, Path(listed) if listed and part == "test" else None)


TASK = DepthNyu
