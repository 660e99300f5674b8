"""What reports leave: files, whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crossflow.errors import InputError
from crossflow.files import write_atomic

Files = dict[str, str | bytes]
# What a key begins with in a CSV: twelve hex digits like 5031e1234567 would be read as a number.
KEYS = {"score_key": "s-", "fair_key": "f-"}


def write(files: Mapping[str, str | bytes], out: Path) -> list[Path]:
    """Writes each file below `out`; returns the paths. InputError, before anything is written, for
    a part of a name that is no plain name: they may come from records."""
    for name in files:
        if not all(re.fullmatch(r"[\w-][\w.-]*", part, re.ASCII) for part in name.split("/")):
            raise InputError(f"{name!r} of the records is no file name: letters, digits, '._-'")
    for name, content in files.items():
        save(out / name, content)
    return [out / name for name in files]


def save(path: Path, content: str | bytes) -> None:
    """Writes a file whole; InputError where it cannot be written."""
    try:
        write_atomic(path, content)
    except OSError as error:
        raise InputError(f"cannot write {error.filename or path}: {error.strerror}") from error


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV with these columns; None and missing values are empty, floats keep all digits; keys are
    never numbers, see KEYS."""
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(columns), dtype=object)
    for name in KEYS.keys() & set(columns):
        frame[name] = [KEYS[name] + key if key and key == key else None for key in frame[name]]
    return frame.to_csv(index=False, lineterminator="\n")


def path(text: str) -> Path:
    """A path of the command line, `~` expanded."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  (Path would refuse an unknown user)
