"""Two processes (gloo, CPU) give what one does: losses, scores, and a run handed to and fro."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.match import crew
from benchmarks.match.sampling import Sampler
from benchmarks.records import record as records
from crossflow import world
from crossflow.budget import Training
from crossflow.errors import InputError
from crossflow.solver import Grid

METHODS = ("crossflow", "flow_matching")
SMALL = "task.limit=100 task.train_limit=64 task.validation_limit=100 training.batch=16"
STEPS = "budget.steps=50 sampling.steps=2 sampling.guidance=2 quick=true"
ONE, TWO = (
    [sys.executable],
    [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"],
)
TOLERANCE = 1e-5  # relative, of losses; 2e-7 was measured
OF_SCORES = 3e-3  # of weights whose last bits differ: 1e-3 was measured, of the judge's probability


def start(processes: list[str], folder: Path, task: str, *given: str) -> subprocess.Popen:
    """`run` of the task, with data shared by all runs of a test."""
    words = f"task={task} methods={'+'.join(METHODS)} {SMALL} {STEPS} training.checkpoint_seconds=9"
    places = [f"out={folder}/out", f"work={folder}/work"]
    command = [*processes, "-m", "benchmarks.run", *words.split(), *places, *given]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_PROC_BIND": "false"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> int:
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0 or "interrupted by SIGTERM" in errors, errors
    return process.returncode


def journal(folder: Path, method: str) -> list[dict]:
    (path,) = folder.glob(f"work/*/*-{method}-s0-*/stats.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_same(one: Path, other: Path, devices: int) -> None:
    for method in METHODS:
        lines = zip(journal(one, method), journal(other, method), strict=True)
        for mine, theirs in lines:
            assert mine["steps"] == theirs["steps"]
            assert theirs["loss"] == pytest.approx(mine["loss"], rel=TOLERANCE)
            assert theirs["grad_norm"] == pytest.approx(mine["grad_norm"], rel=1e-3)
    paths = sorted((one / "out" / "records").glob("*/*.json"))
    assert len(paths) == 4
    for path in paths:
        mine, theirs = records.read(path), records.read(other / path.relative_to(one))
        assert theirs.volatile.devices == devices
        assert (mine.fair_key, mine.score_key) == (theirs.fair_key, theirs.score_key)
        for name, score in mine.scores.items():
            assert theirs.scores[name].value == pytest.approx(
                score.value, rel=OF_SCORES, abs=1e-6
            ), name


def stop_at(process: subprocess.Popen, folder: Path, method: str, steps: int) -> None:
    """Asks a run to end once a method has done so many steps."""
    for _ in range(1200):
        time.sleep(0.1)
        found = list(folder.glob(f"work/*/*-{method}-s0-*/stats.jsonl"))
        if found and len(found[0].read_text().splitlines()) * 10 >= steps:
            break
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGTERM)
    assert finish(process) != 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("task", "option"),
    [
        ("t2i_tabletop", "guidance=autoguidance"),
        ("t2i_tabletop", "training=separate"),
        ("depth_tabletop", "training=two_stage"),
    ],
)
def test_two_processes_train_and_score_as_one(tmp_path, task, option):
    """In stages too, where parameters have no gradient for some time."""
    one, given = tmp_path / "one", f"arm.crossflow.{option}"
    assert finish(start(ONE, one, task, given)) == 0
    for how in ("ddp", "fsdp"):
        other = tmp_path / how
        assert finish(start(TWO, other, task, given, f"parallel={how}")) == 0
        assert_same(one, other, 2)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_goes_from_one_process_to_two_and_back(tmp_path):
    unbroken, handed = tmp_path / "unbroken", tmp_path / "handed"
    assert finish(start(ONE, unbroken, "depth_tabletop")) == 0
    stop_at(start(ONE, handed, "depth_tabletop"), handed, "crossflow", 10)
    stop_at(start(TWO, handed, "depth_tabletop", "parallel=fsdp"), handed, "crossflow", 30)
    assert finish(start(ONE, handed, "depth_tabletop")) == 0
    assert_same(unbroken, handed, 1)


def test_a_batch_that_processes_cannot_share_is_refused(monkeypatch):
    monkeypatch.setattr(world, "size", lambda: 3)
    with pytest.raises(InputError, match=r"batch=64: not a multiple of the 3 processes$"):
        world.divided(Training(), "ddp")
    with pytest.raises(InputError, match=r"batch=6: .* the 3 processes times .*accumulate=6"):
        world.divided(Training(batch=6, accumulate=6), "ddp")
    with pytest.raises(InputError, match="accumulate=2: not with parallel=fsdp; use"):
        world.divided(Training(batch=6, accumulate=2), "fsdp")


def test_an_adaptive_solver_sees_the_batches_of_one_process(monkeypatch):
    """All rows of a batch take the steps of its hardest: other batches, other samples and nfe."""
    shares = {}
    monkeypatch.setattr(world, "size", lambda: 2)
    for solver in ("heun", "dopri5"):
        sampler = Sampler(Grid(1, solver), batch=4, seed=0, device="cpu")
        for rank in (0, 1):
            monkeypatch.setattr(world, "rank", lambda rank=rank: rank)
            shares[solver, rank] = crew.share(14, sampler)
    assert (shares["heun", 0], shares["heun", 1]) == (range(7), range(7, 14))
    assert (shares["dopri5", 0], shares["dopri5", 1]) == (range(8), range(8, 14))
