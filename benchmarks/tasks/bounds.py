"""Bounds of every table: the floor, below which an arm has learned nothing, and the oracle.

The floor scores without learning; a task says which of the rules here is its own (random training
pictures, which no caption explains, are as a set near the truth). The oracle is the test targets
through the frozen codec, item by item: what the codec loses every arm loses, so that no score of
single items should exceed it; a distance between sets can, as real pictures that were never encoded
are nearer. Where nothing is encoded (depth, pixels) it is the truth at the flow's size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from crossflow.store import Store, unstandardise

SEED = 0  # of the floor's random rows
BATCH = 64  # rows of the oracle decoded at once


def mean_map(maps: Iterable[Float[np.ndarray, "h w"]]) -> Float[np.ndarray, "h w"]:
    """The mean of all training maps, summed in float64, as float32."""
    total, count = np.zeros(()), 0
    for depth in maps:
        total, count = total + depth.astype(np.float64), count + 1
    return (total / count).astype(np.float32)


def most_frequent(texts: Iterable[str]) -> str:
    """The text seen most often in training; of equals the one seen first."""
    return Counter(texts).most_common(1)[0][0]


def random_rows(train: int, count: int) -> Int64[np.ndarray, " count"]:
    """Numbers of `count` training items, drawn with replacement by a fixed seed."""
    return np.random.default_rng(SEED).integers(train, size=count)


def oracle(test: Store, decode: Callable[[Tensor], Sequence[Any]]) -> list[Any]:
    """One prediction for each row of the test store, in order. decode: see `Task`."""
    values: list[Any] = []
    for start in range(0, len(test), BATCH):
        target = test.pairs(range(start, min(start + BATCH, len(test)))).target
        values.extend(decode(unstandardise(target, test.statistics["target"])))
    return values
