"""Monocular depth on NYU Depth v2: RGB -> metric depth, in pixel space.

The flow runs at `task.size` rows (4/3 as many columns); its depth is enlarged to 480 x 640 and
scored there by BTS's formulas, from 1 mm to 10 m, inside Eigen's crop. Data and choices:
docs/data.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.data import nyu_labeled
from benchmarks.data.depth_frames import NYU, Frame, listed_frames, nyu_protocol
from benchmarks.data.splits import choose, require_root
from benchmarks.metrics import depth_crops
from benchmarks.tasks.depth_real import RealDepth
from crossflow.errors import InputError

DEFAULTS = {"split": "test", "size": 96, "layout": "bts", "crop": "eigen"}


class DepthNyu(RealDepth):
    """See the file's docstring."""

    version, uses = 3, (*RealDepth.uses, "task.layout")
    protocol, window = staticmethod(nyu_protocol), staticmethod(depth_crops.whole)
    crops, scale = tuple(depth_crops.NYU), NYU.scale
    sizes, columns = {24: 4, 48: 4, 96: 8, 120: 8, 240: 8, 480: 8}, (4, 3)

    def frames(self, part: str) -> tuple[Sequence[Frame], Sequence[str]]:
        layout = choose("task.layout", self.config.task.layout, ("bts", "labeled"))
        listed = self.config.task.split_file
        if layout == "bts":
            root = require_root(self.config, NYU.lists[0].format("{train,test}"), NYU.published)
            return listed_frames(NYU, root, part, listed, self.report)
        if listed is not None:
            raise InputError(
                f"task.split_file={listed}: layout labeled has splits.mat, leave it out"
            )
        files = f"{nyu_labeled.DATA_FILE} and {nyu_labeled.SPLIT_FILE}"
        return nyu_labeled.frames(require_root(self.config, files, NYU.published), part), []


TASK = DepthNyu
