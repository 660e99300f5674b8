"""Start-up of commands, each a process of its own, beside `python -c "import torch"`, by turns.

python -m benchmarks.perf.start_up --task t2i_tabletop --rows 2048

`run` is timed from a ready store to its first line in stats.jsonl; `report` derives a leaderboard
from a copy of --out.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.perf import turns

GOALS = {"list": 1, "report": 2, "run": 10}  # seconds


def process(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)


def first_step(work: Path, words: list[str], seed: int) -> None:
    """A run until it has logged a step."""
    words = [*words, f"seed={seed}", "budget.steps=1", "methods=crossflow"]
    with subprocess.Popen([sys.executable, "-m", "benchmarks.run", *words]) as run:
        while not any(journal.read_bytes() for journal in work.glob(f"*/*-s{seed}-*/stats.jsonl")):
            if run.poll() is not None:
                raise SystemExit("the run ended before its first step: see above")
            time.sleep(0.01)
        run.kill()


def main() -> None:
    parser = turns.options(__doc__, task="t2i_tabletop", rows=2048, out="results/public")
    given = parser.parse_args()
    public = turns.checkout(parser, "out", given.out, "records")
    with tempfile.TemporaryDirectory() as folder:
        copy, work, seeds = Path(folder, "out"), Path(folder, "work"), count()
        shutil.copytree(public, copy)
        words = [f"task={given.task}", f"task.train_limit={given.rows}", f"work={work}"]
        process("-m", "benchmarks.prepare", *words)
        starts: dict[str, Callable[[], object]] = {
            "import torch": partial(process, "-c", "import torch"),
            "list": partial(process, "-m", "benchmarks.list"),
            "report": partial(process, "-m", "benchmarks.report", "leaderboard", f"--out={copy}"),
            "run": lambda: first_step(work, [*words, f"out={copy}"], next(seeds)),
        }
        works = {name: turns.of(start) for name, start in starts.items()}
        rounds = turns.Rounds(works, given, warm=0)
    for name in works:
        times, goal = rounds.ratio(name, "import torch"), f", goal {GOALS.get(name, '-')} s"
        print(f"{name}: {rounds.seconds(name):.2f} s, {times:.2f} of import torch{goal}")


if __name__ == "__main__":
    turns.command(main)
