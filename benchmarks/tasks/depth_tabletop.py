"""Monocular depth in the embedded world: RGB picture -> metric depth, in pixel space.

The source is the RGB picture, encoded with a reconstruction loss (paper section 5.3); the target is
log depth. Training sees a sensor's depth (quantised, noisy, with holes, filled from the nearest
measurement), scoring the clean one. Primary score: AbsRel on pixels of solids, which an empty room
or a mean map cannot get right.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.data.depth_frames import fill_holes, from_log, to_log
from benchmarks.metrics import depth as metric
from benchmarks.metrics.score import Scored
from benchmarks.records.samples import Cell
from benchmarks.tabletop import render
from benchmarks.tasks import bounds
from benchmarks.tasks.tabletop import Scenes, TabletopTask
from benchmarks.tasks.task import DepthItems
from crossflow.problem import MapShape, Problem

DEFAULTS = {"split": "iid", "size": 32}
PATCH = 4
PROTOCOL = metric.DepthProtocol(low=0.2, high=20.0)


class DepthScenes(Scenes, DepthItems):
    """Pictures and clean depth."""

    @cached_property
    def maps(self) -> list[np.ndarray]:
        """Depth in metres, and the owner of each pixel (0: no solid, k + 1: solid k)."""
        names, size, where = ("depth", "owner"), self.size, self.task.device
        return self.kept(f"depth{size}", names, lambda part: render.depth_map(part, size, where))

    def rows(self, part: slice) -> dict[str, Any]:
        """RGB in [0, 1] and log depth, of the sensor for training."""
        depth = np.array(self.maps[0][part])
        if self.name == "train":
            pairs = zip(torch.from_numpy(depth), self.indices[part], strict=True)
            seen = (render.sensor_depth(each, int(index)).numpy() for each, index in pairs)
            depth = np.stack([fill_holes(each) for each in seen])
        source = np.array(self.pictures[part]).astype(np.float32) / 255
        return {"target": to_log(depth, PROTOCOL)[:, None], "source": source}

    def key(self) -> dict[str, Any]:
        nonfinite = self.task.config.task.nonfinite
        key: dict[str, Any] = self.world_key(
            {"depth": metric.PROTOCOL}, size=self.size, nonfinite=nonfinite
        )
        return key

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        nonfinite = self.task.config.task.nonfinite
        protocol = metric.DepthProtocol(PROTOCOL.low, PROTOCOL.high, nonfinite=nonfinite)
        depth, solids = np.array(self.maps[0]), self.maps[1] > 0
        return metric.depth_scores(self.ids, predictions, depth, protocol, solids)

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.pictures[index].transpose(1, 2, 0), np.array(self.maps[0][index])


class DepthTabletop(TabletopTask[DepthScenes]):
    """See the file's docstring."""

    version, ranked_by = 2, "absrel_object"
    uses, kind = ("task.nonfinite",), DepthScenes

    @cached_property
    def problem(self) -> Problem:
        source, target = (MapShape(channels, self.size, self.size) for channels in (3, 1))
        return Problem(source, target, PATCH, "variational", "reconstruction", null_rate=0.0)

    def decode(self, target: Tensor) -> Sequence[np.ndarray]:
        return list(from_log(target[:, 0].cpu().numpy(), PROTOCOL))

    def floor(self) -> Sequence[np.ndarray]:
        return [bounds.mean_map(self.train.maps[0])] * self.test.count


TASK = DepthTabletop
