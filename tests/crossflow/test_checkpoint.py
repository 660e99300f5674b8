import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from crossflow import checkpoint
from crossflow.errors import InputError

CPU = torch.device("cpu")


def test_tensors_and_state_come_back_exactly(tmp_path):
    path = tmp_path / "checkpoints" / "last.safetensors"
    tensors = {"a": torch.randn(3, 4), "step": torch.tensor(7.0), "half": torch.randn(2).bfloat16()}
    state = {"loss": 0.1 + 0.2, "name": "ä", "none": None, "marks": {"1": "ff"}}
    checkpoint.write(path, tensors, state)
    read, back = checkpoint.read(path, CPU)
    assert back == state
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_shared_tensors_are_saved(tmp_path):
    weight = torch.randn(4)
    checkpoint.write(tmp_path / "c", {"a": weight, "b": weight}, {})
    read, _ = checkpoint.read(tmp_path / "c", CPU)
    assert torch.equal(read["a"], read["b"])


def test_an_interrupted_write_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.safetensors"
    checkpoint.write(path, {"a": torch.zeros(2)}, {"step": 1})

    def killed(tensors, temporary, metadata):
        temporary.write_bytes(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.write(path, {"a": torch.ones(2)}, {"step": 2})
    monkeypatch.undo()
    tensors, state = checkpoint.read(path, CPU)
    assert state == {"step": 1}
    assert torch.equal(tensors["a"], torch.zeros(2))
    # What was left behind is in nobody's way.
    checkpoint.write(path, {"a": torch.ones(2)}, {"step": 2})
    assert checkpoint.read(path, CPU)[1] == {"step": 2}


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "last.safetensors"
    checkpoint.write(path, {"a": torch.zeros(200)}, {})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"last\.safetensors cannot be read"):
        checkpoint.read(path, CPU)


def test_weights_alone_are_not_a_checkpoint(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="holds no training state"):
        checkpoint.read(tmp_path / "w.safetensors", CPU)


def test_non_finite_state_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        checkpoint.write(tmp_path / "c", {"a": torch.zeros(2)}, {"loss": float("nan")})


def test_identity_names_each_difference(tmp_path):
    saved = {"threads": 2, "batch": 64, "torch": "2.11.0"}
    checkpoint.check_identity(tmp_path, saved, dict(saved))
    with pytest.raises(InputError, match="batch was 64, is 32; threads was 2, is 1"):
        checkpoint.check_identity(tmp_path, saved, {**saved, "threads": 1, "batch": 32})
    with pytest.raises(InputError, match="clip was None, is 1"):
        checkpoint.check_identity(tmp_path, saved, {**saved, "clip": 1})


def test_optimizer_state_comes_back_exactly():
    def steps(module, optimizer, count):
        for k in range(count):
            optimizer.zero_grad()
            module(torch.full((2, 3), float(k))).square().mean().backward()
            optimizer.step()

    torch.manual_seed(0)
    one = nn.Linear(3, 3)
    first = torch.optim.AdamW(one.parameters(), lr=0.1)
    steps(one, first, 3)
    two = nn.Linear(3, 3)
    two.load_state_dict(one.state_dict())
    second = torch.optim.AdamW(two.parameters(), lr=0.1)
    # The names refer to the live moments; a file would hold copies.
    tensors = {name: t.clone() for name, t in checkpoint.optimizer_tensors(first).items()}
    checkpoint.load_optimizer(second, tensors)
    steps(one, first, 3)
    steps(two, second, 3)
    assert torch.equal(one.weight, two.weight)


def test_exported_weights_load_into_the_same_architecture_only(tmp_path):
    module, path = nn.Linear(3, 2), tmp_path / "weights.safetensors"
    checkpoint.export_weights(path, module, {"method": "toy"})
    same = nn.Linear(3, 2)
    checkpoint.load_weights(path, same)
    assert torch.equal(same.weight, module.weight)
    with pytest.raises(RuntimeError, match="size mismatch"):
        checkpoint.load_weights(path, nn.Linear(4, 2))


def test_prefixes_are_taken_off_again():
    tensors = {"w": torch.zeros(1), "ema.w": torch.ones(1)}
    joined = {**checkpoint.prefixed("arm", tensors), **checkpoint.prefixed("ema", tensors)}
    assert len(joined) == 4
    back = checkpoint.under("arm", joined)
    assert back.keys() == tensors.keys()
    assert torch.equal(back["ema.w"], torch.ones(1))
