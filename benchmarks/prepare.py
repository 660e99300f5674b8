"""Reads or renders the data of a task and encodes them once; `run` then starts at once.

python -m benchmarks.prepare task=depth_nyu task.root=DIR
torchrun --nproc-per-node 8 -m benchmarks.prepare task=sr_imagenet task.root=DIR

Killed, the same command goes on with the shards that are whole. Several processes share the shards
(RANK and WORLD_SIZE, as torchrun sets them) and give the same bytes as one; on several machines
`work` must be a folder that all of them see.
"""

from __future__ import annotations

import os

from benchmarks.conf import command
from benchmarks.conf.schema import Config
from crossflow.errors import InputError


def job(config: Config) -> int:
    """Prepares one task and says what is there. InputError for what is not built."""
    from benchmarks import registry
    from benchmarks.progress import Progress
    from crossflow.store_locks import Share

    if config.export is not None:
        raise InputError("export: writing sources and truth for other programs is not built so far")
    first = Share.of(os.environ).rank == 0  # speaks for all
    progress = Progress(rates=True)
    try:
        prepared = registry.task_of(config).prepare(config, progress if first else _silent)
    finally:
        progress.close()
    if not first:
        return 0
    for name in ("train", "validation", "test"):
        store = getattr(prepared, name)
        print(f"store: {store.folder} ({name}, {len(store)} rows, digest {store.digest[:12]})")
    return 0


def _silent(stage: str, done: int, total: int) -> None:
    """Progress of a process whose rows the first one counts too."""


if __name__ == "__main__":
    raise SystemExit(command.run(job, command="prepare"))
