"""Who writes which shards of a store, and how processes that share a folder keep apart.

No process group is needed: they meet in files. A lock (`flock`) goes with its process, killed or
not, so what is locked is being worked on. Across machines `work` must lie on a file system whose
locks reach over them (NFS from version 4 on, Lustre with the flock option).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from crossflow.errors import InputError

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Share:
    """Process `rank` of `world`: shard i is written by process i mod world."""

    rank: int = 0
    world: int = 1

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Share:
        """RANK and WORLD_SIZE as torchrun sets them; the only process where they are not set."""
        try:
            share = cls(int(environment.get("RANK", 0)), int(environment.get("WORLD_SIZE", 1)))
        except ValueError:
            share = cls(0, 0)
        if not 0 <= share.rank < share.world:
            raise InputError(
                f"RANK={environment.get('RANK')}, WORLD_SIZE={environment.get('WORLD_SIZE')}: "
                "RANK must be a number from 0 to WORLD_SIZE - 1"
            )
        return share

    @property
    def mark(self) -> str:
        """Ends the names of its unfinished files."""
        return f"rank-{self.rank}.tmp"

    def lock(self, folder: Path) -> Path:
        """The file, beside it, that this process holds locked while it works in `folder`."""
        return folder.with_name(f"{folder.name}.rank-{self.rank}.lock")


@contextmanager
def held(path: Path, *, shared: bool, unless: Callable[[], bool]) -> Iterator[bool]:
    """Holds a lock on `path`, waiting for it; False, and no lock, as soon as `unless()` is true.

    Whoever held it alone removes the file at the end, while still holding it: nobody can then hold
    a lock on a file of that name that is not the one others find.
    """
    file = None
    while file is None and not unless():
        file = attempt(path, shared=shared)
        if file is None:
            time.sleep(POLL_SECONDS)
    try:
        yield file is not None and not unless()  # it may have happened in between
    finally:
        if file is not None:
            if not shared:
                path.unlink(missing_ok=True)
            file.close()


def attempt(path: Path, *, shared: bool) -> IO[str] | None:
    """The locked file, to be closed; None where another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a")
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        # A file that lost its name while it was opened locks nothing.
        if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None


def is_working(path: Path) -> bool:
    """Whether a process holds the lock on `path`."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
