"""The framing row `oracle`: the test targets through the frozen codec, the most an arm can reach.

No method can score better with this codec but by luck: what the codec loses, every arm loses. Where
nothing is encoded (depth, pixels) the oracle is the truth at the flow's size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from crossflow.store import Store, unstandardise

BATCH = 64


def predictions(test: Store, decode: Callable[[Tensor], Sequence[Any]]) -> list[Any]:
    """One prediction per row of the test store, in order. decode: targets in the store's units."""
    values: list[Any] = []
    for start in range(0, len(test), BATCH):
        rows = list(range(start, min(start + BATCH, len(test))))
        target = test.pairs(rows).target
        values.extend(decode(unstandardise(target, test.statistics["target"])))
    return values
