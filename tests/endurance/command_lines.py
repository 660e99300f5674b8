"""Bad command lines end in one line and status 2, and write nothing.

`python tests/endurance/command_lines.py --lines 300 --seed 0` draws them from the fields that the
commands know, wrong values and misspelt names. Lines that happen to be right run a tiny match, and
are listed.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.config.schema import leaves

ITEMS = "task=depth_tabletop task.limit=4".split()
TRAINED = [*ITEMS, "task.train_limit=16", "task.validation_limit=4"]
RUN = "training.batch=8 sampling.steps=1 sampling.solver=euler budget.samples=8".split()
SOUND = {"run": [*TRAINED, *RUN], "prepare": TRAINED, "evaluate": ITEMS}  # without the mistake
LONG = 60  # seconds that no refusal takes
VALUES = (
    "word|-1|0|1e400|nan|-inf|[1,2]|{a: 1}|[]|''|null|true|1.5|99999999999999999999|../../up|"
    "no/such/file|/|é\u202e|<b>|$HOME|a=b|@x|'[1, 2'|${oc.env:HOME}|~|a b|\\|---"
).split("|")
REPORTS = (
    "rank|tables extra|tables --out|tables --out=no/such|html --format=pdf|--out|leaderboard -q|"
    "figures --out=/dev/null|check --references=no.csv|check --accept --nothing|| ''"
).split("|")


def mutations(dice: random.Random) -> list[str]:
    """One bad line: module and arguments."""
    names = [name for name, _, _ in leaves()]
    kind = dice.choice(["value"] * 6 + ["name", "shape", "arm", "report", "list"])
    command = dice.choice(["run", "run", "prepare", "evaluate"])
    field, value = dice.choice(names), dice.choice(VALUES)
    if kind == "name":
        at = dice.randrange(len(field))
        return [command, *SOUND[command], f"{field[:at]}{field[at + 1 :]}x=1"]
    if kind == "shape":
        bad = [
            "=1",
            "task",
            "task=",
            "+x=1",
            "++task.rot=1",
            "~task",
            "--nothing",
            "-m",
            "seed=0,x",
        ]
        return [command, *SOUND[command], *dice.sample(bad, 2)]
    if kind == "arm":
        option = dice.choice(["kl_weight", "path", "lr", "method", "klweight", "times"])
        return [
            "run",
            *SOUND["run"],
            f"arm.{dice.choice(['crossflow', 'cf', ''])}.{option}={value}",
        ]
    if kind == "report":
        return ["report", *dice.choice(REPORTS).split()]
    if kind == "list":
        return ["list", value]
    return [command, *SOUND[command], f"{field}={value}"]


def outcome(arguments: list[str]) -> tuple[str, str]:
    """What a line came to, and what it printed."""
    module, *rest = arguments
    line = [sys.executable, "-m", f"benchmarks.{module}", *rest]
    here = {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    told: dict[str, Any] = {"capture_output": True, "text": True, "errors": "replace"}
    with tempfile.TemporaryDirectory(prefix="lines-") as folder:
        try:
            result = subprocess.run(line, cwd=folder, env=os.environ | here, timeout=LONG, **told)
        except subprocess.TimeoutExpired:
            return "right", f"still at work after {LONG} s"
        # Encoded data may stay: references are looked up by what they hold, and they serve again.
        files = (path for path in Path(folder).rglob("*") if path.is_file())
        written = [path for path in files if not {"stores", "tabletop"} & set(path.parts)]
    lines = result.stderr.splitlines()
    errors = [line for line in lines if ": error: " in line]
    if "Traceback" in result.stderr:
        word = "TRACEBACK"
    elif result.returncode == 0:
        word = "right"
    elif result.returncode == 1 and any("records" in path.parts for path in written):
        word = "failed, with a record"
    elif result.returncode != 2 or len(errors) != 1:
        word = f"WRONG: status {result.returncode}, {len(errors)} lines"
    elif written:
        word = f"WRONG: wrote {written[0].name}"
    else:
        word = "refused"
    return word, errors[-1] if errors else " ".join(lines[-1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    dice = random.Random(given.seed)
    lines = [mutations(dice) for _ in range(given.lines)]
    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(given.processes) as pool:
        for line, (word, printed) in zip(lines, pool.map(outcome, lines), strict=True):
            counts[word] += 1
            shown = [part for part in line if part not in SOUND["run"]]
            print(f"{word:24s} {' '.join(shown)} -> {printed[:200]}", flush=True)
    print(dict(counts))
    return int(any(word.isupper() or word.startswith("WRONG") for word in counts))


if __name__ == "__main__":
    sys.exit(main())
