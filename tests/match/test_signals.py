"""Signals through the command line: they end it in order, and the same command goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.match.tiny import TINY, by_method, places

LINE = [*TINY, "methods=flow_matching+crossflow", "training.checkpoint_seconds=1e6"]
STEPS = [f"step {number} of {arm}" for arm in ("flow_matching", "crossflow") for number in range(4)]
MOMENTS = {  # what is being called, and which call of it
    "encoding": "crossflow.store_writer _Writer._write 2",
    "training": "crossflow.train Trainer.step 6",
    "sampling": "benchmarks.match.sampling Sampler.follow 2",
    "scoring": "benchmarks.match.job Match.scored 4",
}
INNER = """
import importlib, os, runpy, sys
from crossflow.train import Trainer

number, module, name, count, *sys.argv = sys.argv[1:]
owner, name = name.split(".")
owner = getattr(importlib.import_module(module), owner)
left, step = [int(count)], Trainer.step

def stepped(trainer):
    print(f"step {trainer.spent.steps} of {trainer.name}", flush=True)
    step(trainer)

Trainer.step = stepped
call = getattr(owner, name)

def called(*given, **options):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), int(number))
    return call(*given, **options)

setattr(owner, name, called)
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def start(folder: Path, number: int, moment: str) -> tuple[int, list[str], str]:
    """Status, training steps and stderr of a command that gets a signal (0: none) at a moment."""
    inner = [sys.executable, "-c", INNER, str(number), *MOMENTS[moment].split(), "benchmarks.run"]
    process = subprocess.run(
        [*inner, *LINE, *places(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    steps = [line for line in process.stdout.splitlines() if line.startswith("step ")]
    return process.returncode, steps, process.stderr


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    assert start(folder, 0, "training")[:2] == (0, STEPS)
    return folder


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if "hydra" not in p.parts}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_at_any_moment_and_the_same_command(tmp_path, unbroken, name, moment):
    """No step is trained twice, and what is left is what the unbroken command leaves."""
    number = getattr(signal, name)
    status, before, error = start(tmp_path, number, moment)
    assert status == 128 + number, error
    assert error.splitlines()[-1].endswith(f"interrupted by {name}; the same command continues")
    assert "Traceback" not in error
    assert len(before) == {"encoding": 0, "training": 6}.get(moment, 8)
    assert not [path for path in files(tmp_path) if path.endswith(("partial", "lock"))]
    status, after, error = start(tmp_path, 0, moment)
    assert (status, before + after) == (0, STEPS), error
    assert files(tmp_path) == files(unbroken)
    expected = by_method(unbroken / "out")
    for method, record in by_method(tmp_path / "out").items():
        assert record.stable() == expected[method].stable()
