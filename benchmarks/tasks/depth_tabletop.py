"""Monocular depth in the embedded world: RGB picture -> metric depth, in pixel space.

The source is the RGB picture, encoded with a reconstruction loss (paper section 5.3); the target is
log depth. Training sees a sensor's depth (quantised, noisy, with holes, filled from the nearest
measurement), scoring the clean one. Primary score: AbsRel on pixels of solids, which an empty room
or a mean map cannot get right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.depth_maps import fill_holes, from_log, to_log
from benchmarks.data.splits import Report, choose
from benchmarks.metrics import depth as metric
from benchmarks.tasks import bounds
from benchmarks.tasks.encoded import in_batches, open_store
from benchmarks.tasks.tabletop_world import RenderedSplit, store_facts, truth_key, world
from benchmarks.tasks.task import Prepared

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.config.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem

DEFAULTS = {"split": "iid", "size": 32}
PATCH = 4
PROTOCOL = metric.DepthProtocol(low=0.2, high=20.0)


class DepthTruth:
    """Clean depth of the scenes of a split, `size` pixels a side, in metres."""

    def __init__(self, split: RenderedSplit, size: int, nonfinite: str) -> None:
        self.split, self.size = split, size
        self.protocol = metric.DepthProtocol(PROTOCOL.low, PROTOCOL.high, nonfinite=nonfinite)
        self.ids: Sequence[str] = split.ids

    @cached_property
    def _maps(self) -> tuple[np.ndarray, np.ndarray]:
        depth, owner = self.split.depth(self.size)
        return np.array(depth), np.array(owner)

    @cached_property
    def _pictures(self) -> np.ndarray:
        return self.split.pictures(self.size)

    def key(self) -> dict[str, Any]:
        protocols = {"depth": metric.PROTOCOL}
        options: dict[str, Any] = {"size": self.size, "nonfinite": self.protocol.nonfinite}
        return truth_key(self.split, protocols, **options)

    def read(self, folder: Path) -> Sequence[np.ndarray]:
        from benchmarks.data.predictions import DepthPredictions

        shapes = [(self.size, self.size)] * len(self.ids)
        return DepthPredictions(folder, self.ids, shapes, scale=None)

    def write(self, folder: Path, predictions: Sequence[np.ndarray]) -> None:
        from benchmarks.data.predictions import write_depth

        for name, depth in zip(self.ids, predictions, strict=True):
            write_depth(folder, name, depth)

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        depth, owner = self._maps
        return metric.depth_scores(self.ids, predictions, depth, self.protocol, owner > 0)

    def cells(self, index: int) -> tuple[Cell, Cell]:
        picture = self._pictures[index].transpose(1, 2, 0)
        return picture, self._maps[0][index]

    def cell(self, predictions: Sequence[np.ndarray], index: int) -> Cell:
        return predictions[index]

    def pair(self, index: int) -> tuple[Cell, Cell]:
        return self.cells(index)


class DepthTabletop:
    """See the file's docstring."""

    version = 1
    uses: tuple[str, ...] = ("task.nonfinite",)

    def primary(self, items: int) -> str:
        return "absrel_object"

    def problem(self, size: int) -> Problem:
        """3 x size x size RGB to 1 x size x size log depth."""
        from crossflow.problem import MapShape, Problem

        return Problem(
            source=MapShape(3, size, size),
            target=MapShape(1, size, size),
            patch=PATCH,
            encoder="variational",
            charge="reconstruction",
            null_rate=0.0,
        )

    def truth(self, config: Config, report: Report) -> DepthTruth:
        size = _size(config)
        return DepthTruth(world(config, report).test, size, config.task.nonfinite)

    def prepare(self, config: Config, report: Report) -> Prepared:
        started = time.perf_counter()
        size = _size(config)
        splits, problem = world(config, report), self.problem(size)

        def store(split: RenderedSplit, statistics: Any = None) -> Any:
            facts = store_facts("depth_tabletop", self.version, splits, split)
            facts |= {"size": size}
            folder = Path(config.work) / "stores" / f"depth-{split.name}"
            batches = in_batches(lambda: _rows(split, size, sensor=split.name == "train"), 512)
            return open_store(folder, problem, facts, split.count, batches, statistics, report)

        train = store(splits.train)
        truths = [
            DepthTruth(s, size, config.task.nonfinite) for s in (splits.test, splits.validation)
        ]
        return Prepared(
            problem=problem,
            train=train,
            validation=store(splits.validation, train.statistics),
            test=store(splits.test, train.statistics),
            truth=truths[0],
            validation_truth=truths[1],
            decode=_decode,
            floor=lambda: [_mean_map(splits.train, size)] * splits.test.count,
            frozen={},
            seconds={"stores": time.perf_counter() - started},
        )


def _size(config: Config) -> int:
    return int(choose("task.size", config.task.size, (32, 64)))


def _rows(split: RenderedSplit, size: int, *, sensor: bool) -> Callable[[slice], dict[str, Any]]:
    """Rows of a store: RGB in [0, 1] and log depth, of the sensor for training."""
    import torch

    from benchmarks.tabletop.render import sensor_depth

    depth, _ = split.depth(size)
    pictures = split.pictures(size)

    def batch(rows: slice) -> dict[str, Any]:
        clean, indices = np.array(depth[rows]), split.indices[rows]
        if sensor:
            pairs = zip(torch.from_numpy(clean), indices, strict=True)
            clean = np.stack([fill_holes(sensor_depth(d, int(i)).numpy()) for d, i in pairs])
        return {
            "target": to_log(clean, PROTOCOL)[:, None],
            "source": np.array(pictures[rows]).astype(np.float32) / 255,
            "groups": indices,
            "ids": split.ids[rows],
        }

    return batch


def _decode(target: Tensor) -> Sequence[np.ndarray]:
    return list(from_log(target[:, 0].cpu().numpy(), PROTOCOL))


def _mean_map(split: RenderedSplit, size: int) -> np.ndarray:
    """The mean depth map of the training scenes."""
    return bounds.mean_map(split.depth(size)[0])


TASK = DepthTabletop()
