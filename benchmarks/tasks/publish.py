"""Folders of derived data that appear under their name only when they are whole."""

from __future__ import annotations

import glob
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def published(folder: Path) -> Iterator[Path]:
    """A new folder to fill; when the block ends without an error it becomes `folder`.

    Every process fills a folder of its own, so that two which share `work` cannot publish each
    other's half-written files. The first to finish gives the name; what the others made, equal
    since it comes from the same configuration, is dropped.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial_folder(folder)
    try:
        yield partial
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        # After the rename there is nothing of that name left to remove.
        shutil.rmtree(partial, ignore_errors=True)


def _partial_folder(folder: Path) -> Path:
    """A new hidden folder beside `folder`, after those of dead writers of it are removed.

    A killed writer cannot clean up. Its folder's name holds host and process, so that one whose
    writer still runs, here or on another host, is left alone.
    """
    prefix = f".{folder.name}.partial-{platform.node()}-"
    for left in folder.parent.glob(glob.escape(prefix) + "*"):
        process = int(left.name.removeprefix(prefix).split("-")[0])
        if not _alive(process):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=folder.parent))


def _alive(process: int) -> bool:
    """Whether a process of this host still runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, for another user
        return True
    return True
