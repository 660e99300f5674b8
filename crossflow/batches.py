"""The batches of an arm, each read from the store while the one before it is computed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext

import torch

from crossflow.order import Order
from crossflow.problem import Pair
from crossflow.store import Store


class Batches:
    """The rows of each step that are this process's, on a device.

    device: with its number, if it is a GPU: threads differ in what they take for the current one.
    """

    def __init__(self, store: Store, order: Order, rows: range, device: torch.device) -> None:
        self._store, self._order, self._device = store, order, device
        self._rows = slice(rows.start, rows.stop)
        self._reader = ThreadPoolExecutor(1)
        self._ahead: dict[int, Future[Pair]] = {}  # by step, one at most

    def read(self, step: int) -> Pair:
        """The batch of a step, here and now."""
        rows, captions = self._order.step(step)
        with torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext():
            return self._store.pairs(rows[self._rows], captions[self._rows]).to(self._device)

    @contextmanager
    def reading(self, step: int) -> Iterator[Pair]:
        """The batch of a step, for a block that computes it. Inside the block the next one is read,
        not beyond: no other arm, file or exit meets a thread at work. What goes wrong there is
        raised by the next step."""
        ahead, self._ahead = self._ahead, {}
        pair = ahead[step].result() if step in ahead else self.read(step)
        following = self._reader.submit(self.read, step + 1)
        try:
            yield pair
        finally:
            wait([following])
        self._ahead = {step + 1: following}

    def drop(self) -> None:
        """Frees what was read for a step that will not come."""
        self._ahead = {}
