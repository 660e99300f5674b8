"""Arrays made when asked for: a split of pictures or depth maps need not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np


class OnDemand(Sequence[np.ndarray]):
    """`length` arrays; make(i) gives the i-th, 0 <= i < length, anew each time it is asked for."""

    def __init__(self, make: Callable[[int], np.ndarray], length: int) -> None:
        self.make, self.length = make, length

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        chosen = range(self.length)[index]  # the rules of a list, and IndexError past the end
        return self.make(chosen) if isinstance(chosen, int) else [self.make(i) for i in chosen]
