"""What the tasks on real depth share: items, and the way from a flow to metres.

The flow sees a window of the picture, reduced to `task.size` rows, and makes log depth of that
size. Its depth is enlarged to the window and the edges repeated outside it, where the truth asks
for the full size: in scoring, in files and in pictures. Scores are BTS's formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from benchmarks.data import depth_frames as reader
from benchmarks.data.depth_frames import Frame
from benchmarks.data.images import OnDemand, bicubic, spread
from benchmarks.data.predictions import depth_formats
from benchmarks.data.splits import choose, cut, digest, refuse_shared
from benchmarks.metrics import depth as metric
from benchmarks.metrics.depth_crops import Crop
from benchmarks.metrics.score import Scored, per_item
from benchmarks.records.samples import Cell
from benchmarks.tasks import bounds
from benchmarks.tasks.task import DepthItems, Task
from crossflow.errors import InputError
from crossflow.problem import MapShape, Problem

SHOWN_STEP = 4  # of pixels in pictures


class Frames(DepthItems):
    """Frames at the size of their files. Predictions are of that size, or of the flow's."""

    batch = 64

    def __init__(
        self, task: RealDepth, name: str, frames: Sequence[Frame], unscored: Sequence[str] = ()
    ) -> None:
        self.task, self.name, self.frames, self.unscored = task, name, frames, unscored
        self.ids, self.formats = [frame.id for frame in frames], depth_formats(task.scale)
        self.groups = np.argsort(np.argsort(self.ids))  # whatever the order of the list
        self.protocol = task.protocol(task.config.task.nonfinite, task.crop)
        self.depths = OnDemand(lambda index: reader.load_depth(frames[index]), len(frames))

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:  # type: ignore[override]  # read when asked for
        """(height, width) of each frame; InputError where a picture has another size."""
        return [frame.size() for frame in self.frames]

    @property
    def stamps(self) -> str:
        """Names, sizes and times of the files: reading 24,231 frames takes too long."""
        return digest("\n".join(f"{frame.id} {frame.stamp()}" for frame in self.frames))

    def facts(self) -> dict[str, Any]:
        facts = {"size": self.task.size, "part": self.name}
        return facts | {"data": self.stamps, "train": self.task.train.stamps}

    def rows(self, part: slice) -> dict[str, Any]:
        """RGB (uint8) and log depth at the flow's size, holes filled."""
        frames = self.frames[part]
        rows = per_item(lambda index: self._row(frames[index]), len(frames))
        target, source = zip(*rows, strict=True)
        return {"target": np.stack(target)[:, None], "source": np.stack(source)}

    def _row(self, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        picture, depth = map(self._inside, reader.load(frame))
        small = reader.fill_holes(reader.reduce_depth(depth, self.task.shape))
        if not (small > 0).all():
            raise InputError(f"{frame.id}: the depth map has no measurement at all")
        source = bicubic(np.ascontiguousarray(picture), self.task.shape).transpose(2, 0, 1)
        return reader.to_log(small, self.task.range), source

    def _inside(self, whole: np.ndarray, step: int = 1) -> np.ndarray:
        """The window of a picture or a map, thinned out by `step`."""
        top, bottom, left, right = self.task.window(*whole.shape[:2])
        return whole[top:bottom:step, left:right:step]

    def key(self) -> dict[str, Any]:
        """The same items and depth codes have the same key, whatever files they were read from."""
        frames, task = sorted(self.frames, key=lambda frame: frame.id), self.task.config.task
        truth = digest("\n".join(per_item(lambda i: digest(frames[i].codes()), len(frames))))
        options = {"nonfinite": self.protocol.nonfinite, "flip_test": task.flip_test}
        protocols = {"depth": metric.PROTOCOL_BTS}
        key = self.named(truth, protocols, crop=self.task.crop, **options)
        return key | {"items": digest("\n".join(frame.id for frame in frames))}

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        whole = self.whole(predictions)
        scored = metric.depth_scores(self.ids, whole, self.depths, self.protocol)
        scored.counts["frames_without_ground_truth"] = len(self.unscored)
        return scored

    def whole(self, predictions: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The predictions at the size of the frames; the flow's are enlarged, others let be."""
        shapes = self.shapes  # before threads ask for it

        def make(index: int) -> np.ndarray:
            depth, (height, width) = predictions[index], shapes[index]
            if depth.shape != self.task.shape or depth.shape == shapes[index]:
                return depth
            top, bottom, left, right = self.task.window(height, width)
            inside = reader.enlarge(depth, (bottom - top, right - left))
            return np.pad(inside, ((top, height - bottom), (left, width - right)), mode="edge")

        return OnDemand(make, len(predictions))

    def cells(self, index: int) -> tuple[Cell, Cell]:
        """Of the windows alone: frames differ in size."""
        picture, depth = self.pair(index)
        return self._inside(picture, SHOWN_STEP), self._inside(depth, SHOWN_STEP)

    def cell(self, predictions: Sequence[np.ndarray], index: int) -> Cell:
        return self._inside(self.whole(predictions)[index], SHOWN_STEP)

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return reader.load(self.frames[index])


class RealDepth(Task[Frames]):
    """RGB to log depth of the same size. A data set says what stands first here."""

    protocol: Callable[..., metric.DepthProtocol]  # of task.nonfinite and task.crop
    crops: ClassVar[Sequence[str]]  # what task.crop takes
    scale: ClassVar[float]  # depth codes a metre
    window: Callable[[int, int], tuple[int, int, int, int]] | Crop  # what the flow sees
    sizes: ClassVar[dict[int, int]]  # rows of the flow, with the side of a patch
    columns: ClassVar[tuple[int, int]]  # of the flow, per row, as a fraction

    def frames(self, part: str) -> tuple[Sequence[Frame], Sequence[str]]:
        """Frames of the list of "train" or "test", and the ids of those without truth."""
        raise NotImplementedError

    ranked_by, stored = "absrel", ("float32", "uint8")
    uses: tuple[str, ...] = (
        *("task.root", "task.split_file", "task.nonfinite", "task.crop", "task.flip_test"),
    )

    @cached_property
    def size(self) -> int:
        return int(choose("task.size", self.config.task.size, list(self.sizes)))

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the flow."""
        return self.size, self.size * self.columns[0] // self.columns[1]

    @cached_property
    def crop(self) -> str:
        return str(choose("task.crop", self.config.task.crop, self.crops))

    @cached_property
    def range(self) -> metric.DepthProtocol:
        """Lowest and highest depth of the data set, whatever is scored."""
        return self.protocol("refuse", self.crops[0])

    def items(self, part: str) -> Frames:
        if part != "test":
            return Frames(self, part, self._trained_and_held[part == "validation"])
        choose("task.split", self.config.task.split, ("test",))
        frames, unscored = self.frames("test")
        return Frames(self, part, spread(frames, self.config.task.limit), unscored)

    @cached_property
    def _trained_and_held(self) -> tuple[list[Frame], list[Frame]]:
        task, scored = self.config.task, set(self.test.ids)
        frames, _ = self.frames("train")
        refuse_shared([frame.id for frame in frames if frame.id in scored], "frames")
        return cut(frames, lambda f: f.group, task.train_limit, task.validation_limit)

    @cached_property
    def problem(self) -> Problem:
        source, target = (MapShape(channels, *self.shape) for channels in (3, 1))
        patch = self.sizes[self.size]
        return Problem(source, target, patch, "variational", "reconstruction", null_rate=0.0)

    def decode(self, target: Tensor) -> list[np.ndarray]:
        return list(reader.from_log(target[:, 0].cpu().numpy(), self.range))

    def floor(self) -> list[np.ndarray]:
        """The mean depth map of the training frames, at the flow's size."""
        store = self.train.store
        rows = (store.read("target", [row], [0])[0, 0] for row in range(len(store)))
        mean = bounds.mean_map(reader.from_log(row, self.range) for row in rows)
        return [mean] * len(self.test.ids)
