"""What fails in one of two processes ends or fails the match: nobody waits, no number is wrong."""

import os
import subprocess
import sys

import pytest

METHOD = """
import os
import torch
from baselines import flow_matching
from baselines.flow_matching import FlowMatching, applies

NAME = "{name}"

class Own(FlowMatching):
    def __init__(self, problem, size):
        super().__init__(problem, size)
        if "{name}" == "half" and os.environ["RANK"] == "1":
            raise OSError("no such file here")
        self.register_buffer("mean", torch.zeros(1))

    def train_ends(self, pair, draws):
        if not pair.target.is_meta:
            self.mean.copy_(pair.target.mean())
        return super().train_ends(pair, draws)

method = Own
"""


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("half", "process 0: {}; process 1: {'half': 'half: OSError: no such file here"),
        ("buffered", "buffered failed: buffered: buffers method.mean differ between processes"),
    ],
)
def test_a_method_that_differs_between_processes(tmp_path, name, line):
    (tmp_path / f"{name}.py").write_text(METHOD.format(name=name))
    words = f"""-m torch.distributed.run --nproc-per-node 2 -m benchmarks.run task=depth_tabletop
        task.limit=8 task.train_limit=16 task.validation_limit=8 training.batch=8 budget.steps=2
        sampling.steps=1 quick=true methods=flow_matching+{name} method_file={tmp_path}/{name}.py
        out={tmp_path}/out work={tmp_path}/work"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words.split()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert line in done.stderr
