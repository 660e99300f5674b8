"""What commands print on the screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any, TextIO, cast


def say(lines: Iterable[object]) -> None:
    """Prints lines. A reader that has seen enough (`| head`) is no failure, and a terminal that is
    not UTF-8 gets question marks."""
    encoding = sys.stdout.encoding or "utf-8"
    text = "\n".join(map(str, lines)).encode(encoding, "replace").decode(encoding)
    Lasting(sys.stdout).attempt(print, text, flush=True)


class Lasting:
    """A stream whose reader may leave: what is written from then on is lost, and nothing else."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def attempt(self, write: Callable[..., object], *given: object, **options: object) -> None:
        try:
            write(*given, **options)
        except BrokenPipeError:
            # What is left in the buffer is flushed once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def write(self, text: str) -> None:
        self.attempt(self.stream.write, text)

    def flush(self) -> None:
        self.attempt(self.stream.flush)


@contextmanager
def lasting_stderr() -> Iterator[None]:
    """Whoever writes to stderr inside: `2>&1 | head` stops no training."""
    with redirect_stderr(cast(TextIO, Lasting(sys.stderr))):
        yield
