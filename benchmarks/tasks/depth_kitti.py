"""Monocular depth on KITTI's Eigen split: RGB -> metric depth, in pixel space.

The flow sees the benchmark's window of 352 x 1216 (bottom, middle), reduced to `task.size` rows;
log depth is averaged over measured pixels and filled from the nearest one, since lidar measures a
fifth of them and a flow needs a target everywhere. Scores: BTS's formulas from 1 mm to 80 m at the
full size of the ground truth, inside `task.crop`. Data and choices: docs/data.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.data.depth_frames import KITTI, Frame, kitti_protocol, listed_frames
from benchmarks.data.splits import require_root
from benchmarks.metrics import depth_crops
from benchmarks.tasks.depth_real import RealDepth

DEFAULTS = {"split": "test", "size": 88, "crop": "kb_garg"}


class DepthKitti(RealDepth):
    """See the file's docstring."""

    version = 2
    protocol, window = staticmethod(kitti_protocol), staticmethod(depth_crops.kb)
    crops, scale = tuple(depth_crops.KITTI), KITTI.scale
    sizes, columns = {44: 4, 88: 8, 176: 8, 352: 8}, (1216, 352)

    def frames(self, part: str) -> tuple[Sequence[Frame], Sequence[str]]:
        root = require_root(self.config, KITTI.lists[0].format("{train,test}"), KITTI.published)
        return listed_frames(KITTI, root, part, self.config.task.split_file, self.report)


TASK = DepthKitti
