"""Files that are whole or not there, and users' files, whose faults become one line.

Temporary names, renames, fsync and locks stand here alone. Modes follow the umask.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, Any, TypeVar

from filelock import FileLock, Timeout

from crossflow.errors import InputError

Read = TypeVar("Read")
_NUMBERS = count()


class InUse(InputError):  # noqa: N818 - it is a state
    """Another process holds a lock."""


class Damaged(InputError):  # noqa: N818 - it is a state
    """Something of ours is not what was written, or of an older layout; it can be made again."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} is damaged ({what}): delete it to make it again")
        self.what = what


def write_atomic(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Writes a file in one move, text as UTF-8; durable: also after a power cut."""
    with replacing(path, durable=durable) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A new name to write to; when the block ends without an error, that file becomes `path`."""
    with _partial(path) as partial:
        yield partial
        if durable:
            sync(partial)
        partial.replace(path)
        if durable:
            sync(path.parent)


@contextmanager
def published(folder: Path) -> Iterator[Path]:
    """A new folder to fill; when the block ends without an error it becomes `folder`, if first."""
    with _partial(folder) as partial:
        partial.mkdir()
        yield partial
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A hidden name beside `path` that nobody has; what killed processes of this host left goes.

    No lock: a process that is killed just after its rename would leave the lock's file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.{platform.node()}-"
    ours = re.compile(re.escape(prefix) + r"(\d+)-\d+\.partial")
    for left in path.parent.iterdir():
        if (match := ours.fullmatch(left.name)) and not _alive(int(match[1])):
            _remove(left)
    partial = path.with_name(f"{prefix}{os.getpid()}-{next(_NUMBERS)}.partial")
    try:
        yield partial
    finally:
        _remove(partial)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, for another user
        pass
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def whole(path: Path, read: Callable[[], Read]) -> Read | None:
    """What `read` makes of a file or folder that can be made again; None where there is none.

    Where it raises Damaged, the path gets another name, which is told in a line.
    """
    with suppress(Damaged):
        return read() if path.exists() else None
    with lock(path.with_name(f".{path.name}.lock")):  # another process may have made it anew
        try:
            return read() if path.exists() else None
        except Damaged as error:
            names = (path.with_name(f"{path.name}.damaged-{n}") for n in count(1))
            aside = next(name for name in names if not name.exists())
            path.rename(aside)
            told = f"{path} is damaged ({error.what}): put aside as {aside.name}, made again"
            print(told, file=sys.stderr)
    return None


@contextmanager
def lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock `path`, which goes with its process, killed or not; its file goes after use.

    wait: for another process that holds it; without, InUse says that one does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=-1 if wait else 0):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)  # while it is held: who waits for it makes another
    except Timeout:
        raise InUse(
            f"{path.parent} is in use by another process: wait for it, or choose another folder"
        ) from None


def sync(path: Path) -> None:
    """Waits until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reserve(file: IO[bytes], size: int) -> None:
    """Makes an open file `size` bytes long. InputError that names the folder where it is full."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
    except OSError as error:
        folder = Path(file.name).parent
        raise InputError(f"{folder}: no room for {size:,} bytes ({error.strerror})") from None


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256 of canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
