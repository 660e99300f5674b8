"""What a benchmark task is. One file a task; the file name is the task's name.

A task reads data, turns them into stores of encoded pairs, decodes what a method sampled, writes
and reads predictions in the field's formats and scores them. It knows nothing of methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.metrics.score import Score
    from crossflow.problem import Problem
    from crossflow.store import Store


@dataclass(frozen=True)
class Item:
    """One thing to predict: `id` names its prediction file (without suffix), `group` its image."""

    id: str
    index: int
    group: int = 0


@dataclass
class Scored:
    """Scores of one set of predictions: totals, one row per item, and what could not be computed."""

    scores: dict[str, Score]
    items: dict[str, list[Any]]
    unavailable: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass
class Prepared:
    """A task made ready: stores of encoded pairs, and everything that names them in a record.

    train, validation, test: stores; `test_items` are the items of the test store in its order.
    frozen: codecs used, with digest, parameters and cost, identical for all arms and not charged.
    """

    problem: Problem
    train: Store
    validation: Store
    test: Store
    test_items: list[Item]
    validation_items: list[Item]
    facts: dict[str, Any]
    frozen: dict[str, Any]
    decode: Callable[[Any], Any]


class Task(Protocol):
    """The calls that `benchmarks.match` and `benchmarks.evaluate` make, in this order."""

    name: str
    version: int
    primary: str
    embedded: bool

    def prepare(self, config: Any) -> Prepared:
        """Reads or renders the data and encodes them once; a second call reuses the store."""

    def truth(self, config: Any) -> Truth:
        """The items to predict and their ground truth, without any store."""


class Truth(Protocol):
    """Ground truth of one split: what `evaluate` needs, nothing more."""

    items: list[Item]

    def read(self, folder: Path) -> Any:
        """Predictions from disk, checked against the items: ids, sizes, types."""

    def write(self, folder: Path, predictions: Sequence[Any]) -> None:
        """Predictions to disk, in the format `read` takes."""

    def score(self, predictions: Any) -> Scored:
        """All metrics of the task, with the protocol in each name."""

    def floor(self) -> Any:
        """What a method scores that has seen no source: the floor of the table."""

    def picture(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and truth of an item as uint8 pictures (h, w, 3), for the grid."""
