"""Commands in an empty folder."""

import pytest

from benchmarks import evaluate, prepare, run
from benchmarks.config import command

COMMANDS = {"run": run.job, "prepare": prepare.job, "evaluate": evaluate.job}


@pytest.fixture
def issue(tmp_path, monkeypatch, capsys):
    """issue(command, *fields) in an empty folder -> (status, stdout, stderr lines)."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def call(name, *fields):
        status = command.run(COMMANDS[name], list(fields), command=name)
        printed = capsys.readouterr()
        return status, printed.out, printed.err.splitlines()

    return call
