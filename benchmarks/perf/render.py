"""How many scenes a second the embedded world draws, and how that compares with a matrix product.

The rate alone says as much about the machine as about the renderer; the ratio to a product of two
matrices timed in the same run carries over between machines:

    python -m benchmarks.perf.render --scenes 256 --threads 2
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from benchmarks.tabletop.captions import captions
from benchmarks.tabletop.render import depth_map, render
from benchmarks.tabletop.scenes import indices, scene

REPEATS = 3
SIDE = 512  # of the matrices of the reference


def seconds(work: Callable[[], object]) -> float:
    """The shortest of a few timings: other programs can only make it longer."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Prints the rates of scenes, captions, pictures and depth maps."""
    parser = argparse.ArgumentParser(description="Time the renderer of the embedded world.")
    parser.add_argument("--scenes", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ids = indices("train", options.scenes)
    scenes = [scene(int(i)) for i in ids]
    matrix = torch.ones(SIDE, SIDE)
    product = seconds(lambda: [matrix @ matrix for _ in range(20)]) / 20
    works: dict[str, Callable[[], object]] = {
        "scene()": lambda: [scene(int(i)) for i in ids],
        "captions()": lambda: [captions(s) for s in scenes],
        "render() at 64": lambda: render(scenes, 64),
        "render() at 32": lambda: render(scenes, 32),
        "depth_map() at 64": lambda: depth_map(scenes, 64),
    }
    print(f"{options.threads} threads, {len(scenes)} scenes; reference: {SIDE}^3 product")
    for name, work in works.items():
        each = seconds(work) / len(scenes)
        print(f"{name:18s} {1 / each:8.0f} a second, each {each / product:6.2f} products")


if __name__ == "__main__":
    main()
