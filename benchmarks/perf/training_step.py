"""A training step: images/s of `Trainer.step` over the bare loop of its arm, timed by turns.

python -m benchmarks.perf.training_step --tokens 256 --precision bf16 --against CHECKOUT

The bare loop is forward, backward and optimizer on one batch that lies ready. With `--against` the
same arm is also built from another checkout of this repository, in a process that waits between its
turns. With `--compile` the same trainer also runs without, and the compiler's seconds are told.
Every ratio is the median over rounds, in which the machine's matrix rate is measured too.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch

ROWS, WORDS, VOCABULARY, CHANNELS = 512, 20, 39, 16  # as in t2i_tabletop
MATRIX = 2048  # side of the product that measures the machine's rate
# Where each name stands, here and in checkouts from 1fa912c on.
PLACES = {
    "Trainer": ("trainer", "train"),
    "Training": ("training", "budget"),
    "Budget": ("budget",),
    "build_arm": ("matching", "arm"),
    "method": ("coupling", "crossflow"),
    "training_loss": ("methods", "method"),
    **dict.fromkeys(("Problem", "TokenShape", "MapShape", "Pair", "Source"), ("problem",)),
    "StepDraws": ("draws",),
}
Turn = Callable[[int], float]  # does so many steps, gives their seconds


def names() -> SimpleNamespace:
    """What is timed, from whichever checkout this process imports."""
    found: dict[str, Any] = {}
    for name, places in PLACES.items():
        for place in places:
            try:
                module = importlib.import_module(f"crossflow.{place}")
            except ModuleNotFoundError:
                continue
            if hasattr(module, name):
                found[name] = module if name == "method" else getattr(module, name)
                break
        else:
            raise SystemExit(f"this checkout has no {name} in {places}")
    return SimpleNamespace(**found)


class Rows:
    """Random pairs of text and map in memory, as a trainer sees a store."""

    captions, digest, ids = 1, "random", [str(row) for row in range(ROWS)]

    def __init__(self, of: SimpleNamespace, problem: Any) -> None:
        draw = torch.Generator().manual_seed(0)
        self.of = of
        self.target = torch.randn(ROWS, *problem.target.sizes, generator=draw)
        self.words = torch.randint(VOCABULARY, (ROWS, WORDS), generator=draw)
        self.mask = torch.arange(WORDS) < torch.randint(8, WORDS, (ROWS, 1), generator=draw)

    def __len__(self) -> int:
        return ROWS

    def pairs(self, rows: Any, captions: Any = None) -> Any:
        source = self.of.Source(self.words[rows], self.mask[rows])
        return self.of.Pair(source, self.target[rows], torch.as_tensor(rows))


def timed(work: Callable[[], object], count: int, device: str) -> float:
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    for _ in range(count):
        work()
    wait()
    return time.perf_counter() - start


def build(given: argparse.Namespace, folder: Path) -> tuple[Any, dict[str, Turn]]:
    """The trainer, and turns of its loop, of the bare one and of one that is not compiled."""
    of, side = names(), math.isqrt(given.tokens)
    target = of.MapShape(CHANNELS, side, side)
    source = of.TokenShape(WORDS, vocabulary=VOCABULARY)
    problem = of.Problem(source, target, 1, "variational", "contrastive", 0.1)

    def trainer(name: str, compiled: bool = given.compile) -> Any:
        arm = of.build_arm(of.method, problem, given.model, batch=given.batch)
        settings = of.Training(
            batch=given.batch, precision=given.precision, compile=compiled, warmup=0.0
        )
        rows, budget = Rows(of, problem), of.Budget(steps=1e9)
        return of.Trainer(arm, rows, budget, settings, folder / name, device=given.device)

    ours, bare = trainer("ours"), trainer("bare")
    pair = bare.store.pairs(bare.order.step(0)[0]).to(given.device)
    draws = of.StepDraws(0, 0, range(given.batch), given.batch)
    net, method, half = bare.arm.net, bare.arm.method, given.precision == "bf16"

    def step() -> None:
        with torch.autocast(given.device, torch.bfloat16, enabled=half):
            loss = of.training_loss(net, method, pair, draws)
        bare.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        bare.optimizer.step()

    loops = {"ours": ours.step, "bare": step}
    if given.compile:
        ours.warm_up()
        loops["eager"] = trainer("eager", False).step
    turns = {name: partial(timed, loop, device=given.device) for name, loop in loops.items()}
    return ours, turns


def answer(given: argparse.Namespace) -> None:
    """The other checkout's side: a line in is a number of steps, a line out their seconds."""
    with tempfile.TemporaryDirectory() as folder:
        turn = build(given, Path(folder))[1]["ours"]
        for line in sys.stdin:
            print(turn(int(line)), flush=True)


def ask(checkout: str) -> tuple[subprocess.Popen[str], Turn]:
    """A process that trains from another checkout."""
    if not (Path(checkout) / "crossflow").is_dir():
        raise SystemExit(f"--against {checkout}: no checkout of this repository")
    command = [sys.executable, __file__, *sys.argv[1:], "--answer"]
    environment = os.environ | {"PYTHONPATH": checkout}
    process = subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def turn(count: int) -> float:
        assert process.stdin and process.stdout
        print(count, file=process.stdin, flush=True)
        return float(process.stdout.readline())

    return process, turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="T")
    parser.add_argument("--tokens", type=int, default=64, help="a square")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--steps", type=int, default=5, help="of a turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--against", help="another checkout")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.answer:
        answer(given)
    else:
        measure(given)


def measure(given: argparse.Namespace) -> None:
    """All turns of all rounds, and what they say."""
    dtype = torch.bfloat16 if given.precision == "bf16" else torch.float32
    square = torch.randn(MATRIX, MATRIX, dtype=dtype, device=given.device)
    product: Turn = lambda count: timed(lambda: square @ square, count, given.device)  # noqa: E731
    with tempfile.TemporaryDirectory() as folder:
        trainer, turns = build(given, Path(folder))
        turns["product"] = product
        if given.against:
            process, turns["against"] = ask(given.against)
        first = {name: turn(1) for name, turn in turns.items()}  # warm
        rounds = []
        for index in range(given.rounds):
            order = list(turns) if index % 2 else list(turns)[::-1]
            rounds.append({name: turns[name](given.steps) / given.steps for name in order})
        if given.against:
            process.communicate()
    rate = given.batch / median(seconds["ours"] for seconds in rounds)
    share = trainer.arm.cost.flops_train * rate
    peak = 2 * MATRIX**3 / median(seconds["product"] for seconds in rounds)
    threads = torch.get_num_threads()
    print(f"model {given.model}, {given.tokens} tokens, batch {given.batch}, {given.precision},")
    print(f"{given.device}, {threads} threads{', compiled' * given.compile}")
    print(f"images/s {rate:.1f}, {share / 1e9:.0f} of {peak / 1e9:.0f} GFLOP/s: {share / peak:.1%}")
    print(f"loop over bare: {median(s['ours'] / s['bare'] for s in rounds):.3f}")
    if given.compile:
        warmup, ratio = trainer.clock.seconds("warmup"), (s["ours"] / s["eager"] for s in rounds)
        print(f"compiled over eager: {median(ratio):.3f}, after {warmup:.1f} s of warm-up")
        print(f"first step of the run: {first['ours']:.1f} s")
    if given.against:
        print(f"images/s over the other's: {median(s['against'] / s['ours'] for s in rounds):.2f}")


if __name__ == "__main__":
    main()
