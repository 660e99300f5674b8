"""The framing row `oracle`: the test targets through the frozen codec, item by item.

What the codec loses every arm loses, so that no score of single items should exceed it. A distance
between sets can: real pictures that were never encoded are nearer. Where nothing is encoded (depth,
pixels) the oracle is the truth at the flow's size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from crossflow.store import Store, unstandardise

BATCH = 64


def predictions(test: Store, decode: Callable[[Tensor], Sequence[Any]]) -> list[Any]:
    """One prediction per row of the test store, in order.

    decode: targets (b, C, H, W) in the units they had before standardising, to b predictions.
    """
    values: list[Any] = []
    for start in range(0, len(test), BATCH):
        rows = list(range(start, min(start + BATCH, len(test))))
        target = test.pairs(rows).target
        values.extend(decode(unstandardise(target, test.statistics["target"])))
    return values
