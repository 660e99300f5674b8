"""Weights that a user gives: folders, digests, and what is refused."""

import hashlib
import json

import pytest
import torch

from benchmarks.codecs.weights import in_batches, pretrained, weights_digest, weights_folder
from crossflow.errors import InputError

CLASSES = {"Tiny": "AutoencoderTiny"}


def test_a_last_batch_that_is_filled_up_gives_its_own_rows():
    """On a CPU a batch is one picture."""
    rows, seen = torch.arange(1.0, 7), []
    made = in_batches("codec", lambda part: seen.append(len(part)) or 2 * part, 4, rows)
    assert (made.tolist(), seen) == ([2, 4, 6, 8, 10, 12], [4, 4])


@pytest.fixture
def folder(tmp_path):
    import diffusers

    sizes = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    counts = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    diffusers.AutoencoderTiny(**sizes, **counts).save_pretrained(tmp_path / "tiny")
    change(tmp_path / "tiny", _class_name="Tiny")
    return tmp_path / "tiny"


def change(folder, **values):
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(config))


def read(folder):
    return pretrained(
        "weights.x", folder, "diffusers", "_class_name", CLASSES, "diffusion_pytorch_model"
    )


def refused(folder, match):
    with pytest.raises(InputError, match=match) as error:
        read(folder)
    assert "\n" not in str(error.value)


def test_reading_leaves_the_random_state(folder):
    before = torch.get_rng_state()
    kind, network, files = read(folder)
    assert kind == "Tiny"
    assert next(network.parameters()).shape[0] == 8
    assert [path.name for path in files] == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert torch.equal(before, torch.get_rng_state())


def test_what_is_no_such_network(folder):
    change(folder, _class_name="VQModel")
    refused(folder, "is of VQModel; can use Tiny")
    (folder / "config.json").write_text("[]")
    refused(folder, "is of None")
    (folder / "config.json").unlink()
    refused(folder, "is of None")


def test_weights_that_are_not_whole(folder):
    from safetensors.torch import load_file, save_file

    file = folder / "diffusion_pytorch_model.safetensors"
    whole, state = file.read_bytes(), load_file(file)
    # A lost parameter is not replaced by random numbers.
    del state["decoder.layers.0.weight"]
    save_file(state, file, metadata={"format": "pt"})
    refused(folder, r"lack decoder\.layers\.0\.weight")
    file.write_bytes(whole[:-1000])
    refused(folder, "cannot be read as AutoencoderTiny")
    file.rename(folder / "diffusion_pytorch_model.bin")
    refused(folder, r"no diffusion_pytorch_model\.safetensors; weights must be such files")


def test_weights_are_named_by_names_and_contents(tmp_path):
    files = [tmp_path / name for name in "ba"]
    for file in files:
        file.write_text(file.name)
    rows = "".join(f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in "ab")
    assert weights_digest(files) == hashlib.sha256(rows.encode()).hexdigest()


def test_a_folder_or_a_name_on_the_hub(tmp_path):
    assert weights_folder("weights.x", str(tmp_path), False, ["*"]) == tmp_path
    for name in ("/" + "x" * 5000, str(tmp_path / "absent")):
        with pytest.raises(InputError, match=r"weights\.x=.*: no such folder"):
            weights_folder("weights.x", name, True, ["*"])
    with pytest.raises(InputError, match="download=true"):
        weights_folder("weights.x", "owner/model", False, ["*"])
    with pytest.raises(InputError, match="could not be downloaded"):  # HF_HUB_OFFLINE is set
        weights_folder("weights.x", "owner/model", True, ["*"])
