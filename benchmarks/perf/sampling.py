"""Guided sampling: images/s of the harness over the two-pass loop in fp32, timed by turns.

python -m benchmarks.perf.sampling --model T --tokens 64 --rows 64

The reference evaluates both branches one after the other in fp32 and mixes them, step by step, with
Euler's rule. Every ratio is the median over rounds; encoding and decoding are in neither.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.match.sampling import Sampler
from benchmarks.perf.training_step import CHANNELS, VOCABULARY, WORDS, timed
from crossflow import crossflow
from crossflow.arm import Arm, build_arm, example_pair
from crossflow.draws import ItemDraws
from crossflow.method import Ends
from crossflow.problem import MapShape, Problem, TokenShape
from crossflow.solver import Grid

GUIDANCE = 2.0


@torch.no_grad()
def two_pass(arm: Arm, ends: Ends, steps: int) -> torch.Tensor:
    """The reference loop."""
    x, kept = ends.x0, torch.zeros(len(ends.x0), dtype=torch.bool, device=ends.x0.device)
    for step in range(steps):
        t = torch.full((len(x),), step / steps, device=x.device)
        with_source, without = arm.net(x, t, None, kept), arm.net(x, t, None, ~kept)
        x = x + (GUIDANCE * with_source + (1 - GUIDANCE) * without) / steps
    return x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="T")
    parser.add_argument("--tokens", type=int, default=64, help="a square")
    parser.add_argument("--rows", type=int, default=64, help="of a batch")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    source, side = TokenShape(WORDS, vocabulary=VOCABULARY), math.isqrt(given.tokens)
    target = MapShape(CHANNELS, side, side)
    problem = Problem(source, target, 1, "variational", "contrastive", 0.1)
    arm = build_arm(crossflow, problem, given.model).to(given.device).eval()
    with torch.no_grad():
        pair = example_pair(problem, given.rows, given.device)
        ends = arm.method.sample_ends(pair.source, ItemDraws(0, range(given.rows)))
    turns: dict[str, Any] = {"two passes": partial(two_pass, arm, ends, given.steps)}
    statistics = {"target": {"mean": [0.0] * CHANNELS, "std": [1.0] * CHANNELS}}
    store: Any = SimpleNamespace(statistics=statistics)
    for precision in ("fp32", "bf16"):
        grid = Grid(given.steps, "euler")
        sampler = Sampler(grid, given.rows, 0, given.device, precision=precision)
        turns[precision] = partial(sampler.follow, arm, store, ends, GUIDANCE)
    for turn in turns.values():
        turn()  # warm
    rounds = []
    for index in range(given.rounds):
        order = list(turns) if index % 2 else list(turns)[::-1]
        rounds.append({name: timed(turns[name], 1, given.device) for name in order})
    print(f"model {given.model}, {given.tokens} tokens, {given.rows} rows, {given.device},")
    print(f"{torch.get_num_threads()} threads, {given.steps} steps")
    for precision in ("fp32", "bf16"):
        ratio = median(seconds["two passes"] / seconds[precision] for seconds in rounds)
        print(f"images/s over two passes in fp32: {ratio:.2f} in {precision}")


if __name__ == "__main__":
    main()
