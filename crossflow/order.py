"""Which training pairs step s reads, and a chain of hashes that says what was read.

The order is a function of (seed, rows, captions, batch, step): no state is saved. The value of the
chain after step s stands for everything that was read up to step s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import Int

MARKS = 64


def _bits(count: int, *key: object) -> np.ndarray:
    """Random 64-bit numbers of `key` alone; numpy fixes the raw stream for good (NEP 19)."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(count)


class Order:
    """Epoch by epoch, each row once, in a new random order; a caption is drawn for each visit.

    Steps run over the epochs' concatenation: no row is dropped, a batch may exceed an epoch.
    """

    def __init__(self, seed: int, rows: int, batch: int, captions: int = 1) -> None:
        self.seed, self.rows, self.batch, self.captions = seed, rows, batch, captions
        # Two epochs: a step may end one and begin the next.
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def _draw_epoch(self, epoch: int) -> Int[np.ndarray, "2 rows"]:
        order = np.argsort(_bits(self.rows, "order", self.seed, epoch), kind="stable")
        captions = _bits(self.rows, "caption", self.seed, epoch) % np.uint64(self.captions)
        return np.stack([order, captions.astype(np.int64)])

    def step(self, step: int) -> tuple[Int[np.ndarray, " batch"], Int[np.ndarray, " batch"]]:
        """Rows of the store and the caption drawn for each, for step 0, 1, 2 ..."""
        first, last = step * self.batch, (step + 1) * self.batch
        parts = []
        for epoch in range(first // self.rows, (last - 1) // self.rows + 1):
            start = epoch * self.rows
            parts.append(self._epoch(epoch)[:, max(first - start, 0) : last - start])
        rows, captions = np.concatenate(parts, axis=1)
        return rows, captions


@dataclass
class Chain:
    """Chained hash of all (id, caption) read so far: h_s = SHA-256(h_(s-1), reads of step s).

    marks: the value after each `every`-th step, the smallest power of two that keeps them to at
    most 64. Marks of runs of any two lengths share the multiples of the larger.
    """

    steps: int = 0
    value: str = hashlib.sha256(b"order 1 ").hexdigest()
    every: int = 1
    marks: dict[str, str] = field(default_factory=dict)

    def update(self, ids: Sequence[str], captions: Sequence[int] | np.ndarray) -> None:
        """Adds the reads of one step, in the order of the rows of the batch."""
        reads = "\n".join(f"{i}\t{int(c)}" for i, c in zip(ids, captions, strict=True))
        self.value = hashlib.sha256(f"{self.value}\n{reads}".encode()).hexdigest()
        self.steps += 1
        if self.steps % self.every == 0:
            self.marks[str(self.steps)] = self.value
        if len(self.marks) > MARKS:
            self.every *= 2
            self.marks = {s: h for s, h in self.marks.items() if int(s) % self.every == 0}
