"""stats.jsonl: what a line holds, and that a killed run's lines are each step once."""

import json

import pytest

from crossflow.budget import Budget
from crossflow.checkpoint import FIELDS, Journal


def lines(path):
    return list(map(json.loads, path.read_text().splitlines()))


def test_a_line_holds_what_is_documented(toy, tmp_path):
    toy.make_trainer(tmp_path, budget=Budget(steps=1)).run()
    (line,) = lines(tmp_path / "crossflow/stats.jsonl")
    assert set(line) == set(FIELDS)


@pytest.mark.parametrize("saved", [4, 6])
@pytest.mark.parametrize(
    "torn", [b"", b'{"steps": 9, "lo', b"\0\0\0\0", b'\xff\xfe{}\n{"steps": 7}\n']
)
def test_a_resumed_run_has_each_logged_step_once(toy, tmp_path, saved, torn):
    """Lines every 3 steps, a checkpoint on and off that grid, and what a kill leaves at the end."""
    trainer = toy.make_trainer(tmp_path, log_every=3)
    for step in range(1, 8):
        trainer.step()
        if step == saved:
            trainer.save()
    path = tmp_path / "crossflow/stats.jsonl"
    assert [line["steps"] for line in lines(path)] == [3, 6]
    with path.open("ab") as file:
        file.write(torn)
    del trainer
    resumed = toy.make_trainer(tmp_path, log_every=3)
    assert resumed.resume()
    assert [line["steps"] for line in lines(path)] == ([3] if saved == 4 else [3, 6])
    resumed.run()
    found = lines(path)
    assert [line["steps"] for line in found] == [3, 6, 9, 10]
    seconds = [line["device_seconds"] for line in found]
    assert seconds == sorted(seconds)
    assert all(line["samples_per_second"] > 0 for line in found)


def test_a_run_killed_before_its_first_checkpoint_starts_with_no_line(toy, tmp_path):
    trainer = toy.make_trainer(tmp_path)
    trainer.step()
    del trainer
    again = toy.make_trainer(tmp_path)
    assert not again.resume()
    assert (tmp_path / "crossflow/stats.jsonl").read_text() == ""


def test_lines_are_on_the_disk_before_the_checkpoint_is(toy, tmp_path, monkeypatch):
    """Else a power cut could leave a checkpoint whose lines are gone."""
    happened = []
    trainer = toy.make_trainer(tmp_path)
    trainer.step()
    monkeypatch.setattr("crossflow.files.os.fsync", lambda handle: happened.append("fsync"))
    monkeypatch.setattr("crossflow.checkpoint.write", lambda *a: happened.append("checkpoint"))
    trainer.save()
    assert happened == ["fsync", "checkpoint"]


def test_a_line_must_be_finite(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        Journal(tmp_path / "stats.jsonl").write({"steps": 1, "loss": float("nan")})
