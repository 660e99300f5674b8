"""Files that users name: whether they are there, and JSON whatever is in it, as mistakes in words.

Python's own calls raise what no reader of data expects: `Path.is_file` an OSError where a name is
too long for the file system, `json.loads` a RecursionError for deep nesting and a plain ValueError
for a number of thousands of digits.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossflow.errors import InputError


def is_file(path: Path) -> bool:
    """Whether there is a file. InputError where that cannot be told, as without permission."""
    return _is(path, path.is_file)


def is_folder(path: Path) -> bool:
    """Whether there is a folder. InputError where that cannot be told, as without permission."""
    return _is(path, path.is_dir)


def _is(path: Path, ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False  # no file system holds it
        raise InputError(f"{path}: {error.strerror}") from None


def stamp(folder: Path, pattern: str, field: str) -> str:
    """12 hex of names, sizes and times of a folder's files of a pattern.

    InputError that begins with `field` where there are none.
    """
    found = sorted(folder.glob(pattern)) if is_folder(folder) else []
    if not found:
        raise InputError(f"{field} needs {folder}/{pattern}, none was found")
    told = [(path, path.stat()) for path in found if is_file(path)]
    rows = "\n".join(f"{path.name} {s.st_size} {s.st_mtime_ns}" for path, s in told)
    return hashlib.sha256(rows.encode()).hexdigest()[:12]


def parse_json(text: str, where: str) -> Any:
    """What a JSON text holds. InputError, which begins with `where`, for anything else."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON that can be read ({error})") from None


def read_json(path: Path) -> Any:
    """What a JSON file holds; InputError that names the file where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a text file that can be read ({error})") from None
    return parse_json(text, str(path))
