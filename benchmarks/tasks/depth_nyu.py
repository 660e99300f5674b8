"""Monocular depth on NYU Depth v2 (BTS list files): RGB -> metric depth, in pixel space.

`task.root` holds nyudepthv2_{train,test}_files_with_gt.txt, `sync/` (training frames) and
`official_splits/test/` (654 test frames), depth as 16-bit PNG in millimetres; get them from
github.com/cleinc/bts. The flow runs at `task.size` rows (4/3 as many columns); its depth is
enlarged to the frame's 480 x 640 and scored there by BTS's formulas, from 1 mm to 10 m, inside
Eigen's crop. Training frames are neither cropped nor augmented. Validation is cut from the
training scenes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from benchmarks.metrics import depth as metric
from benchmarks.tasks import nyu_reader as reader
from benchmarks.tasks.depth_maps import enlarge, fill_holes, from_log, reduce_depth, to_log
from benchmarks.tasks.depth_protocol import NYU_SCALE, DepthFrame, nyu_protocol
from benchmarks.tasks.encoded import Batches, open_store
from benchmarks.tasks.images import bicubic, image_size, spread
from benchmarks.tasks.task import Prepared, Report, choose, digest, require_root
from benchmarks.tasks.validation import cut
from crossflow.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.conf.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.pictures import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

DEFAULTS = {"split": "test", "size": 96}
SIZES = (24, 48, 96, 120, 240, 480)  # rows; 4/3 as many columns, both multiples of the patch
SHOWN = (0.7, 10.0)  # metres, the range of colours in pictures


class FrameDepths(Sequence[np.ndarray]):
    """Depth of frames in metres, read when asked for: 654 maps of 480 x 640 are 800 MB."""

    def __init__(self, frames: Sequence[DepthFrame]) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return reader.load_depth(self.frames[index])


class NyuTruth:
    """Ground truth of some frames at the size of their files."""

    def __init__(self, frames: Sequence[DepthFrame], split: str, nonfinite: str) -> None:
        self.frames, self.split = list(frames), split
        self.protocol = nyu_protocol(nonfinite)
        self.ids: Sequence[str] = [frame.id for frame in frames]
        self.depths = FrameDepths(self.frames)

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """(height, width) of each frame's ground truth."""
        return [_depth_size(frame) for frame in self.frames]

    def key(self) -> dict[str, Any]:
        files = (frame.depth.read_bytes() for frame in self.frames if frame.depth is not None)
        return {
            "split": self.split,
            "items": digest("\n".join(self.ids)),
            "truth": digest(*files),
            "protocols": {"depth": metric.PROTOCOL},
            "options": {"crop": "eigen", "nonfinite": self.protocol.nonfinite},
        }

    def read(self, folder: Path) -> Sequence[np.ndarray]:
        from benchmarks.predictions import DepthPredictions

        return DepthPredictions(folder, self.ids, self.shapes, NYU_SCALE)

    def write(self, folder: Path, predictions: Sequence[np.ndarray]) -> None:
        from benchmarks.predictions import write_depth

        for name, depth in zip(self.ids, predictions, strict=True):
            write_depth(folder, name, depth)

    def score(self, predictions: Sequence[np.ndarray]) -> Scored:
        return metric.depth_scores(self.ids, predictions, self.depths, self.protocol)

    def cells(self, index: int) -> tuple[Cell, Cell]:
        picture, depth = reader.load(self.frames[index])
        return picture[::4, ::4], _colours(depth)

    def cell(self, predictions: Sequence[np.ndarray], index: int) -> Cell:
        return _colours(predictions[index])


class DepthNyu:
    """See the file's docstring."""

    version = 1
    uses: tuple[str, ...] = ("task.root", "task.split_file", "task.nonfinite")

    def primary(self, items: int) -> str:
        return "absrel"

    def problem(self, size: int) -> Problem:
        """3 x size x 4/3 size RGB to log depth of the same size."""
        from crossflow.problem import MapShape, Problem

        height, width = size, size * 4 // 3
        return Problem(
            source=MapShape(3, height, width),
            target=MapShape(1, height, width),
            patch=4 if size < 96 else 8,
            encoder="variational",
            charge="reconstruction",
            null_rate=0.0,
        )

    def truth(self, config: Config, report: Report) -> NyuTruth:
        choose("task.split", config.task.split, ("test",))
        listed = None if config.task.split_file is None else Path(config.task.split_file)
        frames = reader.frames(_root(config), "test", listed)
        return NyuTruth(spread(frames, config.task.limit), "test", config.task.nonfinite)

    def prepare(self, config: Config, report: Report) -> Prepared:
        started = time.perf_counter()
        size = choose("task.size", config.task.size, SIZES)
        truth, problem = self.truth(config, report), self.problem(size)
        frames = reader.frames(_root(config), "train")
        train_frames, held_out = cut(
            frames, lambda f: f.group, config.task.train_limit, config.task.validation_limit
        )
        shapes = set(truth.shapes)
        if len(shapes) > 1:
            raise InputError(f"test frames differ in size ({sorted(shapes)}): they must be alike")
        full = shapes.pop()

        def store(part: str, some: Sequence[DepthFrame], statistics: Any = None) -> Store:
            facts = {"task": "depth_nyu", "version": self.version, "size": size, "part": part}
            facts |= {"data": _data_digest(some), "train": _data_digest(train_frames)}
            folder = Path(config.work) / "stores" / f"depth_nyu-{part}"
            batches = _batches(some, size)
            return open_store(folder, problem, facts, len(some), batches, statistics, report)

        train = store("train", train_frames)
        return Prepared(
            problem=problem,
            train=train,
            validation=store("validation", held_out, train.statistics),
            test=store("test", truth.frames, train.statistics),
            truth=truth,
            validation_truth=NyuTruth(held_out, "validation", config.task.nonfinite),
            decode=lambda target: _decode(target, full),
            floor=lambda: [_mean_map(train, full)] * len(truth.ids),
            frozen={},
            seconds={"stores": time.perf_counter() - started},
        )


def _root(config: Config) -> Path:
    files = " and ".join(f"{name} with {folder}/" for name, folder in reader.SPLITS.values())
    return require_root(config, files, reader.PUBLISHED)


def _depth_size(frame: DepthFrame) -> tuple[int, int]:
    if frame.depth is None:
        raise InputError(f"{frame.id}: the list gives no depth map for this frame")
    width, height = image_size(frame.depth)
    return height, width


def _data_digest(frames: Sequence[DepthFrame]) -> str:
    """Names, sizes and times of the files: reading 24,231 frames to see a change takes too long."""
    stats = ((f.id, f.image.stat(), f.depth.stat()) for f in frames if f.depth is not None)
    return digest(
        "\n".join(
            f"{i} {a.st_size} {a.st_mtime_ns} {b.st_size} {b.st_mtime_ns}" for i, a, b in stats
        )
    )


def _batches(frames: Sequence[DepthFrame], size: int) -> Batches:
    """Rows of a store: RGB (uint8) and log depth at the flow's size, holes filled."""
    shape = (size, size * 4 // 3)
    numbers = {name: i for i, name in enumerate(sorted({frame.id for frame in frames}))}

    def batches(start: int, stop: int) -> Iterator[dict[str, Any]]:
        for frame in frames[start:stop]:
            picture, depth = reader.load(frame)
            small = fill_holes(reduce_depth(depth, shape))
            if not (small > 0).all():
                raise InputError(f"{frame.depth}: the depth map has no measurement at all")
            yield {
                "target": to_log(small, nyu_protocol())[None, None],
                "source": bicubic(picture, shape).transpose(2, 0, 1)[None],
                "groups": [numbers[frame.id]],
                "ids": [frame.id],
            }

    return batches


def _decode(target: Tensor, full: tuple[int, int]) -> list[np.ndarray]:
    """Depth in metres at the ground truth's size, bilinearly enlarged."""
    return [enlarge(depth, full) for depth in from_log(target[:, 0].cpu().numpy(), nyu_protocol())]


def _mean_map(train: Store, full: tuple[int, int]) -> np.ndarray:
    """The mean depth map of the training frames."""
    total = np.zeros(train.target_shape.sizes[1:])
    for row in range(len(train)):
        total += from_log(train.read("target", [row], [0])[0, 0], nyu_protocol())
    return enlarge((total / len(train)).astype(np.float32), full)


def _colours(depth: np.ndarray) -> np.ndarray:
    from benchmarks.pictures import depth_colours

    return depth_colours(depth[::4, ::4], *SHOWN)


TASK = DepthNyu()
