"""The code that CONTRIBUTING and the README show: as files in the tree, and as files outside."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import run
from benchmarks.config import command
from benchmarks.records import samples
from benchmarks.records.record import read_all
from benchmarks.tasks import paired_folder

REPOSITORY = Path(__file__).parents[1]
EXAMPLES = REPOSITORY / "tests" / "examples"
METHODS = {"minibatch_ot": 35, "offset_noise": 15}  # lines at most
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


def folder_of_pairs(root):
    """Twelve pictures a split in `a`, and the same with their channels exchanged in `b`."""
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for number in range(12):
            coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((48, 40))
            for side, image in (("a", picture), ("b", Image.merge("RGB", picture.split()[::-1]))):
                path = root / split / side / f"{number:02d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path)
    return root


@pytest.fixture
def pairs(tmp_path):
    """The fields of a run on such a folder; quick: there are no weights for its primary score."""
    root = folder_of_pairs(tmp_path / "pairs")
    return [f"task.root={root}", "task.size=32", "quick=true"]


def test_a_task_of_paired_folders(call, pairs):
    assert len(Path(paired_folder.__file__).read_text().splitlines()) <= 60
    for side in "ab":  # counted, not taken in silence as if it were not there
        (Path(pairs[0].partition("=")[2]) / "test" / side / "left.tif").touch()
    records = call("task=paired_folder", "methods=crossflow", *pairs)
    oracle, floor = records["oracle"], records["floor"]
    assert floor.fair.proof["counts"]["files_left_out"] == 2
    assert oracle.scores["psnr_rgb"].value == 80, "in pixels the oracle is the truth itself"
    assert 3 < floor.scores["psnr_rgb"].value < 40
    assert "weights.inception" in oracle.unavailable["kid@4"]


def test_a_task_outside_the_tree(call, pairs, tmp_path):
    path = tmp_path / "my_pairs.py"
    shutil.copy(paired_folder.__file__, path)
    records = call(f"task_file={path}", "methods=crossflow", *pairs)
    assert {record.task for record in records.values()} == {"my_pairs"}


def test_a_variant_of_a_task_outside_the_tree(call, pairs, tmp_path):
    key = call(f"task_file={EXAMPLES / 'colours.py'}", "methods=crossflow", *pairs)[
        "floor"
    ].score_key
    ends = [samples.path_of(tmp_path / "out", "colours", f"{end}-{key}") for end in samples.ENDS]
    source, truth = (np.stack(samples.read(path).cells) for path in ends)
    assert np.ptp(source, -1).max() == 0
    assert np.ptp(truth, -1).max() > 50


def copied(folder):
    """A training pair is a scored one by another name."""
    for side in "ab":
        shutil.copy(folder.parent / "test" / side / "03.png", folder / side / "07.png")


def widened(folder):
    """The centre squares of a pair no longer show the same."""
    path = folder / "b/03.png"
    Image.open(path).resize((60, 40)).save(path)


@pytest.mark.parametrize(
    ("split", "spoil", "said"),
    [
        ("val", lambda folder: (folder / "a/03.png").unlink(), "alone: 03"),
        ("test", lambda folder: (folder / "a/03.png").unlink(), "alone: 03"),
        ("val", copied, "in the training split too: 07"),
        ("train", copied, "in the training split too: 07"),
        ("test", widened, "03: a is (40, 48, 3), b (40, 60, 3)"),
    ],
)
def test_folders_that_hold_no_pairs_are_refused(pairs, tmp_path, capsys, split, spoil, said):
    spoil(tmp_path / "pairs" / split)
    line = [*TINY, *pairs, "task=paired_folder", "task.limit=12", "task.train_limit=12"]
    places = [f"out={tmp_path / 'o'}", f"work={tmp_path / 'w'}", "task.validation_limit=12"]
    assert command.run(run.job, [*line, *places], command="run") == 2
    assert said in capsys.readouterr().err
