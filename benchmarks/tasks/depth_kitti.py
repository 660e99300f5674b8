"""Monocular depth on KITTI's Eigen split: RGB -> metric depth, in pixel space.

`task.root` holds (cvlibs.net/datasets/kitti; lists from github.com/cleinc/bts):

    eigen_train_files_with_gt.txt           23,158 lines (or kitti_eigen_train_..., as in AdaBins)
    eigen_test_files_with_gt.txt            697 lines, the second field None in 45 of them
    2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png ...      raw data
    2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_02/0000000069.png ...

A line is `image depth focal`. The second sort of folders comes out of data_depth_annotated.zip; it
may lie in the root, in data_depth_annotated/, or in train/ and val/ of either. Depth PNGs are 16
bits, 256 a metre, 0 = no measurement: the improved ground truth of 2017. 652 of the 697 test frames
have one and are scored; both counts are reported and recorded. (Older papers score all 697 against
raw lidar: other numbers.) `task.split_file` names another test list.

Scores: BTS's formulas from 1 mm to 80 m, at the full size of the ground truth. `task.crop`:

    kb_garg (default): Garg's crop inside the benchmark's 352 x 1216 window, as in the online
        evaluation of BTS, AdaBins, NeWCRFs and ZoeDepth, which crop the ground truth first
    garg: of the whole picture (monodepth2; BTS's eval_with_pngs.py)
    kb_eigen: Marigold's;  eigen;  none

The flow sees the window of 352 x 1216 (bottom, middle), reduced to `task.size` rows; log depth is
averaged over measured pixels and filled from the nearest one, since lidar measures a fifth of them
and a flow needs a target everywhere. Its depth is enlarged to the window; outside it the nearest
edge is repeated. `task.flip_test=true` takes the mean with the mirrored prediction for the mirrored
picture (for predictions of other programs it states that they were made so; such rows have a
score_key of their own). Training frames are not augmented. Validation is cut from the training list
by drive.

Predictions of other programs: the first field with `.npy` (float32 metres) or `.png` (uint16, 256 a
metre), e.g. `2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.npy`, of the full size
of the ground truth (375 x 1242 and the like); files for the 45 frames without truth are let be.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.data.depth_frames import KITTI, Frame, kitti_protocol, listed_frames
from benchmarks.data.splits import require_root
from benchmarks.metrics import depth_crops
from benchmarks.tasks.depth_real import RealDepth

DEFAULTS = {"split": "test", "size": 88, "crop": "kb_garg"}


class DepthKitti(RealDepth):
    """See the file's docstring."""

    version = 1
    protocol, window = staticmethod(kitti_protocol), staticmethod(depth_crops.kb)
    crops, scale = tuple(depth_crops.KITTI), KITTI.scale
    sizes, columns = {44: 4, 88: 8, 176: 8, 352: 8}, (1216, 352)

    def frames(self, part: str) -> tuple[Sequence[Frame], Sequence[str]]:
        root = require_root(self.config, KITTI.looked_for, KITTI.published)
        listed = self.config.task.split_file if part == "test" else None
        frames, without = listed_frames(KITTI, root, part, Path(listed) if listed else None)
        whole = len(frames) + len(without)
        used = "scored" if part == "test" else "trained on"
        self.report(
            f"KITTI Eigen: {len(frames)} of {whole} listed frames have ground truth and are "
            f"{used}, {len(without)} have none",
            1,
            1,
        )
        return frames, without


TASK = DepthKitti
