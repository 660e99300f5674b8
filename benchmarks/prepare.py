"""Reads or renders the data of a task and encodes them once; `run` then starts at once.

python -m benchmarks.prepare task=depth_nyu task.root=DIR
python -m benchmarks.prepare task=sr_tabletop export=DIR
torchrun --nproc-per-node 8 -m benchmarks.prepare task=sr_imagenet task.root=DIR
"""

import os
from contextlib import closing

from benchmarks.config import command
from benchmarks.config.output import say
from benchmarks.config.schema import Config


def job(config: Config) -> int:
    """Prepares one task, or exports its scored split, and says what is there."""
    from benchmarks.config import registry
    from benchmarks.match.outside import export
    from benchmarks.match.progress import Progress

    first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes one speaks for all
    with closing(Progress()) as progress:
        if config.export is not None:
            say([f"export: {export(config, progress)}"])
            return 0
        task = registry.task_of(config)(config, progress if first else lambda *_: None)
        prepared = task.prepare()
    stores = {name: getattr(prepared, name) for name in ("train", "validation", "test")}
    if first:
        say(
            f"store: {store.folder} ({name}, {len(store)} rows, digest {store.digest[:12]})"
            for name, store in stores.items()
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(command.run(job, command="prepare"))
