"""What the tests of matches share: a match small enough for a test, and its records."""

from pathlib import Path

from benchmarks import run
from benchmarks.config import command
from benchmarks.records import record as records

TINY = [
    *("task=depth_tabletop", "task.train_limit=48", "task.validation_limit=8", "task.limit=6"),
    *("training.batch=8", "sampling.steps=2", "sampling.solver=euler", "budget.samples=32"),
]


def places(folder: Path) -> list[str]:
    return [f"out={folder / 'out'}", f"work={folder / 'work'}"]


def call(*arguments: str, base: list[str] = TINY) -> int:
    return command.run(run.job, [*base, *arguments], command="run")


def by_method(out: Path) -> dict[str, records.Record]:
    return {record.method: record for record in records.read_all(out)}
