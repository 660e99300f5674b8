"""What the tasks of the embedded world share: items are scenes, each split is rendered once.

A split of `count` scenes becomes folders of memory-mapped arrays under `work`: pictures at 64
pixels, depth with the owner of each pixel, latents. A folder appears under its final name only
when it is whole, so a killed rendering leaves nothing that opens.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.lib.format import write_array_header_1_0

from benchmarks.config import device
from benchmarks.data.splits import Report, choose, digest
from benchmarks.metrics import distribution
from benchmarks.tabletop import scenes
from benchmarks.tasks.task import Items, PictureItems, Task
from crossflow.files import published, reserve, sha256

if TYPE_CHECKING:
    from jaxtyping import Float, Int8, Int16, UInt8
    from torch import Tensor

    from benchmarks.metrics.score import Scored
    from benchmarks.tabletop.captions import Caption

RENDER_BATCH = 100
TEST_SPLITS = ("iid", "pairs", "crowd")
# Scenes of the finite subset that a CPU trains on; task.train_limit, task.validation_limit and
# task.limit take fewer.
TRAIN, VALIDATION, TEST = 20_000, 500, 1_000
DIGESTS = "sha256.json"  # of the files of a folder of arrays
REFERENCE = 64  # pixels at which scenes are rendered; 32 is the 2 x 2 mean
EXTRACTOR = "tabletop"  # of the features that FID and KID compare


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
    def tokens(self) -> Int16[np.ndarray, "n 5 length"]:
        """Word ids of all captions; 0 is padding."""
        from benchmarks.tabletop.captions import encode

        texts = [[encode(caption.text) for caption in five] for five in self.captions]
        return np.array(texts, dtype=np.int16)

    @cached_property
    def images(self) -> UInt8[np.ndarray, "n 3 64 64"]:
        """Pictures at 64 pixels, read only."""
        from benchmarks.tabletop.render import render

        def make(rows: slice) -> dict[str, np.ndarray]:
            return {"images": render(self.scenes[rows], self.device).cpu().numpy()}

        return self._arrays("images", make)["images"]

    def pictures(self, size: int) -> UInt8[np.ndarray, "n 3 size size"]:
        """Pictures at 64 pixels, or smaller by the mean of square blocks, rounded as in `render`.

        The frozen codecs and the evaluator were trained on pictures rounded so (half to even).
        """
        if size == REFERENCE:
            return self.images
        block = REFERENCE // size
        smaller = []
        for start in range(0, self.count, 1000):  # a whole split at once would fill the memory
            part = np.array(self.images[start : start + 1000])
            cells = part.reshape(len(part), 3, size, block, size, block)
            smaller.append(np.rint(cells.mean((3, 5), dtype=np.float32)).astype(np.uint8))
        return np.concatenate(smaller)

    def depth(
        self, size: int
    ) -> tuple[Float[np.ndarray, "n size size"], Int8[np.ndarray, "n size size"]]:
        """Clean depth in metres and the owner of each pixel (0: no solid, k + 1: solid k)."""
        from benchmarks.tabletop.render import depth_map

        def make(rows: slice) -> dict[str, np.ndarray]:
            depth, owner = depth_map(self.scenes[rows], size, self.device)
            return {"depth": depth.cpu().numpy(), "owner": owner.cpu().numpy()}

        arrays = self._arrays(f"depth{size}", make)
        return arrays["depth"], arrays["owner"]

    def latents(
        self, name: str, pictures: np.ndarray | Sequence[UInt8[np.ndarray, "3 size size"]]
    ) -> Float[np.ndarray, "n 16 size/8 size/8"]:
        """Latents of `pictures` under the frozen autoencoder, kept under `name` and its digest."""

        def make(rows: slice) -> dict[str, np.ndarray]:
            return {"latents": _encode(np.stack(list(pictures[rows])), self.device)}

        what = f"latents-{name}-{frozen_autoencoder()['sha256'][:12]}"
        return self._arrays(what, make)["latents"]

    def _arrays(
        self, what: str, make: Callable[[slice], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Opens the arrays of `what`; made first, rows by rows, if they are not there."""
        folder = self.folder / f"v{scenes.VERSION}" / f"{self.name}-{self.count}" / what
        if folder.is_dir() and not _sound(folder):
            aside = folder.with_name(f"{what}.damaged-{os.getpid()}")
            print(f"{folder} is damaged: put aside as {aside.name}, made again", file=sys.stderr)
            folder.rename(aside)
        if not folder.is_dir():
            with published(folder) as partial:
                self._make(partial, what, make)
        return {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}

    def _make(
        self, folder: Path, what: str, make: Callable[[slice], dict[str, np.ndarray]]
    ) -> None:
        files: dict[str, IO[bytes]] = {}
        with ExitStack() as opened:
            for start in range(0, self.count, RENDER_BATCH):
                stop = min(start + RENDER_BATCH, self.count)
                for name, rows in make(slice(start, stop)).items():
                    if start == 0:
                        file = opened.enter_context((folder / f"{name}.npy").open("wb"))
                        header = {"descr": rows.dtype.str, "shape": (self.count, *rows.shape[1:])}
                        write_array_header_1_0(file, header | {"fortran_order": False})
                        reserve(file, file.tell() + rows[:1].nbytes * self.count)
                        files[name] = file
                    files[name].write(rows.tobytes())
                self.report(f"{self.name} scenes: {what.split('-')[0]}", stop, self.count)
        digests = {path.name: sha256(path) for path in folder.glob("*.npy")}
        (folder / DIGESTS).write_text(json.dumps(digests))


def _sound(folder: Path) -> bool:
    """Whether rendered arrays are what was written."""
    try:
        digests = json.loads((folder / DIGESTS).read_text())
        return all(sha256(folder / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


class SceneItems(Items):
    """Scenes of a split, seen at `task.size` pixels."""

    def __init__(self, task: TabletopTask[Any], split: RenderedSplit) -> None:
        self.task, self.split, self.size = task, split, task.size
        self.name, self.ids = split.name, split.ids
        self.shapes: Sequence[tuple[int, int]] = [(self.size, self.size)] * split.count

    @cached_property
    def pictures(self) -> UInt8[np.ndarray, "n 3 s s"]:
        return self.split.pictures(self.size)

    @cached_property
    def latents(self) -> Float[np.ndarray, "n 16 s/8 s/8"]:
        return self.split.latents(f"hr{self.size}", self.pictures)

    def picture(self, index: int) -> UInt8[np.ndarray, "s s 3"]:
        return np.ascontiguousarray(self.pictures[index].transpose(1, 2, 0))

    def facts(self) -> dict[str, Any]:
        """The number of training scenes is every split's: statistics come from the training set."""
        return {
            "world": scenes.VERSION,
            "split": self.name,
            "count": self.split.count,
            "train": self.task.split("train").count,
            "size": self.size,
        }

    def world_key(
        self, protocols: dict[str, int], texts: str = "", **options: object
    ) -> dict[str, Any]:
        """`key`, with what else changes a score as options.

        The truth is named by what it is made from (scene indices, the world's version and the
        captions that are scored), never by rendered numbers: another processor rounds their last
        bits otherwise, and equal items would not be compared.
        """
        indices = self.split.indices
        return {
            "split": self.name,
            "items": digest(indices),
            "truth": digest(indices, f"world {scenes.VERSION}", texts),
            "protocols": protocols,
            "options": {"world": scenes.VERSION, **options},
        }


class PictureScenes(SceneItems, PictureItems):
    """Scenes whose pictures are predicted, and judged by the world's evaluator."""

    def facts(self) -> dict[str, Any]:
        return super().facts() | frozen_autoencoder()

    def evaluated_key(self, protocols: dict[str, int], texts: str = "", **options: object) -> Any:
        """`world_key`, with distances between sets and the evaluator that sees them."""
        from benchmarks.tabletop import cards

        evaluator = cards.read_card("evaluator")["sha256"]
        protocols = protocols | {"distribution": distribution.PROTOCOL}
        return self.world_key(protocols, texts, size=self.size, evaluator=evaluator, **options)

    def distances(self, predictions: Sequence[UInt8[np.ndarray, "s s 3"]]) -> Scored:
        """`fid_tabletop@n` and `kid_tabletop@n` of predicted against true pictures."""
        from benchmarks.tabletop import evaluator

        evaluator.register()
        generated, real = (
            distribution.extract_features(
                images, EXTRACTOR, metrics=("fid", "kid"), device=self.split.device
            )
            for images in (predictions, [self.picture(row) for row in range(len(self.ids))])
        )
        return distribution.distribution_scores(generated, real, EXTRACTOR)


Scenes = TypeVar("Scenes", bound=SceneItems)


class TabletopTask(Task[Scenes]):
    """A task whose items are scenes: `kind` is their class."""

    kind: ClassVar[type[Any]]

    @cached_property
    def size(self) -> int:
        return int(choose("task.size", self.config.task.size, (32, 64)))

    def split(self, part: str) -> RenderedSplit:
        """The scenes that a configuration asks for; nothing is rendered yet."""
        task = self.config.task
        whole, limit = {
            "train": (TRAIN, task.train_limit),
            "validation": (VALIDATION, task.validation_limit),
            "test": (TEST, task.limit),
        }[part]
        name = choose("task.split", task.split, TEST_SPLITS) if part == "test" else part
        where = device.resolve(self.config.device)
        folder = Path(self.config.work) / "tabletop"
        return RenderedSplit(name, min(whole, limit or whole), folder, where, self.report)

    def items(self, part: str) -> Scenes:
        items: Scenes = self.kind(self, self.split(part))
        return items


class PictureTask(TabletopTask[Scenes]):
    """A task whose targets are latents of pictures."""

    @cached_property
    def frozen(self) -> dict[str, Any]:
        return {"autoencoder": frozen_autoencoder()}

    def decode(self, target: Tensor) -> list[UInt8[np.ndarray, "s s 3"]]:
        """Pictures, rounded to 8 bits."""
        import torch

        from benchmarks.tabletop import autoencoder

        codec = autoencoder.load(self.test.split.device)
        with torch.no_grad():
            images = autoencoder.to_bytes(codec.decode(target.to(self.test.split.device)))
        return list(np.ascontiguousarray(images.permute(0, 2, 3, 1).cpu().numpy()))


def frozen_autoencoder() -> dict[str, Any]:
    """What a record says of the autoencoder: digest and size; its cost is charged to no arm."""
    from benchmarks.tabletop import cards

    card = cards.read_card("autoencoder")
    return {"sha256": card["sha256"], "bytes": card["bytes"]}


def _encode(images: UInt8[np.ndarray, "n 3 s s"], where: str) -> Float[np.ndarray, "n 16 h w"]:
    """Latents of pictures under the frozen autoencoder."""
    import torch

    from benchmarks.tabletop import autoencoder

    codec = autoencoder.load(where)
    with torch.no_grad():
        return codec.encode(autoencoder.to_unit(torch.from_numpy(images).to(where))).cpu().numpy()
