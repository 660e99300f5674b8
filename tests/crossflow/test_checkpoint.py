"""Checkpoints are whole or not there; a killed run's lines are each step once."""

import json

import pytest
import torch
from safetensors.torch import save_file

from crossflow import checkpoint
from crossflow.errors import InputError

CPU = torch.device("cpu")


def test_tensors_and_state_come_back_exactly(tmp_path):
    path = tmp_path / "checkpoints" / "last.safetensors"
    weight = torch.randn(3, 4)
    groups = {
        "arm": {"a": weight, "half": torch.randn(2).bfloat16(), "ema.a": torch.ones(1)},
        "": {"a": weight},  # shares memory, as tied weights do
        "optimizer/0": {"step": torch.tensor(7.0)},
    }
    state = {"loss": 0.1 + 0.2, "name": "ä", "none": None, "marks": {"1": "ff"}}
    checkpoint.write(path, groups, state)
    read, back = checkpoint.read(path, CPU)
    assert back == state
    assert read.keys() == groups.keys()
    for group, tensors in groups.items():
        assert read[group].keys() == tensors.keys()
        assert all(torch.equal(read[group][name], value) for name, value in tensors.items())
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_broken_file_weights_alone_and_numbers_that_are_not_finite_are_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    checkpoint.write(path, {"arm": {"a": torch.zeros(200)}}, {"steps": 11})
    whole = path.read_bytes()
    # Cut off, a weight that has another bit, a number of the state too.
    for damaged in (whole[:-50], whole[:-1] + b"\1", whole.replace(b": 11", b": 12")):
        assert damaged != whole
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"last\.safetensors cannot be .*delete it to start"):
            checkpoint.read(path, CPU)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match=r"KeyError.*delete it to start again"):
        checkpoint.read(path, CPU)
    with pytest.raises(ValueError, match="JSON"):
        checkpoint.write(path, {"arm": {}}, {"loss": float("nan")})


def lines(path):
    return list(map(json.loads, path.read_text().splitlines()))


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


@pytest.mark.parametrize("damage", ["half", "first", "gone"])
def test_a_journal_that_lost_lines_is_put_aside_and_goes_on(toy, tmp_path, capsys, damage):
    trainer = toy.make_trainer(tmp_path, log_every=3)
    for _ in range(7):
        trainer.step()
    trainer.save()
    path = tmp_path / "crossflow/stats.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(
        {"half": first + second[:9], "first": b"?" + first + second, "gone": b""}[damage]
    )
    assert toy.make_trainer(tmp_path, log_every=3).resume()
    assert [line["steps"] for line in lines(path)] == {"half": [3], "first": [6], "gone": []}[
        damage
    ]
    told = (
        "stats.jsonl is damaged (lines before the checkpoint are lost): put aside as stats.jsonl.d"
    )
    assert told in capsys.readouterr().err


def test_a_run_killed_before_its_first_checkpoint_starts_with_no_line(toy, tmp_path):
    toy.make_trainer(tmp_path).step()
    assert not toy.make_trainer(tmp_path).resume()
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


def test_dropout_depends_on_seed_and_step_alone_and_the_global_generator_is_put_back():
    def drawn(seed, step, before):
        torch.manual_seed(before)
        state = torch.get_rng_state()
        with checkpoint.repeatable(seed, step, CPU):
            assert torch.are_deterministic_algorithms_enabled()
            numbers = torch.rand(4).tolist()
        assert torch.equal(torch.get_rng_state(), state)
        return numbers

    assert drawn(0, 3, before=1) == drawn(0, 3, before=2)
    assert drawn(0, 3, before=1) != drawn(0, 4, before=1) != drawn(1, 4, before=1)
    assert not torch.are_deterministic_algorithms_enabled()
