"""Frozen text encoders that a user gives: CLIP and T5 with small random weights, real merges."""

import gzip
import json
from shutil import copytree

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.codecs.text import (
    FIRST,
    UNKNOWN,
    WORDS,
    Vocabulary,
    learn,
    load_text_encoder,
    split_words,
)
from crossflow.errors import InputError
from crossflow.problem import TokenShape

TEXTS = ["a photo of a cat", "two dogs run on the beach , one barks", ""]


def clip_words(bench_data):
    """CLIP's vocabulary in its order: bytes, bytes that end a word, merges, start, end."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    path = bench_data / "weights/clip_bpe/bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    merges = lines[1 : 49152 - 256 - 2 + 1]
    single = list(bytes_to_unicode().values())
    words = [*single, *(f"{one}</w>" for one in single)]
    words += ["".join(merge.split()) for merge in merges]
    return [*words, "<|startoftext|>", "<|endoftext|>"], merges


@pytest.fixture(scope="module")
def clip_folder(bench_data, tmp_path_factory):
    import transformers

    words, merges = clip_words(bench_data)
    folder = tmp_path_factory.mktemp("clip")
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=1,
    )
    transformers.CLIPTextModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def t5_folder(tmp_path_factory):
    import transformers

    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    words += [(f"▁{word}", -3.0) for word in "a photo of cat two dogs run on the beach".split()]
    words += [(letter, -9.0) for letter in "abcdefghijklmnopqrstuvwxyz,"]
    folder = tmp_path_factory.mktemp("t5")
    transformers.T5TokenizerFast(vocab=words, extra_ids=0).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=64, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2
    )
    transformers.T5EncoderModel(config).save_pretrained(folder)
    return folder


def test_clip_is_the_last_hidden_state(clip_folder):
    import transformers

    encoder = load_text_encoder(str(clip_folder), "cpu", download=False)
    features, mask = encoder.encode(TEXTS)
    assert encoder.shape == TokenShape(77, width=16)
    assert (features.shape, features.dtype) == ((3, 77, 16), np.float16)
    # start, five words, end; start and end of nothing
    assert (mask.shape, mask.dtype) == ((3, 77), np.bool_)
    assert mask.sum(1)[[0, 2]].tolist() == [7, 2]
    words = [49406, 320, 1125, 539, 320, 2368, 49407]  # as OpenAI's tokenizer numbers them
    network = transformers.CLIPTextModel.from_pretrained(clip_folder, local_files_only=True).eval()
    with torch.no_grad():
        expected = network(torch.tensor([words])).last_hidden_state[0]
    np.testing.assert_allclose(features[0, :7], expected, atol=2e-3)
    facts = encoder.frozen["text_encoder"]
    assert (facts["feature_scale"], facts["class"]) == (1.0, "CLIPTextModel")
    assert str(clip_folder) not in json.dumps(facts)


def test_t5_is_ten_times_its_features(t5_folder):
    import transformers

    encoder = load_text_encoder(str(t5_folder), "cpu", download=False)
    features, mask = encoder.encode(TEXTS)
    assert (features.shape, features.dtype) == ((3, 77, 16), np.float16)
    assert mask[0].sum() == 6  # five words and the end
    network = transformers.T5EncoderModel.from_pretrained(t5_folder, local_files_only=True)
    words = transformers.T5TokenizerFast.from_pretrained(t5_folder)
    found = words([TEXTS[0]], return_tensors="pt")
    with torch.no_grad():
        expected = network.to(torch.bfloat16).eval()(**found).last_hidden_state[0].float()
    np.testing.assert_allclose(features[0, :6], 10 * expected, rtol=0.03, atol=0.15)
    facts = encoder.frozen["text_encoder"]
    assert (facts["feature_scale"], facts["precision"]) == (10.0, "bfloat16")


@pytest.mark.parametrize("kind", ["clip_folder", "t5_folder"])
def test_features_depend_on_the_text_alone(kind, request):
    encoder = load_text_encoder(str(request.getfixturevalue(kind)), "cpu", False)
    features, mask = encoder.encode(TEXTS)
    backwards = encoder.encode(TEXTS[::-1])
    np.testing.assert_array_equal(backwards[0][::-1], features)
    np.testing.assert_array_equal(backwards[1][::-1], mask)
    np.testing.assert_array_equal(encoder.encode(TEXTS[1:2])[0][0], features[1])
    assert np.abs(features[0].astype(float) - features[1]).max() > 0.01


def test_long_texts_are_cut_at_77_tokens_with_their_end(clip_folder):
    encoder = load_text_encoder(str(clip_folder), "cpu", False)
    long = "cube " * 100
    assert encoder.encode([long])[1].sum() == 77
    np.testing.assert_array_equal(encoder.encode([long])[0], encoder.encode([long + "dog"])[0])


def test_other_tokenizers_are_refused(clip_folder, tmp_path):
    folder = copytree(clip_folder, tmp_path / "a")
    (folder / "merges.txt").unlink()
    with pytest.raises(InputError, match="no vocabulary of its tokenizer"):
        load_text_encoder(str(folder), "cpu", False)
    folder = copytree(clip_folder, tmp_path / "b")
    words = json.loads((folder / "vocab.json").read_text()) | {"onemore</w>": 49408}
    (folder / "vocab.json").write_text(json.dumps(words))
    with pytest.raises(InputError, match="has 49409 words, the network 49408"):
        load_text_encoder(str(folder), "cpu", False)


@pytest.mark.parametrize("value", [torch.nan, 1e6])  # the second is beyond float16
def test_features_that_are_not_finite_name_the_encoder(clip_folder, tmp_path, value):
    folder = copytree(clip_folder, tmp_path / "a")
    weights = load_file(folder / "model.safetensors")
    last = next(name for name in weights if name.endswith("final_layer_norm.bias"))
    weights[last] += value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"weights\.text_encoder gives numbers that are not"):
        load_text_encoder(str(folder), "cpu", False).encode(TEXTS)


def test_words():
    assert split_words("A man's T-shirt, 2 dogs\u2019 caf\xe9!") == [
        *("a", "man's", "t", "shirt", "2", "dogs", "caf\xe9"),
    ]
    vocabulary = learn(["a dog", "a dog", "A DOG runs", "a cat"])
    assert vocabulary.words == ["a", "dog"]
    ids = vocabulary.encode(["the dog", "", "a " * 40])
    assert ids.dtype == np.int16
    assert ids[0, :3].tolist() == [UNKNOWN, FIRST + 1, 0]
    assert ids[1, :2].tolist() == [UNKNOWN, 0]  # no row is all padding
    assert (ids[2] == FIRST).all()
    assert ids.shape == (3, WORDS)
    assert vocabulary.decode(ids[0].astype(np.int64)) == "dog"
    other = Vocabulary(("a", "cat"))
    assert vocabulary.facts()["sha256"] != other.facts()["sha256"]
