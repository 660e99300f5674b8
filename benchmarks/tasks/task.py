"""What a benchmark task is. One file a task; the file name is the task's name.

`Items` are one split: the rows of its store, and the truth that predictions are scored by, in one
order. A `Task` makes the items of the three splits for one job; all else follows from them. It
knows nothing of methods, nor they of it: they meet in `crossflow.problem`. A task file defines
`TASK` (a class derived from `Task`) and `DEFAULTS` (a literal: its own values of `TaskConfig`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from torch import Tensor

from benchmarks.config.device import resolve
from benchmarks.config.schema import Config
from benchmarks.data import predictions as files
from benchmarks.data.splits import Report, digest
from benchmarks.metrics.score import Scored
from benchmarks.records import keys
from benchmarks.records.samples import Cell
from crossflow.arm import Arm
from crossflow.problem import Problem
from crossflow.store import Store
from crossflow.store_writer import write_store

if TYPE_CHECKING:
    from benchmarks.match.sampling import Sampler


class Items:
    """One split, for training, scoring, files and figures."""

    name: str  # of the split, in the name of its store
    split = ""  # of the data set, in the score key; where it is called otherwise
    ids: Sequence[str]  # of the items: the path of a prediction without its suffix
    groups: Sequence[int] | np.ndarray  # a number a row: rows of one picture have the same
    batch = 512  # rows made at once
    store: Store  # of the rows, once the task is prepared

    @property
    def row_ids(self) -> Sequence[str]:
        """Of the store's rows: one an item, where a picture is not cut into tiles."""
        return self.ids

    def facts(self) -> dict[str, Any]:
        """What the rows are made from, the training data of their statistics included."""
        raise NotImplementedError

    def rows(self, part: slice) -> dict[str, Any]:
        """Rows of the store: target, source; mask for tokens; words if the problem has them."""
        raise NotImplementedError

    def key(self) -> dict[str, Any]:
        """What makes scores comparable: see `named`."""
        raise NotImplementedError

    def named(self, truth: str, protocols: dict[str, int], **options: object) -> dict[str, Any]:
        """A `key`: split, items and truth (digests), protocols of metrics, options."""
        names = {"split": self.split or self.name, "items": digest("\n".join(self.ids))}
        return {**names, "truth": truth, "protocols": protocols, "options": options}

    def score(self, predictions: Any) -> Scored:
        """All metrics of the task; every name carries its protocol."""
        raise NotImplementedError

    def read(self, folder: Path) -> Any:
        """Predictions in item order. InputError: ids missing or extra, wrong size or type."""
        raise NotImplementedError

    def write(self, folder: Path, predictions: Any) -> None:
        """Predictions to disk, in the format `read` takes."""
        raise NotImplementedError

    def cells(self, index: int) -> tuple[Cell, Cell]:
        """Source and truth of an item as they are shown: pictures, metres of depth, or texts."""
        raise NotImplementedError

    def pair(self, index: int) -> tuple[Cell, Cell | list[str]]:
        """Source and truth of an item, whole, as `export` writes them; captions: all references.

        The source of super-resolution is the small picture. Depth that is not known is 0.
        """
        return self.cells(index)

    def whole(self, predictions: Any) -> Any:
        """Predictions at the size of the items, one an item, whatever `Task.decode` makes."""
        return predictions

    def cell(self, predictions: Any, index: int) -> Cell:
        """The prediction of an item as it is shown, of the truth's kind and size."""
        cell: Cell = self.whole(predictions)[index]
        return cell


class PictureItems(Items):
    """Predictions are 8-bit RGB pictures, `<id>.png`."""

    shapes: Sequence[tuple[int, int]]  # (height, width) of each item
    unscored: Sequence[str] = ()  # ids whose predictions are let be
    formats = files.IMAGE_FORMATS

    def read(self, folder: Path) -> Sequence[np.ndarray]:
        return files.Predictions(folder, self.ids, self.shapes, self.formats, self.unscored)

    def write(self, folder: Path, predictions: Sequence[Any]) -> None:
        for name, values in zip(self.ids, self.whole(predictions), strict=True):
            (files.write_image if values.ndim == 3 else files.write_depth)(folder, name, values)


class DepthItems(PictureItems):
    """Predictions are depth maps, `<id>.npy`, float32 metres."""

    formats = files.depth_formats(None)


class CaptionItems(Items):
    """Predictions are texts, one an item, in `captions.json`; ids are whole numbers."""

    def read(self, folder: Path) -> list[str]:
        return files.read_captions(folder, list(map(int, self.ids)))

    def write(self, folder: Path, predictions: Sequence[str]) -> None:
        files.write_captions(folder, dict(zip(map(int, self.ids), predictions, strict=True)))


@dataclass
class Prepared:
    """A task made ready to train on. Rows of validation and test are the items of their truths."""

    problem: Problem
    train: Store
    validation: Store
    test: Store
    truth: Items  # of the test split
    validation_truth: Items
    decode: Callable[[Tensor], Sequence[Any]]  # see `Task`, as of the others
    floor: Callable[[], Sequence[Any]]
    frozen: dict[str, Any]
    seconds: dict[str, float]  # what preparing took, by stage (volatile)


@dataclass(frozen=True)
class Trained:
    """A trained arm, for what a task draws beside the test split."""

    arm: Arm
    sampler: Sampler
    guidance: float
    folder: Path  # of the run
    keep: Callable[[str, Sequence[str], Sequence[Cell]], None]  # kind, ids and cells of samples
    report: Report


AnyItems = TypeVar("AnyItems", bound=Items)


class Task(Generic[AnyItems]):
    """A task for one job: `items`, `problem`, `decode` and `floor`; what is made is kept."""

    version: int  # raised whenever an old number would change: old and new rows share no table
    uses: tuple[str, ...] = ()  # which of the optional fields it reads; the others are refused
    ranked_by = ""  # the primary score, where its name does not hold the number of items

    def __init__(self, config: Config, report: Report = lambda stage, done, total: None) -> None:
        self.config, self.report = config, report
        self.seconds: dict[str, float] = {}

    @cached_property
    def device(self) -> str:
        return resolve(self.config.device)

    def primary(self, items: int) -> str:
        """Name of the score that ranks, for a test split of so many items."""
        return self.ranked_by

    def items(self, part: str) -> AnyItems:
        """The split "train", "validation" or "test"; InputError where its data are missing.

        Nothing is rendered or encoded yet, and the test split needs nothing of the others.
        """
        raise NotImplementedError

    @cached_property
    def train(self) -> AnyItems:
        return self.items("train")

    @cached_property
    def validation(self) -> AnyItems:
        return self.items("validation")

    @cached_property
    def test(self) -> AnyItems:
        return self.items("test")

    @cached_property
    def problem(self) -> Problem:
        """Shapes of source and target, and how the source is encoded."""
        raise NotImplementedError

    # For plans, which see no data: dtypes of target and source in a store, and how many captions a
    # training row has, in tokens of the source or else in targets.
    stored: tuple[str, str] = ("float32", "float32")
    captions = 1

    def assume(self) -> list[str]:
        """For plans without data: takes what they would decide at its largest, and says what."""
        return []

    @cached_property
    def frozen(self) -> dict[str, Any]:
        """Codecs shared by all arms and charged to none, with digest and cost."""
        return {}

    def decode(self, target: Tensor) -> Sequence[Any]:
        """Targets (b, C, H, W) in the units of the store's rows, or words (ids), to predictions."""
        raise NotImplementedError

    def floor(self) -> Sequence[Any]:
        """Predictions for the test items by what has seen no source: see `bounds`."""
        raise NotImplementedError

    # Hooks: what one task alone wants.

    def unavailable(self) -> str | None:
        """Why the primary score cannot be computed (weights missing), None where it can."""
        return None

    def crawled(self) -> dict[str, int]:
        """Of training data that are no published split, what records should tell."""
        return {}

    def draw_more(self, prepared: Prepared, trained: Trained) -> Scored | None:
        """Samples that others judge, once an arm has been scored; scores of what an arm alone can
        draw, which stand beside those of the test split."""

    # What follows.

    def score_fields(self) -> dict[str, Any]:
        """What the score_key of predictions for the test items is the digest of."""
        name, primary = self.config.task.name, self.primary(len(self.test.ids))
        return keys.score_fields(
            task=name, version=self.version, primary=primary, **self.test.key()
        )

    def prepare(self) -> Prepared:
        """Reads or renders the data and encodes them once; a second call reuses the stores."""
        test, train, problem, frozen = self.test, self.train, self.problem, self.frozen
        started = time.perf_counter()
        self._encode(train)
        for items in (self.validation, test):
            self._encode(items, train.store.statistics)
        self.seconds["stores"] = time.perf_counter() - started
        stores = train.store, self.validation.store, test.store
        scored, made = (test, self.validation), (frozen, self.seconds)
        return Prepared(problem, *stores, *scored, self.decode, self.floor, *made)

    def _encode(self, items: Items, statistics: Mapping[str, Any] | None = None) -> None:
        """Writes the store of `items` under `work` if it is not there; processes share the work.

        Its name holds the digest of all that the content depends on: a stale one is never opened.
        statistics: of the training store. A source that is taken as it is (encoder "identity") is
        standardised by the target's: the flow starts from the source itself, not an amplified one.
        """
        name, shared = self.config.task.name, self.problem.encoder == "identity"
        facts = {"task": name, "version": self.version, **items.facts()}
        facts |= {"standardised_by": "target"} if shared else {}
        facts |= {"words": self.problem.words.length} if self.problem.words else {}
        short = f"{name.removesuffix('_tabletop')}-{items.name}"
        folder = f"{short}-{digest(json.dumps(facts, sort_keys=True))}"
        ids, groups = items.row_ids, items.groups

        def batches(start: int, stop: int) -> Iterator[dict[str, Any]]:
            for first in range(start, stop, items.batch):
                part = slice(first, min(first + items.batch, stop))
                yield {**items.rows(part), "groups": groups[part], "ids": ids[part]}

        items.store = write_store(
            Path(self.config.work) / "stores" / folder,
            self.problem.source,
            self.problem.target,
            facts,
            len(ids),
            batches,
            statistics,
            words=self.problem.words,
            shared_statistics=shared,
            report=lambda done, total: self.report(f"{short}: encoding", done, total),
        )
