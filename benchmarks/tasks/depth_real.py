"""What the tasks on real depth share: truth, training pairs, and the way from a flow to metres.

The flow sees a window of the picture, reduced to `task.size` rows, and makes log depth of that
size. Its depth is enlarged to the window and the edges repeated outside it, where the truth asks
for the full size: in scoring, in files and in pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.depth_frames import Frame, load, load_depth
from benchmarks.data.depth_maps import enlarge, fill_holes, from_log, reduce_depth, to_log
from benchmarks.data.images import OnDemand, bicubic
from benchmarks.data.pool import ordered_map
from benchmarks.data.splits import Report, choose, cut, digest, refuse_shared
from benchmarks.metrics import depth as metric
from benchmarks.metrics.depth_crops import Crop
from benchmarks.tasks import bounds
from benchmarks.tasks.encoded import Batches, open_store
from benchmarks.tasks.task import Prepared
from crossflow.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.config.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

USES = ("task.root", "task.split_file", "task.nonfinite", "task.crop", "task.flip_test")
SHOWN_STEP = 4  # of pixels in pictures


@dataclass(frozen=True)
class DepthData:
    """What differs between data sets.

    protocol: from `task.nonfinite` and `task.crop` to what is compared. crops: names that
    `task.crop` takes. scale: depth codes a metre. window: what the flow sees of a picture. sizes:
    rows of the flow, with the side of a patch; columns: per row, as a fraction.
    """

    name: str
    version: int
    protocol: Callable[[str, str], metric.DepthProtocol]
    crops: Sequence[str]
    scale: float
    window: Crop
    sizes: dict[int, int]
    columns: tuple[int, int]

    def shape(self, size: int) -> tuple[int, int]:
        """(height, width) of the flow."""
        return size, size * self.columns[0] // self.columns[1]

    def problem(self, size: int) -> Problem:
        """RGB to log depth of the same size."""
        from crossflow.problem import MapShape, Problem

        shape = self.shape(size)
        return Problem(
            source=MapShape(3, *shape),
            target=MapShape(1, *shape),
            patch=self.sizes[size],
            encoder="variational",
            charge="reconstruction",
            null_rate=0.0,
        )


class RealTruth:
    """Ground truth of some frames at the size of their files.

    unscored: frames of the list without ground truth; predictions for them are let be. Predictions
    are maps of the full size, or of the flow's (`DepthData.shape`): what `Prepared.decode` gives.
    """

    def __init__(
        self,
        data: DepthData,
        frames: Sequence[Frame],
        split: str,
        config: Config,
        unscored: Sequence[str] = (),
    ) -> None:
        task = config.task
        self.data, self.frames, self.split, self.unscored = data, list(frames), split, unscored
        self.ids: Sequence[str] = [frame.id for frame in frames]
        self.crop = str(choose("task.crop", task.crop, data.crops))
        self.flip_test = task.flip_test
        self.protocol = data.protocol(task.nonfinite, self.crop)
        self.flow_shape = data.shape(choose("task.size", task.size, list(data.sizes)))
        self.depths = OnDemand(lambda index: load_depth(self.frames[index]), len(self.frames))

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """(height, width) of each frame; InputError where a picture has another size."""
        return [frame.size() for frame in self.frames]

    def key(self) -> dict[str, Any]:
        """The same items and depth codes have the same key, whatever files they were read from."""
        frames = sorted(self.frames, key=lambda frame: frame.id)
        codes = ordered_map(lambda frame: digest(frame.codes()), frames)
        return {
            "split": self.split,
            "items": digest("\n".join(frame.id for frame in frames)),
            "truth": digest("\n".join(codes)),
            "protocols": {"depth": metric.PROTOCOL_BTS},
            "options": {
                "crop": self.crop,
                "nonfinite": self.protocol.nonfinite,
                "flip_test": self.flip_test,
            },
        }

    def read(self, folder: Path) -> Sequence[np.ndarray]:
        from benchmarks.data.predictions import DepthPredictions

        return DepthPredictions(folder, self.ids, self.shapes, self.data.scale, self.unscored)

    def write(self, folder: Path, predictions: Sequence[np.ndarray]) -> None:
        from benchmarks.data.predictions import write_depth

        for name, depth in zip(self.ids, self.full(predictions), strict=True):
            write_depth(folder, name, depth)

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        full = self.full(predictions)
        scored = metric.depth_scores(self.ids, full, self.depths, self.protocol)
        scored.counts["frames_without_ground_truth"] = len(self.unscored)
        return scored

    def full(self, predictions: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The predictions at the size of the frames; the flow's are enlarged, others let be."""
        shapes = self.shapes  # before threads ask for it

        def make(index: int) -> np.ndarray:
            depth = predictions[index]
            if depth.shape != self.flow_shape or depth.shape == shapes[index]:
                return depth
            return self._pasted(depth, shapes[index])

        return OnDemand(make, len(predictions))

    def _pasted(self, depth: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """A map of the flow on its window of a frame; outside it the nearest edge is repeated."""
        height, width = shape
        top, bottom, left, right = self.data.window(height, width)
        inside = enlarge(depth, (bottom - top, right - left))
        around = ((top, height - bottom), (left, width - right))
        return np.pad(inside, around, mode="edge") if any(map(any, around)) else inside

    def cells(self, index: int) -> tuple[Cell, Cell]:
        picture, depth = load(self.frames[index])
        return self._shown(picture), self._shown(depth)

    def cell(self, predictions: Sequence[np.ndarray], index: int) -> Cell:
        return self._shown(self.full(predictions)[index])

    def pair(self, index: int) -> tuple[Cell, Cell]:
        return load(self.frames[index])

    def _shown(self, whole: np.ndarray) -> np.ndarray:
        """The window, thinned out: frames differ in size, their windows do not."""
        top, bottom, left, right = self.data.window(whole.shape[0], whole.shape[1])
        return whole[top:bottom:SHOWN_STEP, left:right:SHOWN_STEP]


def prepare_depth(
    data: DepthData,
    truth: RealTruth,
    frames: Sequence[Frame],
    config: Config,
    report: Report,
) -> Prepared:
    """Stores of the training frames, of validation cut from them, and of the truth's frames.

    Raises InputError where the training list holds a frame of the truth.
    """
    started = time.perf_counter()
    scored = set(truth.ids)
    refuse_shared([frame.id for frame in frames if frame.id in scored], "frames")
    size, task = int(choose("task.size", config.task.size, list(data.sizes))), config.task
    problem, protocol = data.problem(size), data.protocol("refuse", data.crops[0])
    chosen, held_out = cut(frames, lambda f: f.group, task.train_limit, task.validation_limit)

    def store(part: str, some: Sequence[Frame], statistics: Any = None) -> Store:
        facts = {"task": data.name, "version": data.version, "size": size, "part": part}
        facts |= {"data": _stamps(some), "train": _stamps(chosen)}
        folder = Path(config.work) / "stores" / f"{data.name}-{part}"
        batches = _batches(data, some, size)
        return open_store(folder, problem, facts, len(some), batches, statistics, report)

    def decode(target: Tensor) -> list[np.ndarray]:
        return list(from_log(target[:, 0].cpu().numpy(), protocol))

    train = store("train", chosen)
    return Prepared(
        problem=problem,
        train=train,
        validation=store("validation", held_out, train.statistics),
        test=store("test", truth.frames, train.statistics),
        truth=truth,
        validation_truth=RealTruth(data, held_out, "validation", config),
        decode=decode,
        floor=lambda: [_mean_map(train, protocol)] * len(truth.ids),
        frozen={},
        seconds={"stores": time.perf_counter() - started},
        mirror=_mirror if task.flip_test else None,
    )


def _stamps(frames: Sequence[Frame]) -> str:
    """Names, sizes and times of the files: reading 24,231 frames to see a change takes too long."""
    return digest("\n".join(f"{frame.id} {frame.stamp()}" for frame in frames))


def _batches(data: DepthData, frames: Sequence[Frame], size: int) -> Batches:
    """Rows of a store: RGB (uint8) and log depth at the flow's size, holes filled."""
    shape, protocol = data.shape(size), data.protocol("refuse", data.crops[0])
    # Numbers of the rows' pictures, for methods that may not exchange rows of one picture.
    numbers = {name: i for i, name in enumerate(sorted({frame.id for frame in frames}))}

    def row(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        picture, depth = load(frame)
        top, bottom, left, right = data.window(*depth.shape)
        small = fill_holes(reduce_depth(depth[top:bottom, left:right], shape))
        if not (small > 0).all():
            raise InputError(f"{frame.id}: the depth map has no measurement at all")
        inside = np.ascontiguousarray(picture[top:bottom, left:right])
        return to_log(small, protocol), bicubic(inside, shape).transpose(2, 0, 1)

    def batches(start: int, stop: int) -> Iterator[dict[str, Any]]:
        some = frames[start:stop]
        for frame, (target, source) in zip(some, ordered_map(row, some), strict=True):
            yield {
                "target": target[None, None],
                "source": source[None],
                "groups": [numbers[frame.id]],
                "ids": [frame.id],
            }

    return batches


def _mirror(maps: Tensor) -> Tensor:
    """Left and right exchanged."""
    return maps.flip(-1)


def _mean_map(train: Store, protocol: metric.DepthProtocol) -> np.ndarray:
    """The mean depth map of the training frames, at the flow's size."""
    rows = (train.read("target", [row], [0])[0, 0] for row in range(len(train)))
    return bounds.mean_map(from_log(row, protocol) for row in rows)
