"""What the tasks of the embedded world share: items are scenes, each split is rendered once.

What is rendered of a split becomes folders of memory-mapped arrays under `work`. A folder appears
under its final name only when it is whole, so a killed rendering leaves nothing that opens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int16, UInt8
from torch import Tensor

from benchmarks.data.files import SEAL, check_seal, seal
from benchmarks.data.splits import choose, digest
from benchmarks.metrics import distribution
from benchmarks.metrics.score import Scored
from benchmarks.tabletop import autoencoder, cards, evaluator, render, scenes
from benchmarks.tabletop import captions as words
from benchmarks.tabletop.scenes import Scene
from benchmarks.tasks.task import Items, PictureItems, Task
from crossflow.files import published, reserve, whole

RENDER_BATCH = 100
TEST_SPLITS = ("iid", "pairs", "crowd")
# Scenes of the finite subset that a CPU trains on; task.train_limit, task.validation_limit and
# task.limit take fewer.
COUNTS = {"train": 20_000, "validation": 500, "test": 1_000}
EXTRACTOR = "tabletop"  # of the features that FID and KID compare


class Scenes(Items):
    """`count` scenes of a split, seen at `task.size` pixels, rendered on first use."""

    def __init__(self, task: TabletopTask[Any], name: str, count: int) -> None:
        self.task, self.name, self.count, self.size = task, name, count, task.size
        # Global indices, int64: they name items, predictions and draws.
        self.indices = self.groups = scenes.indices(name, count)
        self.ids = [str(index) for index in self.indices]
        self.shapes: Sequence[tuple[int, int]] = [(self.size, self.size)] * count

    @cached_property
    def scenes(self) -> list[Scene]:
        return [scenes.scene(int(index)) for index in self.indices]

    @cached_property
    def captions(self) -> list[tuple[words.Caption, ...]]:
        """Five captions a scene."""
        return [words.captions(scene) for scene in self.scenes]

    @cached_property
    def tokens(self) -> Int16[np.ndarray, "n 5 length"]:
        """Word ids of all captions; 0 is padding."""
        texts = [[words.encode(caption.text) for caption in five] for five in self.captions]
        return np.array(texts, dtype=np.int16)

    @cached_property
    def pictures(self) -> UInt8[np.ndarray, "n 3 s s"]:
        """Rendered at 64 pixels, read only; those of 32 are their 2 x 2 means, as in `render`."""
        where = self.task.device
        (images,) = self.kept("images", ["images"], lambda part: [render.render(part, where)])
        if self.size == 64:
            return images
        parts = torch.from_numpy(np.array(images)).split(1000)  # all at once would fill the memory
        return torch.cat([render.half_size(part) for part in parts]).numpy()

    def picture(self, index: int) -> UInt8[np.ndarray, "s s 3"]:
        return np.ascontiguousarray(self.pictures[index].transpose(1, 2, 0))

    def kept(
        self, what: str, names: Sequence[str], make: Callable[[list[Scene]], Sequence[Tensor]]
    ) -> list[np.ndarray]:
        """Arrays of all scenes, mapped; made where they are not there or damaged."""
        folder = Path(self.task.config.work) / "tabletop" / f"v{scenes.VERSION}"
        folder = folder / f"{self.name}-{self.count}" / what
        whole(folder, partial(check_seal, folder))
        if not folder.is_dir():
            made = []
            for start in range(0, self.count, RENDER_BATCH):
                part = self.scenes[start : start + RENDER_BATCH]
                made.append([rows.cpu() for rows in make(part)])
                self.task.report(f"{self.name} scenes: {what}", start + len(part), self.count)
            with published(folder) as new:
                for name, parts in zip(names, zip(*made, strict=True), strict=True):
                    rows = torch.cat(parts).numpy()
                    with (new / f"{name}.npy").open("wb") as file:
                        reserve(file, rows.nbytes)
                        np.save(file, rows)
                (new / SEAL).write_text(seal(new))
        return [np.load(folder / f"{name}.npy", mmap_mode="r") for name in names]

    def facts(self) -> dict[str, Any]:
        """The number of training scenes is every split's: statistics come from the training set."""
        facts = {"world": scenes.VERSION, "split": self.name, "count": self.count}
        return facts | {"train": self.task.train.count, "size": self.size}

    def world_key(self, protocols: dict[str, int], texts: str = "", **options: object) -> Any:
        """`key`, with what else changes a score as options.

        The truth is named by what it is made from (scene indices, the world's version and the
        captions that are scored), never by rendered numbers: another processor rounds their last
        bits otherwise, and equal items would not be compared.
        """
        truth = digest(self.indices, f"world {scenes.VERSION}", texts)
        key = self.named(truth, protocols, world=scenes.VERSION, **options)
        return key | {"items": digest(self.indices)}


class PictureScenes(Scenes, PictureItems):
    """Scenes whose pictures are predicted, and judged by the world's evaluator."""

    def facts(self) -> dict[str, Any]:
        return super().facts() | frozen_autoencoder()

    def evaluated_key(self, protocols: dict[str, int], texts: str = "", **options: object) -> Any:
        """`world_key`, with distances between sets and the evaluator that sees them."""
        judge = cards.read_card("evaluator")["sha256"]
        protocols = protocols | {"distribution": distribution.PROTOCOL}
        return self.world_key(protocols, texts, size=self.size, evaluator=judge, **options)

    def distances(self, predictions: Sequence[UInt8[np.ndarray, "s s 3"]]) -> Scored:
        """`fid_tabletop@n` and `kid_tabletop@n` of predicted against true pictures."""
        generated = self._features(predictions)
        return distribution.distribution_scores(generated, self._real, EXTRACTOR)

    @cached_property
    def _real(self) -> dict[str, Tensor]:
        """Features of the true pictures, the same for every arm and trial."""
        return self._features([self.picture(row) for row in range(self.count)])

    def _features(self, pictures: Sequence[UInt8[np.ndarray, "s s 3"]]) -> dict[str, Tensor]:
        evaluator.register()
        options: Any = {"metrics": ("fid", "kid"), "device": self.task.device}
        return distribution.extract_features(pictures, EXTRACTOR, **options)


AnyScenes = TypeVar("AnyScenes", bound=Scenes)


class TabletopTask(Task[AnyScenes]):
    """A task whose items are scenes: `kind` is their class."""

    kind: ClassVar[type[Any]]

    @cached_property
    def size(self) -> int:
        return int(choose("task.size", self.config.task.size, (32, 64)))

    def items(self, part: str) -> AnyScenes:
        task = self.config.task
        name = choose("task.split", task.split, TEST_SPLITS) if part == "test" else part
        limit = task.limit if part == "test" else getattr(task, f"{part}_limit")
        items: AnyScenes = self.kind(self, name, min(COUNTS[part], limit or COUNTS[part]))
        return items

    def encode(self, pictures: UInt8[np.ndarray, "n 3 s s"]) -> Float[np.ndarray, "n 16 h w"]:
        """Latents of pictures under the frozen autoencoder."""
        unit = autoencoder.to_unit(torch.from_numpy(np.array(pictures)).to(self.device))
        with torch.no_grad():
            return autoencoder.load(self.device).encode(unit).cpu().numpy()


class PictureTask(TabletopTask[AnyScenes]):
    """A task whose targets are latents of pictures."""

    @cached_property
    def frozen(self) -> dict[str, Any]:
        return {"autoencoder": frozen_autoencoder()}

    def decode(self, target: Tensor) -> list[UInt8[np.ndarray, "s s 3"]]:
        """Pictures, rounded to 8 bits."""
        with torch.no_grad():
            images = autoencoder.load(self.device).decode(target.to(self.device))
        pictures = autoencoder.to_bytes(images).permute(0, 2, 3, 1).cpu().numpy()
        return list(np.ascontiguousarray(pictures))


def frozen_autoencoder() -> dict[str, Any]:
    """What a record says of the autoencoder: digest and size; its cost is charged to no arm."""
    card = cards.read_card("autoencoder")
    return {"sha256": card["sha256"], "bytes": card["bytes"]}
