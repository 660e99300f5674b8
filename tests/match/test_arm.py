"""Arms with options, arms that fail, arms that are interrupted: through the command line."""

import csv
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch import nn

from benchmarks import run
from benchmarks.match import crew
from crossflow.train import Trainer
from tests.match.tiny import TINY, by_method, call, places


def test_an_ablation_is_one_match(tmp_path, capsys):
    """Two arms of one method: same rows, one table, each with its own options in its record."""
    arms = ["methods=crossflow+cf_sin", "arm.cf_sin.method=crossflow", "arm.cf_sin.path=sin_cos"]
    assert call(*places(tmp_path), *arms, "arm.cf_sin.lr=0.002") == 0
    rows = by_method(tmp_path / "out")
    plain, sine = rows["crossflow"], rows["cf_sin"]
    assert plain.fair_key == sine.fair_key, "an arm's own options, its rate too, are its own"
    assert plain.fair.proof["training_ids"] == sine.fair.proof["training_ids"]
    assert plain.scores != sine.scores
    network = [record.model.network for record in (plain, sine)]
    assert [laws["path"] for laws in network] == ["linear", "sin_cos"]
    assert [laws["times"] for laws in network] == ["logit_normal"] * 2
    options = sine.config["arm"]["cf_sin"]
    assert options.items() >= {"method": "crossflow", "path": "sin_cos", "lr": 0.002}.items()
    assert "crossflow" not in plain.config["arm"]
    assert {"crossflow", "cf_sin"} <= set(capsys.readouterr().out.split()), "one table"
    before = by_method(tmp_path / "out")
    assert call(*places(tmp_path), *arms, "arm.cf_sin.lr=0.002") == 0
    assert by_method(tmp_path / "out") == before


WRONG = '''
"""A method that fails where its option says."""
import sys
from dataclasses import dataclass

import torch

from baselines.regression import Regression

NAME = "wrong"


@dataclass
class Options:
    where: str = "nowhere"  # the call that fails


def applies(problem):
    return None


class Wrong(Regression):
    def train_ends(self, pair, draws):
        ends = super().train_ends(pair, draws)
        if self.where == "train":
            sys.exit(0)
        if self.where == "shape":
            torch.ones(2) + torch.ones(3)
        if self.where == "memory":
            raise MemoryError
        return ends

    def path(self, x0, x1, t):
        xt, ut = super().path(x0, x1, t)
        return xt, ut * float("inf") if self.where == "infinite" else ut

    def sample(self, net, ends, grid, guidance=1.0):
        if self.where == "sample":
            raise KeyError("no such row")
        return super().sample(net, ends, grid, guidance)


def method(problem, size, where):
    if where == "build":
        raise ValueError("cannot be built")
    made = Wrong(problem, size)
    made.where = where
    return made
'''


def test_a_methods_mistake_stops_its_arm_alone(tmp_path, capsys):
    """Whatever the method does, and wherever: recorded with file and line, the others go on."""
    (tmp_path / "wrong.py").write_text(WRONG.lstrip())
    said = {
        "build": "ValueError: cannot be built",
        "train": "SystemExit: 0",
        "shape": "RuntimeError: The size of tensor a",
        "memory": "MemoryError",
        "sample": "KeyError: 'no such row'",
    }
    said["infinite"] = "loss or gradient is not finite at step 0"
    arms = [f"arm.{where}.{o}" for where in said for o in ("method=wrong", f"where={where}")]
    arms += [f"methods={'+'.join(said)}+crossflow", f"method_file={tmp_path / 'wrong.py'}"]
    assert call(*places(tmp_path), *arms) == 1
    rows = by_method(tmp_path / "out")
    assert rows["crossflow"].status == "completed"
    lines = WRONG.lstrip().splitlines()
    for where, reason in said.items():
        error = rows[where].volatile.error
        assert (rows[where].status, rows[where].scores) == ("failed", {})
        assert f"{where}: {reason}" in error
        if where != "infinite":
            number = int(error.rpartition("wrong.py, line ")[2].rstrip(")"))
            assert any(w in lines[number - 1] for w in ("raise", "sys.exit", "torch.ones")), error
    assert "Traceback" in next(tmp_path.glob("work/*/*/train.log")).read_text()
    assert rows["build"].budget.steps == rows["train"].budget.steps == 0
    assert rows["sample"].budget.samples == 32


def test_a_full_disk_keeps_the_checkpoint_and_the_same_command_goes_on(tmp_path, monkeypatch):
    """The system refuses the second checkpoint; then there is room again."""
    line = ["methods=regression", "training.checkpoint_seconds=0.0001"]
    save, step, steps = Trainer.save, Trainer.step, []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def save_once(trainer):
        save(trainer)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))

    def counted(trainer):
        steps.append(trainer.spent.steps)
        step(trainer)

    monkeypatch.setattr(Trainer, "step", counted)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", save_once)
        try:
            assert call(*places(tmp_path), *line) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    failed = by_method(tmp_path / "out")["regression"]
    assert failed.status == "failed" and "File too large" in failed.volatile.error
    assert call(*places(tmp_path), *line) == 0
    assert steps == [0, 1, 1, 2, 3], "from the first checkpoint on"
    assert by_method(tmp_path / "out")["regression"].budget.samples == 32


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_writes_a_checkpoint_and_ends(tmp_path, number):
    arguments = [*TINY[:-1], "methods=flow_matching+crossflow", "budget.samples=8e5"]
    with (tmp_path / "stderr").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.run", *arguments, *places(tmp_path)],
            stderr=log,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            env={**os.environ, "PYTHONPATH": str(Path(run.__file__).parents[1])},
        )
    runs, deadline = tmp_path / "work" / "depth_tabletop", time.monotonic() + 120
    while not any(path.stat().st_size for path in runs.glob("*-flow_matching-*/stats.jsonl")):
        assert process.poll() is None, (tmp_path / "stderr").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not list(runs.glob("*/checkpoints/last.safetensors"))
    process.send_signal(number)
    process.send_signal(number)  # as torchrun passes on what its processes had themselves
    assert process.wait(60) == 128 + number
    assert len(list(runs.glob("*-flow_matching-*/checkpoints/last.safetensors"))) == 1
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def test_guidance_and_curve_are_measured_on_validation(tmp_path, monkeypatch):
    """Without a weight the same grid is tried for the arm; every trial stands in the curves. What
    both of them ask for is sampled once."""
    sampled, predict = [], crew.predict
    monkeypatch.setattr(crew, "predict", lambda *a: sampled.append(a[2]) or predict(*a))
    arguments = ["task=t2i_tabletop", "methods=crossflow", "task.train_limit=16", "task.limit=4"]
    arguments += ["task.validation_limit=4", "sampling.steps=1", "sampling.curve=[1,2]"]
    assert call(*places(tmp_path), *arguments, base=TINY[4:]) == 0
    record = by_method(tmp_path / "out")["crossflow"]
    tried = record.fair.proof["guidance_trials"]
    assert {1.0, 1.5, 2.0, 3.0, 4.0} <= set(tried)
    assert record.model is not None
    assert record.model.guidance in tried
    assert record.model.nfe == (1 if record.model.guidance == 1 else 2)
    assert record.volatile.ledgers["tuning"] > 0
    assert record.scores["scene_score"].n == 4
    assert record.scores["sum_score"].n == 3, "what the task drew besides is in the record"
    with (tmp_path / "out/curves" / "t2i_tabletop" / f"{record.run_id}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["guidance"]) for r in rows if r["sweep"] == "guidance"] == tried
    assert [int(r["steps"]) for r in rows if r["sweep"] == "steps"] == [1, 2]
    assert sampled == ["validation"] * (len(tried) + 1) + ["test"]
    assert {r["metric"] for r in rows} == {"scene_score"}
    assert {int(r["n"]) for r in rows} == {4}


def test_what_is_trained_compiled_is_sampled_compiled(tmp_path, monkeypatch):
    compiled = list[bool]()
    monkeypatch.setattr(nn.Module, "compile", lambda net: compiled.append(net.training))
    assert call(*places(tmp_path), "methods=flow_matching", "training.compile=true") == 0
    assert compiled == [True, True, False], "the network, the copy that warms up, the average"


def test_a_primary_score_that_cannot_be_computed_is_refused_before_training(tmp_path, capsys):
    assert call(*places(tmp_path), "task=sr_tabletop", "methods=crossflow", base=TINY[1:]) == 2
    assert "which ranks the arms of sr_tabletop, cannot be computed" in capsys.readouterr().err
    assert not (tmp_path / "out" / "records").exists()
    assert not list(tmp_path.rglob("stats.jsonl"))
