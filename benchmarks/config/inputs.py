"""Files that users name: whether they are there, what they hold, one line where they are wrong."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossflow.errors import InputError


def stamp(folder: Path, pattern: str, field: str) -> str:
    """12 hex of names, sizes and times of a folder's files; InputError where there are none."""
    paths = sorted(filter(is_file, folder.glob(pattern))) if is_folder(folder) else []
    if not paths:
        raise InputError(f"{field} needs {folder}/{pattern}, none was found")
    stats = ((path.name, path.stat()) for path in paths)
    rows = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)
    return hashlib.sha256(rows.encode()).hexdigest()[:12]


def is_file(path: Path, ask: Callable[[Path], bool] = Path.is_file) -> bool:
    """Whether there is a file. InputError where that cannot be told, as without permission."""
    try:
        return ask(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False  # no file system holds it
        raise InputError(f"{path}: {error.strerror}") from None


def is_folder(path: Path) -> bool:
    """The same of a folder."""
    return is_file(path, Path.is_dir)


def read_text(path: Path) -> str:
    """A user's text: UTF-8, a byte order mark is no part of it. InputError names the file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a text file that can be read ({error})") from None


def read_json(path: Path) -> Any:
    """What a user's JSON file holds. InputError names the file."""
    return parse_json(read_text(path), str(path))


def parse_json(text: str, where: str) -> Any:
    """What a JSON text holds. InputError, which begins with `where`, for anything else."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
        raise InputError(f"{where}: not JSON that can be read ({error})") from None
