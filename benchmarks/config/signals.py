"""Signals that end a command in order: its status is 128 + the signal, the same command continues.

SIGINT is Ctrl-C; Slurm sends SIGTERM at the end, and before it what `--signal` names (SIGUSR1;
submitit's is SIGUSR2). Whoever ignores one is let be, as `nohup` does; Windows lacks the last two.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")


def stop(number: int, frame: object = None) -> None:
    """Ends what runs, wherever it stands: no `except Exception` holds it up."""
    raise KeyboardInterrupt(number)


def number_of(stopped: KeyboardInterrupt) -> int:
    """The signal that ended something."""
    return stopped.args[0] if stopped.args else signal.SIGINT


@contextmanager
def heard(note: Callable[[int, object], None] = stop) -> Iterator[None]:
    """Calls `note` with each signal; after the block whoever heard them before does again. Threads
    but the main one hear none."""
    main = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in NAMES if main and hasattr(signal, name)]
    listening = [n for n in numbers if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, note) for number in listening}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
