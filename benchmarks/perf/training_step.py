"""A training step: images/s of `Trainer.step` over the bare loop of its arm, timed by turns.

python -m benchmarks.perf.training_step --tokens 256 --precision bf16 --against CHECKOUT

The bare loop is forward, backward and optimizer on one batch that lies ready. With --against the
same arm is also built from another checkout of this repository, from 1fa912c on, in a process that
waits between its turns; with --processes N also in N that share the batch (CPU, gloo, DDP), beside
N that each do a product of their own: the machine's limit. With --compile the same trainer also
runs without, and the compiler's seconds are printed.
"""

from __future__ import annotations

import argparse
import math
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.perf import turns
from crossflow.budget import Budget
from crossflow.draws import StepDraws
from crossflow.problem import MapShape, Problem, TokenShape
from crossflow.store_writer import write_store

ROWS, CAPTIONS, WORDS, VOCABULARY, CHANNELS = 512, 5, 20, 39, 16  # as in t2i_tabletop


def tabletop(height: int, width: int) -> Problem:
    """Text to image of the embedded world."""
    source, target = TokenShape(WORDS, vocabulary=VOCABULARY), MapShape(CHANNELS, height, width)
    return Problem(source, target, 1, "variational", "contrastive", 0.1)


def module(*names: str) -> Any:
    """The library's, by the first of its names, here and before, that this process can import."""
    return import_module(next(name for name in names if find_spec(name)))


def random_rows(target: MapShape, start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Pairs of words and map, for a store."""
    draw = np.random.default_rng(start)
    rows = {"ids": [str(row) for row in range(start, stop)], "groups": np.arange(start, stop)}
    rows["target"] = draw.standard_normal((stop - start, *target.sizes), dtype=np.float32)
    rows["source"] = draw.integers(VOCABULARY, size=(stop - start, CAPTIONS, WORDS))
    rows["mask"] = np.arange(WORDS) < draw.integers(8, WORDS, size=(stop - start, CAPTIONS, 1))
    yield rows


def build(given: argparse.Namespace, folder: Path) -> tuple[Any, dict[str, turns.Turn]]:
    """The trainer, and turns of its loop, of the bare one and of one that is not compiled."""
    problem = tabletop(*[math.isqrt(given.tokens)] * 2)
    method = module("crossflow.coupling", "crossflow.crossflow")
    build_arm = module("crossflow.matching", "crossflow.arm").build_arm
    training = module("crossflow.training", "crossflow.budget").Training
    settings = {"precision": given.precision, "warmup": 0.0}
    shapes = problem.source, problem.target
    store = write_store(folder / "store", *shapes, {}, ROWS, partial(random_rows, problem.target))

    def trainer(name: str, compiled: bool = given.compile) -> Any:
        arm = build_arm(method, problem, given.model, batch=given.batch)
        setting = training(given.batch, compile=compiled, **settings)
        of = arm, store, Budget(steps=1e9), setting, folder / name
        return module("crossflow.trainer", "crossflow.train").Trainer(*of, device=given.device)

    ours, bare = trainer("ours"), trainer("bare")
    pair = store.pairs(*bare.order.step(0)).to(given.device)
    draws = StepDraws(0, 0, range(given.batch), given.batch)
    half = torch.autocast(given.device, torch.bfloat16, enabled=given.precision == "bf16")
    training_loss = module("crossflow.methods", "crossflow.method").training_loss

    def step() -> None:
        with half:
            loss = training_loss(bare.arm.net, bare.arm.method, pair, draws)
        bare.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        bare.optimizer.step()

    loops = {"ours": ours.step, "bare": step}
    if given.compile:
        ours.warm_up()
        loops["eager"] = trainer("eager", False).step
    return ours, {name: turns.of(loop, given.device) for name, loop in loops.items()}


def group(size: int) -> list[dict[str, str]]:
    """What torchrun would tell each of so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(size)}
    return [shared | {"RANK": str(rank)} for rank in range(size)]


def compare(given: argparse.Namespace, folder: Path) -> None:
    works, count = {"product": turns.product(given)}, given.processes
    if count > 1:
        torch.set_num_threads(1)
    if given.answer == "product":
        return turns.answer(works["product"])
    if "RANK" in os.environ:
        module("crossflow.world").join(torch.device("cpu"))
    ours, loops = build(given, folder)
    works |= loops
    if given.answer:
        return turns.answer(works["ours"])
    with ExitStack() as stack:
        others = partial(turns.answering, "benchmarks.perf.training_step")
        if given.against:  # its library; all else from here
            (folder / "crossflow").symlink_to(Path(given.against, "crossflow").resolve())
            place = {"PYTHONPATH": str(Path(__file__).parents[2])}
            works["against"] = stack.enter_context(others(place, folder=str(folder)))
        if count > 1:
            works["many"] = stack.enter_context(others(*group(count)))
            works["products"] = stack.enter_context(others(*[{}] * count, work="product"))
        rounds = turns.Rounds(works, given)
    reached = rounds.reached(ours.arm.cost.flops_train * given.batch, "ours")
    print(f"images/s {given.batch / rounds.seconds('ours'):.1f}, {reached}")
    print(f"loop over bare: {rounds.ratio('ours', 'bare'):.3f}")
    if given.compile:
        ratio, seconds = rounds.ratio("ours", "eager"), ours.clock.seconds("warmup")
        print(
            f"seconds of a step, compiled over eager: {ratio:.3f}, after {seconds:.1f} s of warm-up"
        )
        print(f"first step of the run: {rounds.first['ours']:.1f} s")
    if given.against:
        print(f"images/s over the other's: {rounds.ratio('against', 'ours'):.2f}")
    if count > 1:
        limit = count * rounds.ratio("product", "products")
        print(f"{count} processes over one: {rounds.ratio('ours', 'many'):.2f} of {limit:.2f}")
    return None


def main() -> None:
    settings = {"model": "T", "tokens": 64, "batch": 64, "precision": "bf16", "compile": False}
    parser = turns.options(__doc__, steps=5, processes=1, against="", answer="", **settings)
    given = parser.parse_args()
    if given.against:
        turns.checkout(parser, "against", given.against, "crossflow")
    with tempfile.TemporaryDirectory() as folder:
        compare(given, Path(folder))


if __name__ == "__main__":
    turns.command(main)
