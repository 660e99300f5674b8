"""Monocular depth in the embedded world: RGB picture -> metric depth, in pixel space.

The source is the RGB picture, encoded with a reconstruction loss (paper section 5.3); the target is
log depth. Training sees a sensor's depth (quantised, noisy, with holes, filled from the nearest
measurement), scoring the clean one. Primary score: AbsRel on pixels of solids, which an empty room
or a mean map cannot get right.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.depth_frames import fill_holes, from_log, to_log
from benchmarks.metrics import depth as metric
from benchmarks.tasks import bounds
from benchmarks.tasks.tabletop import SceneItems, TabletopTask
from benchmarks.tasks.task import DepthItems

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

DEFAULTS = {"split": "iid", "size": 32}
PATCH = 4
PROTOCOL = metric.DepthProtocol(low=0.2, high=20.0)


class DepthScenes(SceneItems, DepthItems):
    """Pictures and clean depth, in metres."""

    @cached_property
    def depth(self) -> np.ndarray:
        return self.split.depth(self.size)[0]

    def rows(self, part: slice) -> dict[str, Any]:
        """RGB in [0, 1] and log depth, of the sensor for training."""
        import torch

        from benchmarks.tabletop.render import sensor_depth

        depth, indices = np.array(self.depth[part]), self.split.indices[part]
        if self.name == "train":
            pairs = zip(torch.from_numpy(depth), indices, strict=True)
            depth = np.stack([fill_holes(sensor_depth(d, int(i)).numpy()) for d, i in pairs])
        return {
            "target": to_log(depth, PROTOCOL)[:, None],
            "source": np.array(self.pictures[part]).astype(np.float32) / 255,
            "groups": indices,
            "ids": self.ids[part],
        }

    def key(self) -> dict[str, Any]:
        nonfinite = self.task.config.task.nonfinite
        return self.world_key({"depth": metric.PROTOCOL}, size=self.size, nonfinite=nonfinite)

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        nonfinite = self.task.config.task.nonfinite
        protocol = metric.DepthProtocol(PROTOCOL.low, PROTOCOL.high, nonfinite=nonfinite)
        depth, owner = map(np.array, self.split.depth(self.size))
        return metric.depth_scores(self.ids, predictions, depth, protocol, owner > 0)

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.pictures[index].transpose(1, 2, 0), np.array(self.depth[index])


class DepthTabletop(TabletopTask[DepthScenes]):
    """See the file's docstring."""

    version, uses, kind = 1, ("task.nonfinite",), DepthScenes

    def primary(self, items: int) -> str:
        return "absrel_object"

    @cached_property
    def problem(self) -> Problem:
        from crossflow.problem import MapShape, Problem

        source, target = (MapShape(channels, self.size, self.size) for channels in (3, 1))
        return Problem(source, target, PATCH, "variational", "reconstruction", null_rate=0.0)

    def decode(self, target: Tensor) -> Sequence[np.ndarray]:
        return list(from_log(target[:, 0].cpu().numpy(), PROTOCOL))

    def floor(self, train: Store) -> Sequence[np.ndarray]:
        return [bounds.mean_map(self.train.depth)] * len(self.test.ids)


TASK = DepthTabletop
