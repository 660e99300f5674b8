"""What the tasks of the embedded world share: items are scenes of a split."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from benchmarks.config import device
from benchmarks.data.splits import choose, digest
from benchmarks.tabletop import scenes
from benchmarks.tasks.tabletop_world import TEST, TEST_SPLITS, TRAIN, VALIDATION, RenderedSplit
from benchmarks.tasks.task import Items, Task

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8


class SceneItems(Items):
    """Scenes of a split, seen at `task.size` pixels."""

    def __init__(self, task: TabletopTask[Any], split: RenderedSplit) -> None:
        self.task, self.split, self.size = task, split, task.size
        self.name, self.ids = split.name, split.ids
        self.shapes = [(self.size, self.size)] * split.count

    @cached_property
    def pictures(self) -> UInt8[np.ndarray, "n 3 s s"]:
        return self.split.pictures(self.size)

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
