"""The command line of reports: what it writes, prints and refuses, and that it starts fast."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import command

REPOSITORY = Path(__file__).parents[2]


def test_reports_are_written_and_named(record, written, capsys):
    out = written([record(), record("floor", value=0.9), record(task="sr_tabletop")])
    assert command.main(["leaderboard", "--out", str(out)]) == 0
    assert command.main(["tables", "--out", str(out)]) == 0
    expected = ["runs.csv", "leaderboard.csv"]
    expected += ["tables/overview.md"]
    expected += [
        f"tables/{task}.{kind}"
        for task in ("depth_tabletop", "sr_tabletop")
        for kind in ("md", "csv", "tex")
    ]
    expected += ["tables/all.tex"]
    assert capsys.readouterr().out.split("\n")[:-1] == [str(out / name) for name in expected]
    assert "| floor" in (out / "tables/depth_tabletop.md").read_text()
    assert "crossflow" in (out / "runs.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["leaderboard", "--out", "nowhere"], "no records under nowhere/records"),
        (["poetry"], "invalid choice: 'poetry'"),
        ([], "required"),
        (["tables", "--into", "x"], "--into"),
        (["tables", "--out", "~nosuchuser/x"], "argument --out: ~nosuchuser/x: "),
        (["check", "--against", "~nosuchuser/x"], "argument --against: ~nosuchuser/x: "),
        (["check", "--junit", "~nosuchuser/x"], "argument --junit: ~nosuchuser/x: "),
    ],
)
def test_a_mistake_is_one_line(arguments, said, capsys):
    assert command.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert len(printed.err.splitlines()) == 1


def test_a_broken_record_is_named(record, written, capsys):
    out = written([record()])
    (path,) = out.rglob("*.json")
    path.write_text(path.read_text().replace('"seed"', '"sede"', 1).replace("null", "NaN", 1))
    assert command.main(["tables", "--out", str(out)]) == 2
    assert str(path) in capsys.readouterr().err


def test_an_out_that_cannot_be_written(record, written, capsys):
    out = written([record()])
    (out / "tables").write_text("a file")
    assert command.main(["tables", "--out", str(out)]) == 2
    assert "cannot write" in capsys.readouterr().err


BLOCKED = """
import sys
from benchmarks.report import command
heavy = {"torch", "torchvision", "hydra", "pandas", "scipy", "statsmodels", "matplotlib", "jinja2"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert command.main(["leaderboard", "--out", sys.argv[1]]) == 0
assert command.main(["tables", "--out", sys.argv[1]]) == 0
assert not {"torch", "hydra", "matplotlib"} & set(sys.modules)
"""


def test_reports_start_fast_and_need_no_torch(record, written, tmp_path):
    out = written([record(), record("floor", value=0.9)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED, str(out)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
