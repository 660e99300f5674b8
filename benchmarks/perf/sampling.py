"""Guided sampling: images/s of the harness over the two-pass loop in fp32, timed by turns.

python -m benchmarks.perf.sampling --model T --tokens 64 --batch 64

The reference evaluates both branches one after the other in fp32 and mixes them, step by step, with
Euler's rule. Every ratio is the median over rounds; encoding and decoding are in neither.
"""

import math
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.match.sampling import Sampler
from benchmarks.perf import turns
from benchmarks.perf.training_step import CHANNELS, tabletop
from crossflow import crossflow
from crossflow.arm import Arm, build_arm, example_pair
from crossflow.draws import ItemDraws
from crossflow.method import Ends
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
    given = turns.options(__doc__, model="T", tokens=64, batch=64, nfe=2).parse_args()
    problem = tabletop(*[math.isqrt(given.tokens)] * 2)
    arm = build_arm(crossflow, problem, given.model).to(given.device).eval()
    with torch.no_grad():
        pair = example_pair(problem, given.batch, given.device)
        ends = arm.method.sample_ends(pair.source, ItemDraws(0, range(given.batch)))
    loops: dict[str, Any] = {"two passes": partial(two_pass, arm, ends, given.nfe)}
    statistics = {"target": {"mean": [0.0] * CHANNELS, "std": [1.0] * CHANNELS}}
    store: Any = SimpleNamespace(statistics=statistics)
    for precision in ("fp32", "bf16"):
        grid = Grid(given.nfe, "euler")
        sampler = Sampler(grid, given.batch, 0, given.device, precision=precision)
        loops[precision] = partial(sampler.follow, arm, store, ends, GUIDANCE)
    works = {name: turns.of(loop, given.device) for name, loop in loops.items()}
    rounds = turns.Rounds(works, given)
    for precision in ("fp32", "bf16"):
        ratio = rounds.ratio("two passes", precision)
        print(f"images/s over two passes in fp32: {ratio:.2f} in {precision}")


if __name__ == "__main__":
    turns.command(main)
