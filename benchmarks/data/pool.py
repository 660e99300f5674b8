"""Reading and scoring items on all cores, in an order that no clock decides.

Threads, not processes: numpy, scipy, Pillow and zlib release Python's lock while they work on an
array of some 100,000 numbers, nothing is copied between processes, and a process that has started
torch must not be forked. A function that holds the lock all along (pure Python, arrays of a few
hundred numbers) gains nothing here.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

LARGEST = 32  # beyond it the disk and Python's lock are the limit
AHEAD = 2  # items a worker has in hand: the one it works on and the next


def available_cores() -> int:
    """Cores that this process may use, at most `LARGEST`."""
    return min(len(os.sched_getaffinity(0)), LARGEST)


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """function(item) of every item, in the order of the items, computed on `workers` threads.

    items is read in the calling thread, no further than 2 x workers ahead of what was taken: give
    numbers or paths, and let `function` read the files, which is then done side by side and in
    bounded memory. `function` is called from several threads at once and must change nothing that
    they share. What it raises is raised here in the item's turn, whichever thread met it first, and
    no further item is begun. workers: None for `available_cores`; with 1 no thread is started.
    Raises ValueError for fewer than one worker.
    """
    count = available_cores() if workers is None else workers
    if count < 1:
        raise ValueError(f"workers={count}: must be at least 1")
    return map(function, items) if count == 1 else _side_by_side(function, items, count)


def _side_by_side(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ordered_map")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also where the reader stops early, or an item raised
        pool.shutdown(wait=True, cancel_futures=True)
