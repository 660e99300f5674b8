"""Files of reports: names are checked before anything is written, printing comes last."""

import subprocess
import sys

import pytest

from benchmarks.report import command, files
from crossflow.errors import InputError


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a//b", ".x", "a b", "a\nb", ""])
def test_what_is_no_plain_name_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(InputError, match="is no file name"):
        files.write({"good.csv": "x", name: "y"}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_of_a_record_cannot_lead_a_report_elsewhere(record, written, capsys, monkeypatch):
    figures = command.Derived(
        "", lambda records, out: {f"figures/{records[0].fair.fair['model']}.pdf": b""}
    )
    monkeypatch.setitem(command.DERIVED, "figures", figures)
    out = written([record(fair={"model": "/../../../x"})])
    assert command.main(["figures", "--out", str(out)]) == 2
    assert "is no file name" in capsys.readouterr().err
    assert not list(out.parent.rglob("*.pdf"))


def test_files_and_text_arrive(tmp_path):
    paths = files.write({"a/b.csv": "ü", "c.png": b"\x89"}, tmp_path)
    assert [path.read_bytes() for path in paths] == ["ü".encode(), b"\x89"]


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


def test_a_terminal_of_other_letters_gets_question_marks(capsysbinary, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    code = "from benchmarks.report.files import say; say(['a ↓', 2])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"a ?\n2\n"
