"""Rows/s of a store of the embedded world over what the fastest training step consumes, by turns.

python -m benchmarks.perf.store_rows --task t2i_tabletop --model T

Batches come in training's order from the system's cache of files; the machine's limit is a copy.
"""

import tempfile
from itertools import count

from benchmarks.config import command, registry
from benchmarks.config.schema import Config
from benchmarks.perf import turns
from benchmarks.tasks.task import Prepared


def main() -> None:
    settings = {"task": "t2i_tabletop", "model": "T", "batch": 64, "steps": 3, "compile": False}
    given = turns.options(__doc__, rows=2048, precision="bf16", **settings).parse_args()
    made, few = list[Prepared](), ["task.limit=8", "task.validation_limit=8"]

    def job(config: Config) -> int:
        made.append(registry.task_of(config)(config, lambda *_: None).prepare())
        return 0

    with tempfile.TemporaryDirectory() as folder:
        few += [f"task={given.task}", f"task.train_limit={given.rows}", f"work={folder}"]
        if status := command.run(job, few, command="prepare"):
            raise SystemExit(status)
        store, step = made[0].train, count()
        trainer = turns.trainer(made[0].problem, given, folder, store)
        works = {
            "step": turns.of(trainer.step, given.device),
            "store": turns.of(lambda: store.pairs(*trainer.order.step(next(step)))),
            "copy": turns.of(store.pairs(range(given.batch)).target.clone),
        }
        rounds = turns.Rounds(works, given)
    for name in works:
        print(f"{name}: {given.batch / rounds.seconds(name):.0f} rows/s")
    print(f"store over step: {rounds.ratio('step', 'store'):.0f}")


if __name__ == "__main__":
    turns.command(main)
