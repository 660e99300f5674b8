"""Random numbers that depend on what they are for, never on what was drawn before.

A resumed run, another batch size of an evaluation and another arm see the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from crossflow import world


def _generator(*key: object) -> torch.Generator:
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class StepDraws:
    """Draws of one training step, of all `total` rows; `rows` are those of this process.

    stage: of `Method.stages`, which is all that a step knows of the budget; -1 is the last.
    """

    def __init__(self, seed: int, step: int, rows: range, total: int, stage: int = -1) -> None:
        self.seed, self.step, self.rows, self.total = seed, step, rows, total
        self.stage = stage

    def normal(self, name: str, shape: Sequence[int]) -> Float[Tensor, "b ..."]:
        """Standard normal numbers, one block of `shape` a row."""
        return self.mine(torch.randn((self.total, *shape), generator=self._generator(name)))

    def uniform(self, name: str) -> Float[Tensor, " b"]:
        """Uniform numbers in [0, 1), one a row."""
        return self.mine(torch.rand(self.total, generator=self._generator(name)))

    def mine(self, whole: Tensor) -> Tensor:
        """Of what is there for the global batch, the rows that are taken here."""
        return whole[self.rows.start : self.rows.stop]

    def whole_batch(self, x: Tensor) -> Tensor:
        """Rows of all processes, in global order; `x` itself where it has them all."""
        return x if len(self.rows) == self.total else world.all_rows(x)

    def permutation(self, name: str) -> Int[Tensor, " total"]:
        """A random order of all rows of the global batch (not of the local ones)."""
        return torch.randperm(self.total, generator=self._generator(name))

    def _generator(self, name: str) -> torch.Generator:
        return _generator("train", self.seed, self.step, name)


class ItemDraws:
    """Draws of an evaluation: one generator per item, so batches and order do not matter."""

    def __init__(self, seed: int, items: Sequence[int], draw: int = 0) -> None:
        self.seed, self.items, self.draw = seed, [int(i) for i in items], draw

    def normal(self, name: str, shape: Sequence[int]) -> Float[Tensor, "b ..."]:
        """Standard normal numbers, one block of `shape` an item."""
        keys = [("eval", self.seed, item, self.draw, name) for item in self.items]
        return torch.stack([torch.randn(shape, generator=_generator(*key)) for key in keys])


Draws = StepDraws | ItemDraws
