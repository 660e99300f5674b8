"""The rendered scenes that all four tabletop tasks share: each split is rendered once.

A split of `count` scenes becomes folders of memory-mapped arrays under `work`: pictures at 64
pixels, depth with the owner of each pixel, latents. A folder appears under its final name only
when it is whole, so a killed rendering leaves nothing that opens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.config import device
from benchmarks.data.splits import Report, choose, digest
from benchmarks.tabletop import scenes
from crossflow.files import published

if TYPE_CHECKING:
    from jaxtyping import Float, Int8, UInt8

    from benchmarks.config.schema import Config
    from benchmarks.tabletop.captions import Caption

RENDER_BATCH = 100
TEST_SPLITS = ("iid", "pairs", "crowd")
# Scenes of the finite subset that a CPU trains on; task.train_limit, task.validation_limit and
# task.limit take fewer.
TRAIN, VALIDATION, TEST = 20_000, 500, 1_000
REFERENCE = 64  # pixels at which scenes are rendered; 32 is the 2 x 2 mean

Arrays = Mapping[str, tuple[tuple[int, ...], type]]  # name -> shape of one row, type


@dataclass(frozen=True)
class RenderedSplit:
    """`count` scenes of one split, rendered on first use and kept under `folder`."""

    name: str
    count: int
    folder: Path
    device: str
    report: Report

    @cached_property
    def indices(self) -> np.ndarray:
        """Global scene indices, int64 (count,): they name items, predictions and draws."""
        return scenes.indices(self.name, self.count)

    @cached_property
    def ids(self) -> list[str]:
        return [str(index) for index in self.indices]

    @cached_property
    def scenes(self) -> list[scenes.Scene]:
        return [scenes.scene(int(i)) for i in self.indices]

    @cached_property
    def captions(self) -> list[tuple[Caption, ...]]:
        """Five captions a scene."""
        from benchmarks.tabletop.captions import captions

        return [captions(scene) for scene in self.scenes]

    @cached_property
    def images(self) -> UInt8[np.ndarray, "n 3 64 64"]:
        """Pictures at 64 pixels, read only."""
        from benchmarks.tabletop.render import render

        def make(start: int, stop: int) -> dict[str, np.ndarray]:
            part = render(self.scenes[start:stop], REFERENCE, self.device)
            return {"images": part.cpu().numpy()}

        shape = {"images": ((3, REFERENCE, REFERENCE), np.uint8)}
        return self._arrays("images", shape, make)["images"]

    def pictures(self, size: int) -> UInt8[np.ndarray, "n 3 size size"]:
        """Pictures at 64 pixels, or smaller by the mean of square blocks, rounded as in `render`.

        The frozen codecs and the evaluator were trained on pictures rounded so (half to even).
        """
        if size == REFERENCE:
            return self.images
        block = REFERENCE // size
        parts = [
            np.rint(
                part.reshape(len(part), 3, size, block, size, block).mean((3, 5), dtype=np.float32)
            ).astype(np.uint8)
            for part in self.parts(self.images)
        ]
        return np.concatenate(parts)

    def depth(
        self, size: int
    ) -> tuple[Float[np.ndarray, "n size size"], Int8[np.ndarray, "n size size"]]:
        """Clean depth in metres and the owner of each pixel (0: no solid, k + 1: solid k)."""
        from benchmarks.tabletop.render import depth_map

        def make(start: int, stop: int) -> dict[str, np.ndarray]:
            depth, owner = depth_map(self.scenes[start:stop], size, self.device)
            return {"depth": depth.cpu().numpy(), "owner": owner.cpu().numpy()}

        shapes: Arrays = {"depth": ((size, size), np.float32), "owner": ((size, size), np.int8)}
        arrays = self._arrays(f"depth{size}", shapes, make)
        return arrays["depth"], arrays["owner"]

    def latents(
        self, name: str, images: UInt8[np.ndarray, "n 3 s s"]
    ) -> Float[np.ndarray, "n 16 s/8 s/8"]:
        """Latents of `images` under the frozen autoencoder, kept under `name` and its digest."""
        from benchmarks.tabletop import cards

        side = images.shape[-1] // 8
        version = cards.read_card("autoencoder")["sha256"][:12]

        def make(start: int, stop: int) -> dict[str, np.ndarray]:
            return {"latents": encode(np.array(images[start:stop]), self.device)}

        shape = {"latents": ((16, side, side), np.float32)}
        return self._arrays(f"latents-{name}-{version}", shape, make)["latents"]

    def parts(self, array: np.ndarray) -> Iterator[np.ndarray]:
        """Copies of 1,000 rows at a time: a whole split at once would fill the memory."""
        for start in range(0, len(array), 1000):
            yield np.array(array[start : start + 1000])

    def _arrays(
        self, what: str, shapes: Arrays, make: Callable[[int, int], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Opens the arrays of `what`, made first if they are not there."""
        folder = self.folder / f"v{scenes.VERSION}" / f"{self.name}-{self.count}" / what
        if not folder.is_dir():
            with published(folder) as partial:
                self._fill(partial, what, shapes, make)
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in shapes}

    def _fill(
        self,
        folder: Path,
        what: str,
        shapes: Arrays,
        make: Callable[[int, int], dict[str, np.ndarray]],
    ) -> None:
        arrays = {
            name: np.lib.format.open_memmap(
                folder / f"{name}.npy", "w+", dtype=dtype, shape=(self.count, *shape)
            )
            for name, (shape, dtype) in shapes.items()
        }
        for start in range(0, self.count, RENDER_BATCH):
            stop = min(start + RENDER_BATCH, self.count)
            for name, rows in make(start, stop).items():
                arrays[name][start:stop] = rows
            self.report(f"{self.name} scenes: {what.split('-')[0]}", stop, self.count)
        for array in arrays.values():
            array.flush()


@dataclass(frozen=True)
class World:
    """The three splits of one job."""

    train: RenderedSplit
    validation: RenderedSplit
    test: RenderedSplit


def world(config: Config, report: Report) -> World:
    """The splits a configuration asks for; nothing is rendered yet."""
    task = config.task
    name = choose("task.split", task.split, TEST_SPLITS)
    folder = Path(config.work) / "tabletop"
    where = device.resolve(config.device)

    def split(which: str, whole: int, limit: int | None) -> RenderedSplit:
        return RenderedSplit(which, min(whole, limit or whole), folder, where, report)

    return World(
        split("train", TRAIN, task.train_limit),
        split("validation", VALIDATION, task.validation_limit),
        split(name, TEST, task.limit),
    )


def encode(images: UInt8[np.ndarray, "n 3 s s"], where: str) -> Float[np.ndarray, "n 16 h w"]:
    """Latents of uint8 pictures under the frozen autoencoder."""
    import torch

    from benchmarks.tabletop import autoencoder

    codec = autoencoder.load(where)
    with torch.no_grad():
        return codec.encode(autoencoder.to_unit(torch.from_numpy(images).to(where))).cpu().numpy()


def decode(latents: object, where: str) -> UInt8[np.ndarray, "n s s 3"]:
    """Pictures (height, width, channel) for latents, rounded to 8 bits."""
    import torch

    from benchmarks.tabletop import autoencoder

    assert isinstance(latents, torch.Tensor)
    codec = autoencoder.load(where)
    with torch.no_grad():
        images = autoencoder.to_bytes(codec.decode(latents.to(where)))
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).cpu().numpy())


def frozen_autoencoder() -> dict[str, object]:
    """What a record says of the autoencoder: digest and size; its cost is charged to no arm."""
    from benchmarks.tabletop import cards

    card = cards.read_card("autoencoder")
    return {"sha256": card["sha256"], "bytes": card["bytes"]}


def truth_key(
    split: RenderedSplit, protocols: dict[str, int], texts: str = "", **options: object
) -> dict[str, object]:
    """What `keys.score_fields` takes; options are what else changes a score.

    The truth is named by what it is made from (scene indices, the world's version and the captions
    that are scored), never by rendered numbers: another processor rounds their last bits otherwise,
    and equal items would not be compared. The size of pictures and maps belongs to the options.
    """
    return {
        "split": split.name,
        "items": digest(split.indices),
        "truth": digest(split.indices, f"world {scenes.VERSION}", texts),
        "protocols": protocols,
        "options": {"world": scenes.VERSION, **options},
    }


def store_facts(task: str, version: int, splits: World, split: RenderedSplit) -> dict[str, object]:
    """The part of a store's fingerprint that all tabletop tasks share.

    The number of training scenes belongs to every split's: statistics come from the training set.
    """
    return {
        "task": task,
        "version": version,
        "world": scenes.VERSION,
        "split": split.name,
        "count": split.count,
        "train": splits.train.count,
    }
