"""Seconds and peak memory of reports on many records, each report in a process of its own.

The records are synthetic and as large as real ones (about 10 kB: a chain of training ids with its
marks, eleven scores, the throughput of every half minute). They are matches of three arms and two
framing rows: four tasks, five seeds, as many budgets as it takes.

    python -m benchmarks.perf.report_records --records 10000 --reports leaderboard tables
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Literal

from benchmarks import keys, records
from benchmarks.conf.schema import Config

PRIMARY = {
    "caption_tabletop": "scene_f1",
    "depth_tabletop": "absrel_object",
    "sr_tabletop": "kid_tabletop@1000",
    "t2i_tabletop": "scene_score",
}
BETTER: dict[str, Literal["higher", "lower"]] = {
    "caption_tabletop": "higher",
    "depth_tabletop": "lower",
    "sr_tabletop": "lower",
    "t2i_tabletop": "higher",
}
ROWS = ("floor", "oracle", "regression", "flow_matching", "crossflow")
SEEDS = 5
MARKS = 54
WINDOWS = 80


def synthetic(total: int) -> Iterator[records.Record]:
    """`total` records, whole matches as far as they go; their values are random, from seed 0."""
    draw = random.Random(0)
    places = (
        (budget, task, seed, method)
        for budget in count(1)
        for task in PRIMARY
        for seed in range(SEEDS)
        for method in ROWS
    )
    for _ in range(total):
        yield _record(draw, *next(places))


def _record(draw: random.Random, budget: int, task: str, seed: int, method: str) -> records.Record:
    config = records.recorded_config(Config(seed=seed))
    config |= {"task": {"name": task}, "budget": {"flops": budget * 1e13}}
    primary = PRIMARY[task]
    score = keys.score_fields(
        task=task,
        version=1,
        split="iid",
        items="1" * 16,
        truth="2" * 16,
        protocols={"metric": 1},
        primary=primary,
    )
    arm = method not in ("floor", "oracle")
    fair = _fair(score, budget) if arm else None
    run_id = keys.run_id(task, method, config)
    return records.Record(
        run_id=run_id,
        match=run_id.replace(f"-{method}-", "-"),
        kind="run",
        task=task,
        method=method,
        status="completed",
        score_key=keys.digest(score),
        fair_key=keys.digest(fair) if fair else None,
        fair=records.Fair(score=score, fair=fair, proof=_proof(draw) if arm else {}),
        config=config,
        scores={
            name: records.Score(
                value=draw.gauss(0.5, 0.05), stderr=0.01, n=1000, better=BETTER[task]
            )
            for name in (primary, *(f"other{number}" for number in range(10)))
        },
        unavailable={},
        model=_model() if arm else None,
        budget=_budget(budget) if arm else None,
        source=None,
        volatile=_volatile(draw),
    )


def _fair(score: dict[str, Any], budget: int) -> dict[str, Any]:
    return keys.fair_fields(
        score,
        budget_kind="flops",
        budget_limit=budget * 1e13,
        model="T",
        batch=64,
        precision="bf16",
        track="defaults",
        codecs={},
        trials=0,
        largest_nfe=64,
        null_rate=0.1,
        draws=1,
        ema="power function, relative width 0.1",
    )


def _proof(draw: random.Random) -> dict[str, Any]:
    """A chain of training ids as a run of MARKS * 64 steps leaves it; the same for every arm."""
    marks = {
        str(64 * step): hashlib.sha256(str(step).encode()).hexdigest() for step in range(1, MARKS)
    }
    return {
        "training_ids": {"every": 64, "marks": marks, "steps": 64 * MARKS, "value": "e" * 64},
        "same_ids_as": dict.fromkeys(ROWS[2:], True),
        "training_data": "0" * 64,
        "evaluation_flops_ratio_to_crossflow": 1 + 0.01 * draw.random(),
    }


def _model() -> records.Model:
    return records.Model(
        size="T",
        params=2_804_848,
        params_encoder=343_520,
        evaluation_flops=2.2e8,
        sample_flops=7.1e9,
        solver="heun",
        nfe=32,
        guidance=1.0,
        network={"depth": 8, "width": 128, "heads": 4, "mlp_hidden": 512},
    )


def _budget(number: int) -> records.Budget:
    limit = number * 1e13
    return records.Budget(
        kind="flops", limit=limit, steps=10, samples=640, train_flops=limit, convention="a MAC is 2"
    )


def _volatile(draw: random.Random) -> records.Volatile:
    return records.Volatile(
        created="2026-01-01T00:00:00+00:00",
        command="python -m benchmarks.run",
        device="cpu",
        devices=1,
        threads=1,
        device_seconds=2400 * draw.random(),
        host={"clock": "valid", "throughput_windows": [draw.random() for _ in range(WINDOWS)]},
        versions={"python": "3", "torch": "2"},
    )


def measure(report: str, out: Path) -> tuple[float, float]:
    """(seconds, peak memory in MB) of one report; RuntimeError where it fails."""
    command = [sys.executable, "-m", "benchmarks.report", report, "--out", str(out)]
    started = time.perf_counter()
    process = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{report} failed: see above")
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there
    return time.perf_counter() - started, usage.ru_maxrss * unit / 1e6


def main() -> None:
    """Prints what each report took."""
    parser = argparse.ArgumentParser(description="Time reports on synthetic records.")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--reports", nargs="+", default=["leaderboard"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        size = 0
        for record in synthetic(options.records):
            path = records.record_path(out, record.task, record.run_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            # records.write waits for the disk after each file, which takes longer than the reports
            size += path.write_text(json.dumps(record.dump(), indent=1, sort_keys=True))
        print(f"{options.records} records, {size / options.records / 1e3:.1f} kB each")
        for report in options.reports:
            seconds, memory = measure(report, out)
            print(f"{report}: {seconds:.1f} s, {memory:.0f} MB")


if __name__ == "__main__":
    main()
