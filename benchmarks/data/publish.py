"""Folders of derived data that appear under their name only when they are whole."""

from __future__ import annotations

import os
import platform
import re
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
    writer still runs, here or on another host, is left alone. The whole name is compared: another
    host's name may begin with this one's.
    """
    prefix = f".{folder.name}.partial-{platform.node()}-"
    ours = re.compile(re.escape(prefix) + r"(\d+)-[^-]+")
    for left in folder.parent.iterdir():
        match = ours.fullmatch(left.name)
        if match is not None and not _alive(int(match[1])):
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
