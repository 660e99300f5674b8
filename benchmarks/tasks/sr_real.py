"""What super-resolution on photographs shares: the space of the flow, its rows, the scores.

A pair is an enlarged low-resolution picture (source) and the true one (target), both 8-bit RGB of
one size. The flow runs in pixel space, or, with `weights.autoencoder`, between their latents.
Pixels are what is scored, always: latents are decoded first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.codecs.image import ImageSpace, image_space
from benchmarks.config import device
from benchmarks.data.images import OnDemand
from benchmarks.metrics import images as metric
from benchmarks.metrics import lpips
from benchmarks.metrics.score import per_item
from benchmarks.tasks.task import PictureItems, Task
from crossflow.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem
    from crossflow.store import Store

PROTOCOLS = {"images": metric.PROTOCOL, "lpips": lpips.PROTOCOL}


class Photographs(PictureItems):
    """Photographs, and what is left of them at 1 / `task.scale`."""

    batch = 16  # pictures read before the autoencoder takes them

    def __init__(self, task: SuperResolution[Any], name: str, ids: Sequence[str]) -> None:
        self.task, self.name, self.ids = task, name, ids
        self.enlarged = OnDemand(lambda index: self.load(index)[0], len(ids))
        self.pictures = OnDemand(lambda index: self.load(index)[1], len(ids))

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The enlarged small picture of an item and the true one."""
        raise NotImplementedError

    def row(self, number: int) -> tuple[str, int, tuple[np.ndarray, np.ndarray]]:
        """Of a row of the store: id, number of its photograph, source and target."""
        raise NotImplementedError

    def rows(self, part: slice) -> dict[str, Any]:
        """8-bit pixels, or latents in float16."""
        wanted = range(self.row_count)[part]
        rows = per_item(lambda index: self.row(wanted[index]), len(wanted))
        ids, groups, pairs = zip(*rows, strict=True)
        source, target = (self.task.space.batch(side) for side in zip(*pairs, strict=True))
        return {"target": target, "source": source, "groups": list(groups), "ids": list(ids)}

    @property
    def border(self) -> int:
        """Pixels cut from each side before PSNR and SSIM."""
        return self.task.config.task.border or 0

    def pair_scores(self, predictions: Sequence[np.ndarray]) -> Scored:
        """PSNR and SSIM without the border; LPIPS of whole pictures."""
        from benchmarks.metrics.score import merge

        config = self.task.config
        weights, where = config.weights.lpips, device.resolve(config.device)
        given = self.ids, predictions, self.pictures
        errors = metric.image_scores(*given, self.border)
        return merge([errors, lpips.lpips_scores(*given, weights=weights, device=where)])

    def cells(self, index: int) -> tuple[Cell, Cell]:
        return self.enlarged[index], self.pictures[index]


Photos = TypeVar("Photos", bound=Photographs)


class SuperResolution(Task[Photos]):
    """From the enlarged picture to the true one, the source taken as it is."""

    uses: tuple[str, ...] = (
        *("task.root", "task.layout", "task.scale", "task.border"),
        *("weights.autoencoder", "weights.lpips"),
    )

    @cached_property
    def scale(self) -> int:
        scale = self.config.task.scale
        if scale is None or scale < 2:
            raise InputError(f"task.scale={scale}: must be at least 2")
        return scale

    @cached_property
    def space(self) -> ImageSpace:
        return image_space(self.config, device.resolve(self.config.device))

    @cached_property
    def problem(self) -> Problem:
        from crossflow.problem import MapShape, Problem

        shape = MapShape(self.space.channels, self.space.side, self.space.side)
        return Problem(shape, shape, self.space.patch, "identity", charge=None, null_rate=0.0)

    @cached_property
    def frozen(self) -> dict[str, Any]:
        return self.space.frozen

    def decode(self, target: Tensor) -> Sequence[Any]:
        return self.space.decode(target)

    def floor(self, train: Store) -> Sequence[np.ndarray]:
        return self.test.enlarged
