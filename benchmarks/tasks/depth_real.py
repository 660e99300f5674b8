"""What the tasks on real depth share: items, and the way from a flow to metres.

The flow sees a window of the picture, reduced to `task.size` rows, and makes log depth of that
size. Its depth is enlarged to the window and the edges repeated outside it, where the truth asks
for the full size: in scoring, in files and in pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmarks.data.depth_frames import (
    Frame,
    enlarge,
    fill_holes,
    from_log,
    load,
    load_depth,
    reduce_depth,
    to_log,
)
from benchmarks.data.images import OnDemand, bicubic, spread
from benchmarks.data.splits import choose, cut, digest, refuse_shared
from benchmarks.metrics import depth as metric
from benchmarks.metrics.depth_crops import Crop
from benchmarks.metrics.score import per_item
from benchmarks.tasks import bounds
from benchmarks.tasks.task import DepthItems, Task
from crossflow.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

SHOWN_STEP = 4  # of pixels in pictures


class Frames(DepthItems):
    """Frames at the size of their files. Predictions are of that size, or of the flow's."""

    batch = 64

    def __init__(
        self, task: RealDepth, name: str, frames: Sequence[Frame], unscored: Sequence[str] = ()
    ) -> None:
        self.task, self.name, self.frames, self.unscored = task, name, list(frames), unscored
        self.ids, self.codes = [frame.id for frame in frames], task.scale
        self.protocol = task.protocol(task.config.task.nonfinite, task.crop)
        self.depths = OnDemand(lambda index: load_depth(self.frames[index]), len(self.frames))
        # Numbers of the rows' pictures, for methods that may not exchange rows of one picture.
        self.numbers = {name: number for number, name in enumerate(sorted(self.ids))}

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
        return {
            "target": np.stack(target)[:, None],
            "source": np.stack(source),
            "groups": [self.numbers[name] for name in self.ids[part]],
            "ids": self.ids[part],
        }

    def _row(self, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        picture, depth = load(frame)
        top, bottom, left, right = self.task.window(*depth.shape)
        small = fill_holes(reduce_depth(depth[top:bottom, left:right], self.task.shape))
        if not (small > 0).all():
            raise InputError(f"{frame.id}: the depth map has no measurement at all")
        inside = np.ascontiguousarray(picture[top:bottom, left:right])
        return to_log(small, self.task.range), bicubic(inside, self.task.shape).transpose(2, 0, 1)

    def key(self) -> dict[str, Any]:
        """The same items and depth codes have the same key, whatever files they were read from."""
        frames = sorted(self.frames, key=lambda frame: frame.id)
        codes = per_item(lambda index: digest(frames[index].codes()), len(frames))
        return {
            "split": self.name,
            "items": digest("\n".join(frame.id for frame in frames)),
            "truth": digest("\n".join(codes)),
            "protocols": {"depth": metric.PROTOCOL_BTS},
            "options": {
                "crop": self.task.crop,
                "nonfinite": self.protocol.nonfinite,
                "flip_test": self.task.config.task.flip_test,
            },
        }

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        whole = self.whole(predictions)
        scored = metric.depth_scores(self.ids, whole, self.depths, self.protocol)
        scored.counts["frames_without_ground_truth"] = len(self.unscored)
        return scored

    def whole(self, predictions: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The predictions at the size of the frames; the flow's are enlarged, others let be."""
        shapes = self.shapes  # before threads ask for it

        def make(index: int) -> np.ndarray:
            depth = predictions[index]
            if depth.shape != self.task.shape or depth.shape == shapes[index]:
                return depth
            height, width = shapes[index]
            top, bottom, left, right = self.task.window(height, width)
            inside = enlarge(depth, (bottom - top, right - left))
            # Outside the flow's window the nearest edge is repeated.
            return np.pad(inside, ((top, height - bottom), (left, width - right)), mode="edge")

        return OnDemand(make, len(predictions))

    def cells(self, index: int) -> tuple[Cell, Cell]:
        picture, depth = load(self.frames[index])
        return self._shown(picture), self._shown(depth)

    def cell(self, predictions: Sequence[np.ndarray], index: int) -> Cell:
        return self._shown(self.whole(predictions)[index])

    def pair(self, index: int) -> tuple[Cell, Cell]:
        return load(self.frames[index])

    def _shown(self, whole: np.ndarray) -> np.ndarray:
        """The window, thinned out: frames differ in size, their windows do not."""
        top, bottom, left, right = self.task.window(whole.shape[0], whole.shape[1])
        return whole[top:bottom:SHOWN_STEP, left:right:SHOWN_STEP]


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

    uses: tuple[str, ...] = (
        *("task.root", "task.split_file", "task.nonfinite", "task.crop", "task.flip_test"),
    )

    def primary(self, items: int) -> str:
        return "absrel"

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
        if part == "test":
            choose("task.split", self.config.task.split, ("test",))
            frames, unscored = self.frames("test")
            return Frames(self, part, spread(frames, self.config.task.limit), unscored)
        return Frames(self, part, self._trained_and_held[part == "validation"])

    @cached_property
    def _trained_and_held(self) -> tuple[list[Frame], list[Frame]]:
        task, scored = self.config.task, set(self.test.ids)
        frames, _ = self.frames("train")
        refuse_shared([frame.id for frame in frames if frame.id in scored], "frames")
        return cut(frames, lambda f: f.group, task.train_limit, task.validation_limit)

    @cached_property
    def problem(self) -> Problem:
        from crossflow.problem import MapShape, Problem

        source, target = (MapShape(channels, *self.shape) for channels in (3, 1))
        patch = self.sizes[self.size]
        return Problem(source, target, patch, "variational", "reconstruction", null_rate=0.0)

    def decode(self, target: Tensor) -> list[np.ndarray]:
        return list(from_log(target[:, 0].cpu().numpy(), self.range))

    def floor(self, train: Store) -> list[np.ndarray]:
        """The mean depth map of the training frames, at the flow's size."""
        rows = (train.read("target", [row], [0])[0, 0] for row in range(len(train)))
        mean = bounds.mean_map(from_log(row, self.range) for row in rows)
        return [mean] * len(self.test.ids)
