"""The one shape of a result: a number with its uncertainty, its count and which way is better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Score:
    """One number of a record, from the metric that computes it to the JSON that keeps it.

    Numbers of numpy and torch become plain ones. Raises ValueError for a value that is not finite.
    """

    value: float  # in the scale of the library that computed it
    stderr: float | None  # sample std / sqrt(n) of per-item means; None where there are none
    n: int  # items behind the value
    better: Better

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "stderr", None if self.stderr is None else float(self.stderr))
        object.__setattr__(self, "n", int(self.n))
        if self.better not in get_args(Better):
            raise ValueError(f"better is {self.better!r}: higher or lower")
        if not math.isfinite(self.value) or not math.isfinite(self.stderr or 0.0):
            raise ValueError(f"a score must be finite, not {self}: say it is unavailable")


@dataclass
class Scored:
    """Scores of one set of predictions.

    items: one list per column, one entry per item in the order of the items; None where an item has
    no value. unavailable: score name -> why it could not be computed. counts: how often a special
    case was met (skipped images, clamped pixels ...), so that none passes in silence.
    """

    scores: dict[str, Score]
    items: dict[str, list[Any]] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def mean_score(values: Iterable[float | None], better: Better) -> Score:
    """Mean over items, None left out, with its standard error (sample std / sqrt(n)).

    Raises ValueError when no value is left: the caller names it unavailable.
    """
    present = [float(v) for v in values if v is not None]
    if not present:
        raise ValueError("the mean of no values is not a score")
    n = len(present)
    mean = math.fsum(present) / n
    if n == 1:
        return Score(mean, None, 1, better)
    variance = math.fsum((v - mean) ** 2 for v in present) / (n - 1)
    return Score(mean, math.sqrt(variance / n), n, better)


def merge(parts: Sequence[Scored]) -> Scored:
    """Several metric families of the same items as one result.

    Raises ValueError when two families claim the same score or disagree about a shared column.
    """
    whole = Scored({})
    for part in parts:
        twice = whole.scores.keys() & part.scores.keys()
        if twice:
            raise ValueError(f"scores computed twice: {', '.join(sorted(twice))}")
        for name, column in part.items.items():
            if whole.items.setdefault(name, column) != column:
                raise ValueError(f"the column {name} differs between metric families")
        whole.scores.update(part.scores)
        whole.unavailable.update(part.unavailable)
        whole.counts.update(part.counts)
    return whole
