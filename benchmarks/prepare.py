"""Reads or renders the data of a task and encodes them once; `run` then starts at once.

python -m benchmarks.prepare task=depth_nyu task.root=DIR
"""

from __future__ import annotations

from benchmarks.conf import command
from benchmarks.conf.schema import Config
from crossflow.errors import InputError


def job(config: Config) -> int:
    """Prepares one task and says what is there. InputError for what is not built."""
    from benchmarks import registry
    from benchmarks.progress import Progress

    if config.export is not None:
        raise InputError("export: writing sources and truth for other programs is not built so far")
    progress = Progress()
    try:
        prepared = registry.task_of(config).prepare(config, progress)
    finally:
        progress.close()
    for name in ("train", "validation", "test"):
        store = getattr(prepared, name)
        print(f"store: {store.folder} ({name}, {len(store)} rows, digest {store.digest[:12]})")
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(job, command="prepare"))
