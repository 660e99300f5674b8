"""The code that CONTRIBUTING and the README show: as files in the tree, and as files outside."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.config import command
from benchmarks.records.record import read_all

REPOSITORY = Path(__file__).parents[1]
EXAMPLES = REPOSITORY / "tests" / "examples"
METHODS = {"ot_flow_matching": 35, "offset_noise": 15}  # lines at most
TINY = ("task.train_limit=24", "task.validation_limit=4", "task.limit=4", "training.batch=8")
TINY += ("sampling.steps=2", "sampling.solver=euler", "budget.samples=16", "device=cpu")


@pytest.fixture
def call(tmp_path):
    """call(*arguments) -> the records of a run that trains nearly nothing."""

    def trained(*arguments):
        places = [f"out={tmp_path / 'out'}", f"work={tmp_path / 'work'}"]
        assert command.run(run.job, [*TINY, *places, *arguments], command="run") == 0
        records = {record.method: record for record in read_all(tmp_path / "out")}
        assert all(record.status == "completed" for record in records.values())
        return records

    return trained


@pytest.mark.parametrize("name", METHODS)
def test_methods_outside_the_tree(call, tmp_path, name):
    path = tmp_path / f"{name}.py"
    shutil.copy(EXAMPLES / path.name, path)
    assert len(path.read_text().splitlines()) <= METHODS[name]
    records = call("methods=flow_matching", f"method_file={path}", "task=depth_tabletop")
    own, base = records[name], records["flow_matching"]
    assert own.fair_key == base.fair_key
    assert own.budget.train_flops == base.budget.train_flops
    assert own.scores != base.scores, "the example trains another flow"


def test_files_in_the_tree(tmp_path):
    """A copy of the packages with the examples in it: the folder listing is the registry."""
    for package in ("benchmarks", "baselines", "crossflow"):
        shutil.copytree(REPOSITORY / package, tmp_path / package)
    for name in METHODS:
        shutil.copy(EXAMPLES / f"{name}.py", tmp_path / "baselines")
    line = [sys.executable, "-m", "benchmarks.run", *TINY, "task=depth_tabletop"]
    line += [f"methods={'+'.join(METHODS)}", "out=out", "work=work"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    records = {record.method: record for record in read_all(tmp_path / "out")}
    assert set(METHODS) < set(records)
