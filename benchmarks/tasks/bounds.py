"""Bounds of every table: the floor, below which an arm has learned nothing, and the oracle.

The floor is what scores without learning; a task says which of the rules here is its own: one mean
map for depth, one caption for captioning, random training pictures for text to image (which no
caption explains, though as a set they are near the truth). Super-resolution's is the enlarged
source itself.

The oracle is the test targets through the frozen codec, item by item. What the codec loses every
arm loses, so that no score of single items should exceed it; a distance between sets can: real
pictures that were never encoded are nearer. Where nothing is encoded (depth, pixels) the oracle is
the truth at the flow's size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int64

if TYPE_CHECKING:
    from torch import Tensor

    from crossflow.store import Store

SEED = 0  # of the floor's random rows
BATCH = 64  # rows of the oracle decoded at once


def mean_map(maps: Iterable[Float[np.ndarray, "h w"]]) -> Float[np.ndarray, "h w"]:
    """The mean of all training maps, summed in float64, as float32. ValueError for none."""
    total, count = np.zeros(()), 0
    for depth in maps:
        total, count = total + depth.astype(np.float64), count + 1
    if not count:
        raise ValueError("no map to take the mean of")
    return (total / count).astype(np.float32)


def most_frequent(texts: Iterable[str]) -> str:
    """The text seen most often in training; of equals the one seen first. ValueError for none."""
    counts = Counter(texts)
    if not counts:
        raise ValueError("no text to count")
    return counts.most_common(1)[0][0]


def random_rows(train: int, count: int) -> Int64[np.ndarray, " count"]:
    """Numbers of `count` training items, drawn with replacement by a fixed seed."""
    return np.random.default_rng(SEED).integers(train, size=count)


def oracle(test: Store, decode: Callable[[Tensor], Sequence[Any]]) -> list[Any]:
    """One prediction for each row of the test store, in order.

    decode: targets (b, C, H, W) in the units they had before standardising, to b predictions.
    """
    from crossflow.store import unstandardise

    values: list[Any] = []
    for start in range(0, len(test), BATCH):
        rows = list(range(start, min(start + BATCH, len(test))))
        target = test.pairs(rows).target
        values.extend(decode(unstandardise(target, test.statistics["target"])))
    return values
