"""A whole match through the command line: what it leaves, that it repeats, that it survives."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import records, run
from benchmarks.conf import command
from crossflow.order import is_prefix

TINY = [
    "task=depth_tabletop",
    "task.train_limit=48",
    "task.validation_limit=8",
    "task.limit=6",
    "training.batch=8",
    "sampling.steps=2",
    "sampling.solver=euler",
    "budget.samples=32",
]
METHODS = ("floor", "oracle", "regression", "flow_matching", "crossflow")


def call(*arguments: str) -> int:
    return command.run(run.job, [*TINY, *arguments], command="run")


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> tuple[Path, Path]:
    """(out, work) of one finished match."""
    folder = tmp_path_factory.mktemp("match")
    out, work = folder / "out", folder / "work"
    assert call(f"out={out}", f"work={work}") == 0
    return out, work


def by_method(out: Path) -> dict[str, records.Record]:
    return {record.method: record for record in records.read_all(out)}


def test_every_row_has_its_files(places):
    out, work = places
    found = by_method(out)
    assert set(found) == set(METHODS)
    for method, record in found.items():
        name = record.run_id
        with (out / "items" / "depth_tabletop" / f"{name}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 6
        mean = sum(float(row["absrel"]) for row in rows) / 6
        assert record.scores["absrel"].value == pytest.approx(mean, rel=1e-12)
        sheet = out / "samples" / "depth_tabletop" / f"{name}.png"
        assert 1_000 < sheet.stat().st_size <= 300_000
        folder = work / "depth_tabletop" / name
        assert len(list((folder / "predictions").glob("*.npy"))) == 6
        trained = method not in ("floor", "oracle")
        assert (folder / "weights.safetensors").exists() == trained
    assert len(list((work / "depth_tabletop").glob("*/grid.png"))) == 1


def test_the_oracle_is_perfect_and_the_floor_is_not(places):
    found = by_method(places[0])
    assert found["oracle"].scores["absrel_object"].value < 1e-4
    assert found["floor"].scores["absrel_object"].value > 0.2


def test_arms_are_equal_but_for_the_method(places):
    found = by_method(places[0])
    arms = [found[name] for name in METHODS[2:]]
    assert len({record.score_key for record in found.values()}) == 1
    assert len({record.fair_key for record in arms}) == 1
    assert found["floor"].fair_key is None
    chains = [record.fair.proof["training_ids"] for record in arms]
    assert chains[0] == chains[1] == chains[2]
    assert all(is_prefix(chains[0], chain) for chain in chains)
    for record in arms:
        assert record.budget is not None
        assert record.budget.samples == 32
        assert abs(float(str(record.fair.proof["params_ratio_to_crossflow"])) - 1) <= 0.05
        assert abs(float(str(record.fair.proof["evaluation_flops_ratio_to_crossflow"])) - 1) <= 0.05


def test_the_ledgers_add_up(places):
    record = by_method(places[0])["crossflow"]
    assert record.volatile.ledgers["train"] == pytest.approx(record.volatile.device_seconds)
    assert record.volatile.ledgers["eval"] > 0


def test_the_same_command_trains_nothing_and_prints_the_table(places, capsys):
    out, work = places
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    before |= {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert call(f"out={out}", f"work={work}") == 0
    printed = capsys.readouterr()
    assert "absrel_object" in printed.out
    assert "crossflow" in printed.out
    assert printed.out.count("record: ") == len(METHODS)
    assert "nothing to do" in printed.err
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_equal_runs_in_other_places_leave_equal_records(places, tmp_path):
    out = tmp_path / "elsewhere, ü=[1]"
    assert call(f"out={out}", f"work={tmp_path / 'w ö'}") == 0
    first, second = by_method(places[0]), by_method(out)
    for method in METHODS:
        assert first[method].stable() == second[method].stable()


def test_our_predictions_score_the_same_as_anybodys(places, tmp_path):
    from benchmarks import evaluate

    out, work = places
    record = by_method(out)["crossflow"]
    predictions = work / "depth_tabletop" / record.run_id / "predictions"
    arguments = ["task=depth_tabletop", "task.limit=6", f"predictions={predictions}", "name=mine"]
    arguments += [f"out={tmp_path / 'out'}", f"work={work}"]
    assert command.run(evaluate.job, arguments, command="evaluate") == 0
    scored = by_method(tmp_path / "out")["mine"]
    assert scored.kind == "evaluation"
    assert scored.fair_key is None
    assert scored.score_key == record.score_key
    assert scored.scores == record.scores


def test_predictions_of_another_split_are_refused(places, tmp_path, capsys):
    from benchmarks import evaluate

    out, work = places
    predictions = work / "depth_tabletop" / by_method(out)["crossflow"].run_id / "predictions"
    arguments = ["task=depth_tabletop", "task.limit=6", "task.split=crowd"]
    arguments += [f"predictions={predictions}", f"out={tmp_path / 'out'}", f"work={work}"]
    assert command.run(evaluate.job, arguments, command="evaluate") == 2
    assert "6 of 6 files" in capsys.readouterr().err
    assert not (tmp_path / "out" / "records").exists()


def test_resume_false_makes_new_records(places):
    out, work = places
    only = ["methods=crossflow"]
    assert call(*only, f"out={out}", f"work={work}") == 0
    assert call(*only, "resume=false", f"out={out}", f"work={work}") == 0
    names = [path.stem for path in (out / "records" / "depth_tabletop").glob("*crossflow*")]
    assert sum(name.endswith("-2") for name in names) == 1


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("track=tuned", "track=tuned"),
        ("check=true", "check=true"),
        ("predictions=x", "benchmarks.evaluate"),
        ("task.root=x", "task.root=x: depth_tabletop does not use it"),
        ("task.scale=2", "task.scale=2: depth_tabletop does not use it"),
        ("task.size=48", "this task takes 32, 64"),
        ("device=tpu", "device=tpu"),
    ],
)
def test_what_would_be_ignored_is_refused(tmp_path, capsys, argument, said):
    assert call(argument, f"out={tmp_path / 'out'}", f"work={tmp_path / 'work'}") == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["flow_matching", "crossflow"])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, method):
    """SIGKILL in the middle of training, then the same command: as if nothing had happened."""
    arguments = [
        *TINY,
        f"methods={method}",
        "budget.samples=160",
        "training.checkpoint_seconds=0.1",
    ]

    def start(name: str) -> subprocess.Popen:
        places = [f"out={tmp_path / name / 'out'}", f"work={tmp_path / name / 'work'}"]
        line = [sys.executable, "-m", "benchmarks.run", *arguments, *places]
        return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    whole = start("whole")
    assert whole.wait(300) == 0, whole.stderr.read().decode()
    killed = start("killed")
    deadline = time.monotonic() + 300
    while not list((tmp_path / "killed").glob("work/*/*/checkpoints/last.safetensors")):
        assert killed.poll() is None, killed.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(int.from_bytes(os.urandom(1), "little") / 255)  # anywhere in the training
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    again = start("killed")
    assert again.wait(300) == 0, again.stderr.read().decode()
    for name in ("whole", "killed"):
        assert by_method(tmp_path / name / "out")[method].budget.samples == 160
    first, second = (by_method(tmp_path / name / "out")[method] for name in ("whole", "killed"))
    assert first.stable() == second.stable()
    files = [
        next((tmp_path / name).glob("work/*/*/weights.safetensors")).read_bytes()
        for name in ("whole", "killed")
    ]
    assert files[0] == files[1]


def test_a_method_that_does_not_apply_is_named(tmp_path, capsys):
    """Regression gives the mean image of a caption: it is no arm of text to image."""
    arguments = ["task=t2i_tabletop", "methods=regression", "task.train_limit=16", "task.limit=4"]
    arguments += ["task.validation_limit=4", f"out={tmp_path / 'o'}", f"work={tmp_path / 'w'}"]
    assert command.run(run.job, [*TINY[4:], *arguments], command="run") == 2
    assert "regression" in capsys.readouterr().err
    assert not (tmp_path / "o" / "records").exists()


def test_a_failed_arm_leaves_a_failed_record(tmp_path, packages_method):
    out, work = tmp_path / "out", tmp_path / "work"
    places = [f"out={out}", f"work={work}", f"method_file={packages_method}"]
    assert call("methods=crossflow", *places) == 1
    found = by_method(out)
    assert found["crossflow"].status == "completed"
    assert found["explodes"].status == "failed"
    assert "not finite" in str(found["explodes"].volatile.error)
    path = records.record_path(out, "depth_tabletop", found["explodes"].run_id)
    assert json.loads(path.read_text())["scores"] == {}


@pytest.fixture
def packages_method(tmp_path) -> Path:
    """A user's method file whose loss is infinite."""
    path = tmp_path / "explodes.py"
    path.write_text(
        '"""A method that fails."""\n'
        "from baselines.regression import Regression\n\n"
        'NAME = "explodes"\n\n\n'
        "def applies(problem):\n    return None\n\n\n"
        "class Explodes(Regression):\n"
        "    def path(self, x0, x1, t):\n"
        "        xt, ut = super().path(x0, x1, t)\n"
        "        return xt, ut * float('inf')\n\n\n"
        "def method(problem, size, **options):\n    return Explodes(problem, size)\n"
    )
    return path
