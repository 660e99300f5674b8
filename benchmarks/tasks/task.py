"""What a benchmark task is. One file a task; the file name is the task's name.

A task reads data, turns them into stores of encoded pairs, decodes what a method sampled, writes
and reads predictions in the field's formats, and scores them. It knows nothing of methods, and a
method knows nothing of it: they meet in `crossflow.problem`.

A task file defines `TASK` (an object with the calls below) and `DEFAULTS` (a literal: its own
values for the fields of `TaskConfig`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.config.schema import Config
    from benchmarks.data.splits import Report
    from benchmarks.metrics.score import Scored
    from benchmarks.records.samples import Cell
    from crossflow.problem import Problem, Source
    from crossflow.store import Store


class Truth(Protocol):
    """Ground truth of one split: all that scoring needs, for our arms and for anybody's files."""

    ids: Sequence[str]
    """Names of the items: the path of a prediction without its suffix."""

    def key(self) -> dict[str, Any]:
        """What makes two scores comparable: split, digests of ids and truth, protocol numbers."""

    def read(self, folder: Path) -> Any:
        """Predictions in item order. InputError: ids missing or extra, wrong size or type."""

    def write(self, folder: Path, predictions: Any) -> None:
        """Predictions to disk, in the format `read` takes."""

    def score(self, predictions: Any) -> Scored:
        """All metrics of the task; every name carries its protocol."""

    def cells(self, index: int) -> tuple[Cell, Cell]:
        """Source and truth of an item as they are shown: pictures, metres of depth, or texts."""

    def cell(self, predictions: Any, index: int) -> Cell:
        """The prediction of an item as it is shown, of the truth's kind and size."""

    def pair(self, index: int) -> tuple[Cell, Cell | list[str]]:
        """Source and truth of an item, whole, as `export` writes them; captions: all references.

        The source of super-resolution is the small picture. Depth that is not known is 0.
        """


@dataclass(frozen=True)
class Extra:
    """Sources that every arm is sampled for beside the test split, unscored: others judge them.

    name: the folder below the run's. store: one row a source; its targets mean nothing. draws:
    samples of each. write(folder, predictions): predictions[draw][row], in the judge's format.
    """

    name: str
    store: Store
    draws: int
    write: Callable[[Path, Sequence[Sequence[Any]]], None]


@dataclass(frozen=True)
class Arithmetic:
    """Sums of sources: start - minus + plus should show what `expected` says.

    texts: (start, minus, plus, expected) of each sum. source: its rows are start, minus and plus of
    the first sum, then of the second.
    """

    texts: Sequence[tuple[str, str, str, str]]
    source: Source


@dataclass
class Prepared:
    """A task made ready to train on.

    train, validation, test: stores of encoded pairs; the rows of the latter two are the items of
    their truths, in order. decode: targets in the store's units (b, C, H, W) to predictions.
    floor: predictions for the test items by what has seen no source. frozen: codecs shared by all
    arms, not charged, with digest and cost. seconds: what preparing took, by stage (volatile).
    mirror: None, or exchanges left and right of maps, source and target alike: predictions are then
    means of two, the second the mirrored one of the mirrored source (`task.flip_test`).
    unscored: why the primary score cannot be computed (weights missing), None where it can.
    extra: what else is sampled, None for nothing. arithmetic: sums of sources, None for none.
    training: of training data that are no published split, what records should tell.
    """

    problem: Problem
    train: Store
    validation: Store
    test: Store
    truth: Truth
    validation_truth: Truth
    decode: Callable[[Tensor], Sequence[Any]]
    floor: Callable[[], Any]
    frozen: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)
    mirror: Callable[[Tensor], Tensor] | None = None
    unscored: str | None = None
    extra: Extra | None = None
    arithmetic: Arithmetic | None = None
    training: dict[str, int] = field(default_factory=dict)


class Task(Protocol):
    """A benchmark task.

    primary: the score that ranks, given the number of test items. version: raised whenever an old
    number would change; old and new rows never share a table. uses: which of `schema.OPTIONAL` it
    reads; the others are refused, their user would believe that they had worked.
    """

    version: int
    uses: tuple[str, ...]

    def primary(self, items: int) -> str:
        """Name of the score that ranks, for a test split of so many items."""

    def truth(self, config: Config, report: Report) -> Truth:
        """The test items and their ground truth; InputError where the data are missing."""

    def prepare(self, config: Config, report: Report) -> Prepared:
        """Reads or renders the data and encodes them once; a second call reuses the stores."""
