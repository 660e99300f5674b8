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

POLL_SECONDS = 0.1


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
        """The file that process `rank` holds locked while it works in `folder`."""
        return folder / f"rank-{self.rank}.lock"


@contextmanager
def held(path: Path, *, shared: bool, unless: Callable[[], bool]) -> Iterator[bool]:
    """Holds a lock on `path`, waiting for it; False, and no lock, as soon as `unless()` is true."""
    file = None
    while not unless():
        path.parent.mkdir(parents=True, exist_ok=True)
        file = attempt(path, shared=shared)
        if file is not None:
            break
        time.sleep(POLL_SECONDS)
    try:
        yield file is not None
    finally:
        if file is not None:
            file.close()


def attempt(path: Path, *, shared: bool) -> IO[str] | None:
    """The locked file, to be closed; None where another holds it or the folder is gone.

    The writer that finishes removes its lock files with the folder: a lock on a file that has lost
    its name is none.
    """
    try:
        file = path.open("a")
    except FileNotFoundError:
        return None
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None


def is_working(path: Path) -> bool:
    """Whether a process holds the lock on `path`."""
    if not path.exists():
        return False
    file = attempt(path, shared=True)
    if file is None:
        return True
    file.close()
    return False
