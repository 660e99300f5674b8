"""How long it takes to score depth maps with one worker, and with all cores, in the same run.

As many predictions (float32 .npy) and truths (uint16 PNG) as NYU's test split has are written to a
temporary folder and scored as `benchmarks.evaluate` does it: read, checked, all scores.

    python -m benchmarks.perf.score_depth --maps 654
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.lazy import OnDemand
from benchmarks.metrics.depth import depth_scores
from benchmarks.metrics.pool import available_cores
from benchmarks.predictions import DepthPredictions, write_depth
from benchmarks.tasks.depth_protocol import (
    NYU_SCALE,
    DepthFrame,
    load_depth,
    nyu_protocol,
    write_depth_png,
)

SIZE = (480, 640)


def write(folder: Path, count: int) -> list[DepthFrame]:
    """Truths and predictions that differ by noise and an offset; a tenth of the truth unknown."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    frames = []
    for number in range(count):
        shape = np.sin(rows / 97 + number) + np.cos(columns / 61 + number)
        truth = (4 + shape + 0.02 * random.standard_normal(SIZE)).astype(np.float32)
        noise = 0.05 * random.standard_normal(SIZE, dtype=np.float32)
        write_depth(folder / "predictions", f"{number:04d}", truth * 1.05 + noise)
        truth[random.random(SIZE, dtype=np.float32) < 0.1] = 0
        path = folder / f"{number:04d}.png"
        write_depth_png(path, truth)
        frames.append(DepthFrame(f"{number:04d}", path, path, ""))
    return frames


def score(folder: Path, frames: list[DepthFrame], workers: int) -> tuple[float, float]:
    """(seconds, AbsRel) of reading and scoring all maps."""
    started = time.perf_counter()
    ids = [frame.id for frame in frames]
    predictions = DepthPredictions(folder / "predictions", ids, [SIZE] * len(ids), NYU_SCALE)
    truths = OnDemand(lambda index: load_depth(frames[index]), len(frames))
    scored = depth_scores(ids, predictions, truths, nyu_protocol(), workers=workers)
    return time.perf_counter() - started, scored.scores["absrel"].value


def main() -> None:
    """Prints seconds, maps a second, and the gain; fails where the scores differ."""
    parser = argparse.ArgumentParser(description="Time the scoring of depth maps.")
    parser.add_argument("--maps", type=int, default=654)
    parser.add_argument("--workers", type=int, default=available_cores())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames = write(folder, options.maps)
        found = {workers: score(folder, frames, workers) for workers in (1, options.workers)}
    for workers, (seconds, absrel) in found.items():
        rate = options.maps / seconds
        print(f"{workers:2d} workers: {seconds:6.1f} s, {rate:6.1f} maps/s, absrel {absrel:.6f}")
    (alone, one), (together, other) = found[1], found[options.workers]
    print(f"{options.maps} maps of {SIZE[0]} x {SIZE[1]}: {alone / together:.2f} times as fast")
    if one != other:
        raise SystemExit(f"the scores differ: {one} and {other}")


if __name__ == "__main__":
    main()
