"""What commands print on the screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable


def say(lines: Iterable[object]) -> None:
    """Prints lines. A reader that has seen enough (`| head`) is no failure, and a terminal that is
    not UTF-8 gets question marks."""
    encoding = sys.stdout.encoding or "utf-8"
    text = "\n".join(map(str, lines)).encode(encoding, "replace").decode(encoding)
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is left in the buffer is flushed once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
