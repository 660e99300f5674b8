"""What fails in one of two processes ends or fails the match: nobody waits, no number is wrong."""

import json
import os
import subprocess

import pytest

from benchmarks.records.record import read_all
from tests.match.test_crew import TWO

METHOD = """
import os
from dataclasses import dataclass

import torch
from torch import nn

from baselines.flow_matching import FlowMatching, applies
from crossflow import checkpoint
from crossflow.errors import InputError

NAME = "faulty"
RANK = os.environ["RANK"]

@dataclass
class Options:
    fault: str = "none"

class method(FlowMatching):
    def __init__(self, problem, size, fault):
        super().__init__(problem, size)
        self.fault = fault
        if fault == "half" and RANK == "1":
            raise OSError("no such file here")
        if fault == "mistaken" and RANK == "1":
            raise InputError("no such file here")
        if fault == "buffered":
            self.register_buffer("mean", torch.zeros(1))
        if fault == "spared":
            self.spare = nn.Linear(3, 3)

    def train_ends(self, pair, draws):
        ends = super().train_ends(pair, draws)
        if self.fault == "buffered" and not pair.target.is_meta:
            self.mean.copy_(pair.target.mean())
        if self.fault == "local":
            ends.x0 = ends.x0 - ends.x0.mean(0)
        if draws.step == 1 and (self.fault == "raising" or self.fault == "alone" and RANK == "0"):
            raise ValueError("it broke")
        return ends
"""


def run(folder, faults, *given):
    """A match of an arm with each of the faults, then of flow_matching without any."""
    (folder / "faulty.py").write_text(METHOD)
    words = f"""-m benchmarks.run task=depth_tabletop
        task.limit=8 task.train_limit=16 task.validation_limit=8 training.batch=8 budget.steps=2
        sampling.steps=1 quick=true methods={"+".join(faults)}+flow_matching out={folder}/out
        work={folder}/work method_file={folder}/faulty.py"""
    arms = [f"arm.{name}.{word}" for name in faults for word in ("method=faulty", f"fault={name}")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*TWO, *words.split(), *arms, *given]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("half", "process 0: {}; process 1: {'half': 'half: OSError: no such file here"),
        ("mistaken", "run: error: no such file here (in process 1 of 2)"),
        ("alone", "AloneError: alone: ValueError: it broke"),
    ],
)
def test_what_fails_in_one_process_ends_all(tmp_path, fault, line):
    done = run(tmp_path, [fault])
    assert done.returncode == 1
    assert line in done.stderr
    assert not list(tmp_path.glob(f"out/records/*/*-{fault}-*.json"))


OTHERS = "floor", "oracle", "flow_matching"
FAULTS = {
    "buffered": "buffers method.mean differ between processes",
    "local": "the loss depends on which rows share a process",
    "spared": "no gradient reaches method.spare.weight, method.spare.bias: with",
    "raising": "ValueError: it broke",
}


@pytest.mark.parametrize(
    ("how", "faults"),
    [
        *(("parallel=ddp", [*FAULTS]), ("parallel=fsdp", [*FAULTS])),
        ("training.accumulate=2", ["spared"]),
    ],
)
def test_what_fails_in_all_costs_that_arm_alone(tmp_path, how, faults):
    done = run(tmp_path, faults, how)
    assert done.returncode == 1
    for name in faults:
        assert f"{name} failed: {name}: {FAULTS[name]}" in done.stderr
    assert "terminate" not in done.stderr
    assert "FutureWarning" not in done.stderr
    records = {record.method: record.status for record in read_all(tmp_path / "out")}
    assert records == dict.fromkeys(faults, "failed") | dict.fromkeys(OTHERS, "completed")
    (path,) = tmp_path.glob("work/*/*-flow_matching-s0-*/stats.jsonl")
    last = json.loads(path.read_text().splitlines()[-1])
    assert last["loss"] == pytest.approx(2.05140638, rel=1e-5)  # as in one process
    assert last["grad_norm"] == pytest.approx(1.47980344, rel=1e-5)
