"""A whole match through the command line, and what others make of its files."""

from pathlib import Path

import pytest

from benchmarks import evaluate, run
from benchmarks.config import command
from benchmarks.records import record as records

TINY = ["training.batch=8", "sampling.steps=1", "sampling.solver=euler", "budget.samples=16"]


@pytest.fixture
def match(tmp_path):
    """match(*fields) -> records by name, of a run whose files lie below `place`."""

    def run_match(*fields, place=tmp_path):
        places = [f"out={place / 'out'}", f"work={place / 'work'}"]
        assert command.run(run.job, [*TINY, *fields, *places], command="run") == 0
        return {record.method: record for record in records.read_all(place / "out")}

    return run_match


@pytest.fixture
def issue(tmp_path, monkeypatch, capsys):
    """issue(job, *fields) in an empty folder -> (status, last line of stderr)."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def call(job, *fields):
        status = command.run(job, list(fields), command=job.__module__.rpartition(".")[2])
        lines = capsys.readouterr().err.splitlines()
        return status, lines[-1] if lines else ""

    return call


@pytest.fixture
def refused(issue):
    """refused(job, *fields) -> the line that names a mistake; nothing is left behind."""

    def call(job, *fields):
        status, line = issue(job, *fields)
        assert (status, Path("results").exists()) == (2, False), line
        return line

    return call


@pytest.fixture
def scored_again(tmp_path):
    """scored_again(record, *fields): the files that a run left give its scores and its key."""

    def score(record, *fields):
        predictions = tmp_path / "work" / record.task / record.run_id / "predictions"
        places = [f"predictions={predictions}", "name=again", f"out={tmp_path / 'again'}"]
        places.append(f"work={tmp_path / 'w'}")
        assert command.run(evaluate.job, [*fields, *places], command="evaluate") == 0
        (again,) = records.read_all(tmp_path / "again")
        assert again.scores == record.scores
        assert again.score_key == record.score_key

    return score
