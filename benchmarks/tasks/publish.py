"""Folders of derived data that appear under their name only when they are whole."""

from __future__ import annotations

import shutil
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
    from crossflow.store_writer import partial_folder

    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_folder(folder)
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
