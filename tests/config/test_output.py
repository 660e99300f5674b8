"""What commands print: a reader that leaves early or knows other letters is no failure."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "words", ["benchmarks.list", "benchmarks.list --check", "benchmarks.run --help"]
)
def test_a_closed_pipe_is_no_failure(words):
    """`... | head -1`: the reader is gone before the first line."""
    arguments = [sys.executable, "-m", *words.split()]
    run = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run.stdout.close()
    error = run.stderr.read().decode()
    run.stderr.close()
    assert (run.wait(60) in (0, 1), error) == (True, "")


def test_a_terminal_of_other_letters_gets_question_marks(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    code = "from benchmarks.config.output import say; say(['a ↓', 2])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"a ?\n2\n"
