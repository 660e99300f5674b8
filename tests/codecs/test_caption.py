"""The caption codec: captions survive the way to the latent and back."""

import os
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch

from benchmarks.codecs.caption import (
    CaptionCodec,
    CodecShape,
    accuracy,
    load_codec,
    save_codec,
    train_codec,
)
from crossflow.errors import InputError

SHAPE = CodecShape(vocabulary=20, length=8, channels=4, height=4, width=4, hidden=32, heads=2)


def captions(count, seed):
    """Rows of one to eight word ids, then padding."""
    draws = np.random.default_rng(seed)
    rows = np.zeros((count, SHAPE.length), dtype=np.int16)
    for row in rows:
        words = draws.integers(1, SHAPE.length + 1)
        row[:words] = draws.integers(1, SHAPE.vocabulary, size=words)
    return rows


@pytest.fixture(scope="module")
def trained():
    return train_codec(SHAPE, captions(2000, 0), captions(200, 1), steps=400)


def test_unseen_captions_come_back(trained):
    codec, cost = trained
    assert cost["samples"] == 400 * 64
    assert cost["token_accuracy"] == accuracy(codec, captions(200, 1)) > 0.95
    assert accuracy(CaptionCodec(SHAPE).eval(), captions(200, 1)) < 0.3


def test_the_same_captions_give_the_same_codec_and_leave_the_generator_alone():
    state, data = torch.get_rng_state(), captions(64, 0)
    first, second = (train_codec(SHAPE, data, data, steps=3)[0] for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_padding_says_nothing(trained):
    """Only words reach the latent: what stands under the padding mask does not."""
    codec = deepcopy(trained[0])
    ids = torch.tensor([[3, 4, 5, 0, 0, 0, 0, 0]])
    before = codec.encode(ids)[0]
    codec.embed.weight[0] += 1.0
    assert torch.allclose(before, codec.encode(ids)[0], atol=1e-6)


def test_to_disk_and_back(trained, tmp_path):
    save_codec(trained[0], tmp_path / "codec.safetensors")
    again = load_codec(tmp_path / "codec.safetensors", SHAPE)
    assert np.array_equal(trained[0].means(captions(16, 2)), again.means(captions(16, 2)))


def test_equal_weights_are_equal_files(tmp_path):
    """Their digest is in fair_key and in the names of stores."""
    script = (
        "import sys, torch\nfrom pathlib import Path\nfrom benchmarks.codecs import caption as c\n"
        "torch.manual_seed(0)\nshape = c.CodecShape(9, 4, 2, 2, 2, hidden=8, heads=2)\n"
        "c.save_codec(c.CaptionCodec(shape), Path(sys.argv[1]))"
    )
    paths = [tmp_path / name for name in "ab"]
    for number, path in enumerate(paths):
        hashing = os.environ | {"PYTHONHASHSEED": str(number)}
        subprocess.run([sys.executable, "-c", script, str(path)], env=hashing, check=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_numbers_that_are_not_finite_name_the_codec(trained):
    """Not those of a flow that diverged: those fail its arm alone."""
    codec = deepcopy(trained[0])
    latent = torch.from_numpy(codec.means(captions(4, 2))).float()
    assert codec.words(latent).shape == (4, SHAPE.length)
    with pytest.raises(ArithmeticError, match="sampled for the caption codec is not finite"):
        codec.words(latent * torch.nan)
    codec.logits[1].bias[3] = torch.nan
    with pytest.raises(InputError, match="the caption codec gives numbers that are not finite"):
        codec.words(latent)
    codec.moments.bias[0] = torch.inf
    with pytest.raises(InputError, match="the caption codec gives numbers that are not finite"):
        codec.means(captions(4, 2))
