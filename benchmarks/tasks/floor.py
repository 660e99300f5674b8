"""The framing row `floor`: what scores without learning, below which an arm has learned nothing.

What that is depends on the target, so a task says which of these rules is its own: one mean map for
depth, one caption for captioning, random training pictures for text to image (which no caption
explains, though as a set they are near the truth). Super-resolution's is the enlarged source
itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int64

SEED = 0


def mean_map(maps: Iterable[Float[np.ndarray, "h w"]]) -> Float[np.ndarray, "h w"]:
    """The mean of all training maps, summed in float64, as float32. ValueError for none."""
    total, count = np.zeros(()), 0
    for one in maps:
        total, count = total + one.astype(np.float64), count + 1
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
