"""Kills commands and starts them again: what they leave is what the unbroken commands leave.

`python tests/endurance/kills.py --kills 100 --seed 0`: a prepare, run, evaluate and report of
`depth_tabletop`, in folders of their own. A command is killed at a random moment, at a random move
of a file or folder, or half through a checkpoint; then the same command runs to its end. Records
may differ in `volatile` alone, other files of `out` in nothing, and no file may be left over.
"""

from __future__ import annotations

import argparse
import atexit
import itertools
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ITEMS = "task=depth_tabletop task.limit=6".split()
TASK = [*ITEMS, "task.train_limit=48", "task.validation_limit=8"]
RUN = "training.batch=8 training.checkpoint_seconds=0.01 sampling.steps=2 budget.samples=64".split()
STAGES = {
    "export": ["benchmarks.prepare", *ITEMS, "export=given"],
    "prepare": ["benchmarks.prepare", *TASK],
    "run": ["benchmarks.run", *TASK, *RUN],
    "evaluate": ["benchmarks.evaluate", *ITEMS, "predictions=given/truth", "name=mine"],
    "report": ["benchmarks.report", "html"],
}
KINDS = ("moment", "moment", "moment", "move", "checkpoint")  # a fifth of each of the last two
CHECKPOINTS = 12  # of the run, at least
VOLATILE = ("stats.jsonl", "clock.json", "index.html", ".log")  # files that hold times


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def doomed(kind: str, number: int, after: bool) -> None:
    """Makes this process die at its `number`-th move, or half through that checkpoint.

    With "count" it lives, and the file `moves` says how many moves it made.
    """
    count = itertools.count(-number)
    if kind == "count":
        atexit.register(lambda: Path("moves").write_text(str(next(count) + number)))

    def moving(move):
        def wrapped(*args, **kwargs):
            last = next(count) == 0
            if last and not after:
                die()
            result = move(*args, **kwargs)
            if last:
                die()
            return result

        return wrapped

    def writing(path, content):
        if path.name.startswith(".last.safetensors") and next(count) == 0:
            with path.open("wb") as file:
                file.write(content[: len(content) // 2])
            die()
        return write(path, content)

    if kind in ("move", "count"):
        os.replace, os.rename = moving(os.replace), moving(os.rename)
    else:
        write, Path.write_bytes = Path.write_bytes, writing


def start(stage: str, folder: Path, *doom: object) -> subprocess.Popen[str]:
    """One command in `folder`; doom: arguments of `doomed`."""
    line = [sys.executable, __file__, "--inner", json.dumps(doom)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
    }
    with (folder / f"{stage}.log").open("a") as log:
        return subprocess.Popen(
            [*line, *STAGES[stage]], cwd=folder, env=environment, stdout=log, stderr=log
        )


def content(folder: Path) -> dict[str, object]:
    """What must be equal, by path: all names, and the content of what holds no time."""
    files: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if "hydra" in path.parts or path.name == "moves":
            continue
        name = str(path.relative_to(folder))
        if path.is_dir() or path.name.endswith(VOLATILE) or "checkpoints" in path.parts:
            files[name] = None
        elif path.parts[-3] == "records":
            record = json.loads(path.read_text())
            files[name] = {key: value for key, value in record.items() if key != "volatile"}
        else:
            files[name] = path.read_bytes()
    return files


def attempt(number: int, seed: int, unbroken: dict, root: Path) -> str:
    """One kill; gives stage, kind and whether the result is the unbroken one."""
    dice = random.Random(f"{seed} {number}")
    kind = KINDS[number % len(KINDS)]
    stage = "run" if kind == "checkpoint" else dice.choice(list(STAGES))
    folder, (seconds, moves) = root / f"kill-{number}", unbroken[stage]
    shutil.copytree(root / f"before-{stage}", folder)
    doom = (kind, dice.randrange(moves if kind == "move" else CHECKPOINTS), dice.random() < 0.5)
    process = start(stage, folder, *(doom if kind != "moment" else ()))
    if kind == "moment":
        time.sleep(dice.uniform(0.2, 1) * seconds)
        process.kill()
    killed = process.wait() == -signal.SIGKILL
    expected = content(root / f"after-{stage}")
    # A command that was killed when all was written has nothing to do: an export would refuse.
    status = 0 if content(folder) == expected else start(stage, folder).wait()
    there = content(folder)
    wrong = [name for name in there | expected if there.get(name, 0) != expected.get(name, 0)]
    trouble = f"status {status}" if status else ", ".join(wrong[:5])
    if not trouble:
        shutil.rmtree(folder)
    word = kind if killed else "ended before"
    print(f"{number:4d} {stage:8s} {word:12s} {doom}: {trouble or 'sound'}", flush=True)
    return f"{stage} {word}: {'WRONG' if trouble else 'sound'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="kills-"))
    place, unbroken = root / "unbroken", {}
    place.mkdir()
    for stage in STAGES:
        shutil.copytree(place, root / f"before-{stage}")
        begun = time.monotonic()
        if status := start(stage, place, "count", 10**9, False).wait():
            print(f"{stage}: status {status}, see {place}/{stage}.log")
            return 1
        unbroken[stage] = time.monotonic() - begun, int((place / "moves").read_text())
        shutil.copytree(place, root / f"after-{stage}")
    print(f"seconds and moves of the unbroken commands: {unbroken}", flush=True)
    with ThreadPoolExecutor(given.processes) as pool:
        counts = Counter(
            pool.map(lambda k: attempt(k, given.seed, unbroken, root), range(given.kills))
        )
    for what, count in sorted(counts.items()):
        print(f"{count:4d} {what}")
    return int(any("WRONG" in what for what in counts))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inner"]:
        doom, module, *arguments = json.loads(sys.argv[2]), sys.argv[3], *sys.argv[4:]
        if doom:
            doomed(*doom)
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.exit(main())
