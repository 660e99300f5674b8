"""What a run refuses; `check=true` from end to end, against the references of the checkout."""

import csv
import re
from pathlib import Path

import pytest

from benchmarks.report import command as report
from benchmarks.report import references
from tests.match import tiny


def call(out: Path, work: Path, *arguments: str) -> int:
    return tiny.call("methods=crossflow", f"out={out}", f"work={work}", *arguments)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout whose references come from one run, and that run's place."""
    root = tmp_path_factory.mktemp("checkout")
    (root / "results" / "public").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(references, "REPOSITORY", root)
        assert call(root / "out", root / "work") == 0
        assert report.main(["check", "--out", str(root / "out"), "--accept"]) == 0
        yield root


@pytest.fixture
def edited(checkout):
    """edited(change): the reference file with change(row) done to every row; undone afterwards."""
    file = checkout / "results" / "public" / "expected.csv"
    kept = file.read_text()

    def edit(change):
        with file.open(newline="") as stream:
            rows = [change(row) for row in csv.DictReader(stream)]
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, references.COLUMNS)
            writer.writeheader()
            writer.writerows(row for row in rows if row is not None)

    yield edit
    file.write_text(kept)


def test_a_fresh_run_is_compared(checkout, tmp_path, edited, capsys):
    out = tmp_path / "out"
    assert call(out, checkout / "work", "check=true") == 0
    printed = capsys.readouterr().out
    assert printed.count("record: ") == 3
    assert "depth_tabletop crossflow absrel_object (" in printed
    assert "same machine and seed" in printed
    assert re.search(r" 54 against .*expected\.csv: 54 ok$", printed.splitlines()[-1])

    def better(row):
        if (row["method"], row["metric"]) == ("crossflow", "absrel_object"):
            row["values"] = str(float(row["values"]) - 0.01)
        return row

    # The run is finished: what follows only compares.
    edited(better)
    assert call(out, checkout / "work", "check=true") == 1
    (told,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("regressed ")]
    assert "worse by 0.01" in told
    assert tiny.by_method(out)["crossflow"].status == "completed", (
        "a regression is no failure of the run"
    )
    edited(lambda row: row | {"floor": "x"})
    assert call(out, checkout / "work", "check=true") == 2
    assert "line 2: column floor 'x'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "field"),
    [
        ("training.lr=0.002", "fair.rules.training.lr: 0.002 / 0.001"),
        ("task.train_limit=40", "frame.train_limit: 40 / 48"),
        ("task.limit=5", "score.items: "),
    ],
)
def test_another_protocol_is_refused_before_the_first_step(
    checkout, tmp_path, capsys, argument, field
):
    before = set((checkout / "work" / "depth_tabletop").iterdir())
    assert call(tmp_path / "out", checkout / "work", "check=true", argument) == 2
    error = capsys.readouterr().err
    assert field in error
    assert "of this protocol (this run / reference)" in error
    assert set((checkout / "work" / "depth_tabletop").iterdir()) == before, "no run has begun"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["floor", "crossflow"])
def test_an_arm_without_a_reference_is_refused(checkout, tmp_path, edited, capsys, method):
    edited(lambda row: None if row["method"] == method else row)
    assert call(tmp_path / "out", checkout / "work", "check=true") == 2
    assert f"has no reference of depth_tabletop {method}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_file_of_references(checkout, tmp_path, capsys, monkeypatch):
    (tmp_path / "results" / "public").mkdir(parents=True)
    monkeypatch.setattr(references, "REPOSITORY", tmp_path)
    assert call(tmp_path / "out", checkout / "work", "check=true") == 2
    assert "No such file or directory" in capsys.readouterr().err
    monkeypatch.setattr(references, "REPOSITORY", tmp_path / "installed")
    assert call(tmp_path / "out", checkout / "work", "check=true") == 2
    assert "`report check --against`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("track=tuned", "track=tuned"),
        ("task.root=x", "task.root=x: depth_tabletop does not use it"),
        ("task.size=48", "this task takes 32, 64"),
        ("device=tpu", "device=tpu"),
    ],
)
def test_what_would_be_ignored_is_refused(tmp_path, capsys, argument, said):
    assert call(tmp_path / "out", tmp_path / "work", argument) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_guidance_without_a_null_branch_is_refused(tmp_path, capsys):
    """It would change nothing but the fair_key; only the quick preset gives it to all its tasks."""
    places = tmp_path / "o", tmp_path / "w"
    assert call(*places, "sampling.guidance=7") == 2
    assert "sampling.guidance=7: depth_tabletop trains no null rows" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert call(*places, "sampling.guidance=2", "quick=true") == 0
