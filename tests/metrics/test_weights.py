"""Files of weights: found where they are said to be, read as plain tensors, never run."""

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.metrics.weights import find_file, read_tensors, used_digest
from crossflow.errors import InputError

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2, dtype=torch.float16)}


def test_a_file_or_the_one_file_of_a_folder(tmp_path):
    def refused(given, match):
        with pytest.raises(InputError, match=rf"weights\.x={given}: {match}.*; it is published"):
            find_file("weights.x", str(given), "net*", "it is published there")

    refused(tmp_path, "no such files, need one")
    (tmp_path / "net.pth").touch()
    for given in (tmp_path, tmp_path / "net.pth"):
        found = find_file("weights.x", str(given), "net*", "")
        assert found == (tmp_path / "net.pth", hashlib.sha256(b"").hexdigest())
    reason = "weights.x is not set: a network"
    assert find_file("weights.x", None, "net*", "a network") == (None, reason)
    (tmp_path / "net.npz").touch()
    refused(tmp_path, r"2 such files, need one \(in a folder: net\*\)")
    refused("/" + "x" * 5000, "no such files")
    assert used_digest((None, reason)) is None and used_digest(found) == found[1]


class Evil:
    def __reduce__(self):
        return print, ("code was run",)


def test_all_kinds_of_files_give_the_same_tensors(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    np.savez(tmp_path / "b.npz", **{name: value.numpy() for name, value in STATE.items()})
    torch.save(STATE, tmp_path / "c.pth")
    for path in tmp_path.iterdir():
        found = read_tensors("weights.x", path)
        assert found.keys() == STATE.keys()
        assert all(torch.equal(found[n], STATE[n]) for n in STATE), path
        assert all(found[n].dtype == STATE[n].dtype for n in STATE), path


@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore:.*TorchScript archive")
@pytest.mark.parametrize(
    "kind",
    ["cut.safetensors", "cut.npz", "evil.pt", "script.pt", "lost.pt", "list.pt", "numbers.pt"],
)
def test_a_file_that_is_damaged_or_a_program_is_not_read(tmp_path, capsys, kind):
    path = tmp_path / kind
    if kind == "cut.safetensors":
        save_file(STATE, path)
    elif kind == "cut.npz":
        np.savez(path, a=np.zeros(1000))
    elif kind in (objects := {"evil.pt": {"a": Evil()}, "list.pt": [1], "numbers.pt": {"a": 1}}):
        torch.save(objects[kind], path)
    elif kind == "script.pt":
        traced = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
        torch.jit.save(traced, str(path))
    if kind.startswith("cut"):
        path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(InputError, match=rf"weights\.x: .*{kind} holds no plain tensors") as error:
        read_tensors("weights.x", path)
    assert "\n" not in str(error.value)
    assert "code was run" not in capsys.readouterr().out
