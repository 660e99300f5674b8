"""Reads or renders the data of a task and encodes them once; `run` then starts at once.

python -m benchmarks.prepare task=depth_nyu task.root=DIR
python -m benchmarks.prepare task=sr_tabletop export=DIR
torchrun --nproc-per-node 8 -m benchmarks.prepare task=sr_imagenet task.root=DIR

    if config.export is not None and os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError(f"export={config.export}: one process writes it, not torchrun's many")
    first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes one speaks for all
    progress = Progress(rates=True)
"""

from __future__ import annotations

import os

from benchmarks.config import command
from benchmarks.config.schema import Config
from crossflow.errors import InputError


def job(config: Config) -> int:
    """Prepares one task, or exports its scored split, and says what is there."""
    from benchmarks.config import registry
    from benchmarks.match.outside import export
    from benchmarks.match.progress import Progress

    if config.export is not None and os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError(f"export={config.export}: one process writes it, not torchrun's many")
    first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes one speaks for all
    progress = Progress(rates=True)
    try:
        if config.export is not None:
            folder = export(config, progress)
        else:
            task = registry.task_of(config)
            prepared = task(config, progress if first else _silent).prepare()
    finally:
        progress.close()
    if config.export is not None:
        print(f"export: {folder}")
    elif first:
        for name in ("train", "validation", "test"):
            store = getattr(prepared, name)
            print(f"store: {store.folder} ({name}, {len(store)} rows, digest {store.digest[:12]})")
    return 0


def _silent(stage: str, done: int, total: int) -> None:
    """Progress of a process whose rows the first one counts too."""


if __name__ == "__main__":
    raise SystemExit(command.run(job, command="prepare"))
