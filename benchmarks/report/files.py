"""What reports leave: files first, whole or not at all, then lines on the screen."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from crossflow.errors import InputError
from crossflow.files import write_atomic

Files = dict[str, str | bytes]
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def write(files: Mapping[str, str | bytes], out: Path) -> list[Path]:
    """Writes each file below `out`; returns the paths. InputError, before anything is written, for
    a part of a name that is no plain name: they may come from records."""
    for name in files:
        if not all(NAME.fullmatch(part) for part in name.split("/")):
            raise InputError(
                f"{name!r} of the records is no file name: letters, digits, '._-' only"
            )
    for name, content in files.items():
        save(out / name, content)
    return [out / name for name in files]


def save(path: Path, content: str | bytes) -> None:
    """Writes a file whole; InputError where it cannot be written."""
    try:
        write_atomic(path, content)
    except OSError as error:
        raise InputError(f"cannot write {error.filename or path}: {error.strerror}") from error


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


def path(text: str) -> Path:
    """A path of the command line with `~` expanded; refused where there is no such user."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error
