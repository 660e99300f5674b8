"""The one shape of a result: a number with its uncertainty, its count and which way is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

Item = TypeVar("Item")
Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Score:
    """One number of a record, from the metric that computes it to the JSON that keeps it.

    Numbers of numpy and torch become plain ones. Raises ValueError for one that is not finite.
    """

    value: float  # in the scale of the library that computed it
    stderr: float | None  # sample std / sqrt(n) of per-item means; None where there are none
    n: int  # items behind the value
    better: Better

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "stderr", None if self.stderr is None else float(self.stderr))
        object.__setattr__(self, "n", int(self.n))
        if not math.isfinite(self.value) or not math.isfinite(self.stderr or 0.0):
            raise ValueError(f"a score must be finite, not {self}: say it is unavailable")


@dataclass
class Scored:
    """Scores of one set of predictions."""

    scores: dict[str, Score]
    # One list a column, one entry an item, in the order of the items; None where it has no value.
    items: dict[str, list[Any]] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)  # score -> why it has no number
    counts: dict[str, int] = field(default_factory=dict)  # special cases met: skipped, clamped ...
    hints: list[str] = field(default_factory=list)  # what looks wrong in the predictions, in words


def mean_score(values: Iterable[float | None], better: Better) -> Score:
    """Mean over items, None left out, with its standard error (sample std / sqrt(n)).

    Raises ValueError when no value is left: the caller names it unavailable.
    """
    present = [float(v) for v in values if v is not None]
    if not present:
        raise ValueError("the mean of no values is not a score")
    n = len(present)
    mean, stderr = math.fsum(present) / n, None
    if n > 1:
        stderr = math.sqrt(math.fsum((v - mean) ** 2 for v in present) / (n - 1) / n)
    return Score(mean, stderr, n, better)


def merge(parts: Sequence[Scored]) -> Scored:
    """Several metric families of the same items as one result.

    Raises ValueError when two families claim the same score or disagree about a shared column.
    """
    whole = Scored({})
    for part in parts:
        columns = whole.items.keys() & part.items.keys()
        other = [name for name in columns if whole.items[name] != part.items[name]]
        if twice := sorted(whole.scores.keys() & part.scores.keys()) + other:
            raise ValueError(f"scores or columns computed twice: {', '.join(twice)}")
        for name in ("scores", "items", "unavailable", "counts"):
            getattr(whole, name).update(getattr(part, name))
        whole.hints += part.hints
    return whole


def per_item(score: Callable[[int], Item], count: int) -> list[Item]:
    """[score(0), ..., score(count - 1)], computed side by side on threads.

    numpy, scipy and Pillow release Python's lock while they work on large arrays. What `score`
    raises is raised here in the item's turn, whichever thread met it first.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(score, range(count)))
