"""The command line of reports: what it writes, prints and refuses, and that it starts fast."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import command, files
from crossflow.errors import InputError

REPOSITORY = Path(__file__).parents[2]


def test_reports_are_written_and_named(record, written, capsys):
    out = written([record(), record("floor", value=0.9), record(task="sr_tabletop")])
    assert command.main(["leaderboard", "--out", str(out)]) == 0
    assert command.main(["tables", "--out", str(out)]) == 0
    expected = ["runs.csv", "leaderboard.csv", "evaluations.csv", "tables/overview.md"]
    for task in ("depth_tabletop", "sr_tabletop"):
        expected += [f"tables/{task}.{kind}" for kind in ("md", "csv", "tex")]
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
        (["tables", "--out", "~nosuchuser/x"], "no records under ~nosuchuser/x"),
    ],
)
def test_a_mistake_is_one_line(arguments, said, capsys):
    assert command.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert len(printed.err.splitlines()) == 1


BLOCKED = """
import sys
from benchmarks.report import command, files
from crossflow.errors import InputError
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


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a//b", ".x", "a b", "a\nb", ""])
def test_what_is_no_plain_name_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(InputError, match="is no file name"):
        files.write({"good.csv": "x", name: "y"}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_of_a_record_cannot_lead_a_report_elsewhere(record, written, capsys, monkeypatch):
    def figures(records, out):
        return {f"figures/{records[0].fair.fair['model']}.pdf": b""}

    monkeypatch.setitem(command.DERIVED, "figures", figures)
    out = written([record(fair={"model": "/../../../x"})])
    assert command.main(["figures", "--out", str(out)]) == 2
    assert "is no file name" in capsys.readouterr().err
    assert not list(out.parent.rglob("*.pdf"))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*a"):
        files.write({"a/b.csv": "x"}, tmp_path)


@pytest.mark.parametrize("report", ["leaderboard", "check"])
def test_a_closed_pipe_is_no_failure(record, written, report):
    """`report ... | head` reads nothing, or one line: all files are there, and the status is 0."""
    out = written([record()])
    main = "import sys; from benchmarks.report.command import main; sys.exit(main())"
    arguments = [report, "--out", str(out)]
    if report == "check":
        arguments += ["--accept", "--against", str(out / "expected.csv")]
    run = subprocess.Popen(
        [sys.executable, "-c", main, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    run.stdout.close()
    error = run.stderr.read().decode()
    run.stderr.close()
    assert (run.wait(60), error) == (0, "")
    assert (out / ("expected.csv" if report == "check" else "leaderboard.csv")).stat().st_size
