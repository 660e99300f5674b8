"""What the commands of this folder share: works timed by turns in one run, and their ratios."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from crossflow.errors import InputError

if TYPE_CHECKING:  # not for an old checkout
    from crossflow.problem import Problem
    from crossflow.store import Store
    from crossflow.train import Trainer

Turn = Callable[[int], float]  # does so many steps, gives their seconds
SIDE = 2048  # of the matrix product that measures the machine's rate
HELP = {"tokens": "a square", "steps": "of a turn", "device": "cpu or cuda"}


def options(text: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """A command's options, each of its default's type; a switch where that is False."""
    parser = argparse.ArgumentParser(description=(text or "").splitlines()[0])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name, default in {"device": device, "rounds": 7, **defaults}.items():
        kind: Any = {"type": type(default), "help": f"{HELP.get(name, '')} [{default}]"}
        kind = {"action": "store_true"} if default is False else kind
        parser.add_argument(f"--{name}", default=default, **kind)
    return parser


def command(main: Callable[[], None]) -> None:
    """A mistake in an option is one line, and status 2."""
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def checkout(parser: argparse.ArgumentParser, option: str, folder: str, holds: str) -> Path:
    """A folder that was given, if it holds what it must; else one line, and status 2."""
    if not Path(folder, holds).exists():
        parser.error(f"--{option} {folder}: has no {holds}")
    return Path(folder).resolve()


def of(work: Callable[[], object], device: str = "cpu") -> Turn:
    """So many calls of a work, what a GPU has in flight included."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def turn(count: int) -> float:
        wait()
        start = time.perf_counter()
        for _ in range(count):
            work()
        wait()
        return time.perf_counter() - start

    return turn


def product(given: argparse.Namespace) -> Turn:
    """One large matrix product a step: what it reaches is the machine's limit."""
    dtype = torch.bfloat16 if given.precision == "bf16" else torch.float32
    square = torch.randn(SIDE, SIDE, dtype=dtype, device=given.device)
    return of(lambda: square @ square, given.device)


def trainer(
    problem: Problem, given: Any, folder: str, store: Store | None = None, **changes: Any
) -> Trainer:
    """Of crossflow, as the options say, on a store of random pairs where none is given."""
    from benchmarks.match.calibration import random_store
    from crossflow import crossflow
    from crossflow.arm import build_arm
    from crossflow.budget import Budget, Training
    from crossflow.train import Trainer

    options = {"rows": 512, "compile": False, **vars(given), **changes}
    place, batch = Path(folder, "-".join(map(str, changes.values()))), options["batch"]
    arm = build_arm(crossflow, problem, given.model, batch=batch)
    store = store or random_store(arm, options["rows"], place / "store")
    training = Training(batch, precision=given.precision, compile=options["compile"])
    return Trainer(arm, store, Budget(steps=1e9), training, place / "run", device=given.device)


class Rounds:
    """Every work once a round, every other round backwards; prints options and machine.

    A ratio is the median over rounds of what one round measured: all saw the same machine.
    """

    def __init__(self, works: Mapping[str, Turn], given: argparse.Namespace, warm: int = 1) -> None:
        from benchmarks.match.recording import machine

        self.first = {name: work(warm) for name, work in works.items()}  # seconds
        orders = [list(works)[:: 1 if index % 2 else -1] for index in range(given.rounds)]
        steps = getattr(given, "steps", 1)
        self.rounds = [{name: works[name](steps) / steps for name in order} for order in orders]
        print(*(f"{name}={value}" for name, value in vars(given).items() if value))
        print(*(f"{name}: {value}" for name, value in machine(given.device).items()), sep=", ")

    def seconds(self, name: str) -> float:
        """Median seconds of a step."""
        return median(seconds[name] for seconds in self.rounds)

    def ratio(self, reference: str, name: str) -> float:
        """How many times as fast as the reference."""
        return median(seconds[reference] / seconds[name] for seconds in self.rounds)

    def reached(self, flops: float, name: str) -> str:
        """FLOP/s in words, beside those of the work `product`."""
        rate, limit = flops / self.seconds(name), 2 * SIDE**3 / self.seconds("product")
        return f"{rate / 1e9:.0f} of {limit / 1e9:.0f} GFLOP/s: {rate / limit:.1%}"


@contextmanager
def answering(
    module: str, *environments: Mapping[str, str], work: str = "step", folder: str = "."
) -> Iterator[Turn]:
    """The command with --answer WORK, a process an environment; they wait between their turns."""
    command = [sys.executable, "-m", module, *sys.argv[1:], "--answer", work]
    pipes: Any = {"text": True, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": folder}
    processes = [subprocess.Popen(command, env=os.environ | e, **pipes) for e in environments]

    def turn(count: int) -> float:
        for process in processes:
            print(count, file=process.stdin, flush=True)
        lines = [process.stdout.readline() for process in processes if process.stdout]
        if not all(lines):
            raise SystemExit(f"{module} --answer ended: see above")
        return max(map(float, lines))

    try:
        yield turn
    finally:
        for process in processes:
            process.communicate()


def answer(turn: Turn) -> None:
    """The other side: a line in is a number of steps, a line out their seconds."""
    for line in sys.stdin:
        print(turn(int(line)), flush=True)
