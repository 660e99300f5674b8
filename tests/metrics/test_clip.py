"""CLIP score: the conventions' numbers, the activation trap, weights of every wrong kind."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.metrics import clip
from crossflow.errors import InputError

safetensors_torch = pytest.importorskip("safetensors.torch")
open_clip = pytest.importorskip("open_clip")

TINY = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
CAPTIONS = ["a red cube", "two dogs on a beach, playing", "", "a plate of food", "A bus."]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(TINY))


@pytest.fixture(scope="module")
def state():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return open_clip.CLIP(**TINY).state_dict()


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "tiny.safetensors"
    safetensors_torch.save_file({k: v.contiguous() for k, v in state.items()}, path)
    return path


def pictures(count=5):
    generator = np.random.RandomState(0)
    return [generator.randint(0, 256, (70 + 9 * i, 90, 3), np.uint8) for i in range(count)]


def score(weights):
    return clip.clip_scores(list("01234"), pictures(), CAPTIONS, weights=str(weights))


def test_the_conventions_of_the_field():
    """The three vectors of the reference case: cosines 0.96, 0, -1."""
    images = torch.tensor([[3.0, 4, 0], [1, 0, 0], [-1, 0, 0]])
    texts = torch.tensor([[4.0, 3, 0], [0, 1, 0], [1, 0, 0]])
    scored = clip.scores_of(images, texts, texts)
    assert scored.items[clip.COS] == pytest.approx([0.96, 0, -1], abs=1e-12)
    assert scored.scores[clip.COS].value == pytest.approx(-0.04 / 3, rel=1e-9)
    assert scored.scores[clip.COS].value == pytest.approx(-0.0133333, abs=1e-7)
    # jmhessel/clipscore, clipscore.py:159
    assert scored.items[clip.CLIPSCORE] == pytest.approx([2.4, 0, 0], abs=1e-12)
    assert scored.scores[clip.CLIPSCORE].value == pytest.approx(0.8, rel=1e-9)
    assert clip.PREFIX == "A photo depicts "
    # CrossFlow, tools/clip_score.py:51
    assert scored.scores[clip.CLIPPED].value == pytest.approx(0.32, rel=1e-9)
    assert {(score.n, score.better) for score in scored.scores.values()} == {(3, "higher")}


def test_scores_of_pictures_and_captions(weights, monkeypatch):
    scored = score(weights)
    assert set(scored.scores) == set(clip.NAMES) and scored.unavailable == {}
    each = scored.items[clip.COS]
    assert scored.items["id"] == list("01234")
    assert scored.scores[clip.COS].value == pytest.approx(sum(each) / 5, rel=1e-12)
    assert all(-1 <= value <= 1 for value in each) and len(set(each)) == 5
    assert scored.items[clip.CLIPSCORE] != [2.5 * max(v, 0) for v in each], "it reads a prefix"
    assert scored == score(weights), "deterministic"
    monkeypatch.setattr(clip, "BATCH", 2)
    assert score(weights).items[clip.COS] == pytest.approx(each, abs=1e-6)
    with pytest.raises(ValueError, match="1 ids, 2 pictures, 1 captions"):
        clip.clip_scores(["0"], pictures(2), ["a"], weights=str(weights))


def test_features_are_open_clips(weights, state):
    """By the library's own forward pass, one item at a time."""
    model = open_clip.CLIP(**TINY)
    model.load_state_dict(state)
    transform = open_clip.image_transform(64, is_train=False)
    expected = []
    with torch.inference_mode():
        for picture, caption in zip(pictures(), CAPTIONS, strict=True):
            image = transform(Image.fromarray(picture))[None]
            text = open_clip.tokenize([caption])
            one = model.encode_image(image, normalize=True) @ model.encode_text(text, True).T
            expected.append(one.item())
    assert score(weights).items[clip.COS] == pytest.approx(expected, abs=1e-6)


def test_the_architecture_runs_quickgelu(monkeypatch):
    monkeypatch.undo()
    config = open_clip.get_model_config(clip.ARCHITECTURE)
    assert config["quick_gelu"] is True
    assert (config["vision_cfg"]["patch_size"], config["vision_cfg"]["image_size"]) == (32, 224)


def test_another_activation_is_refused(weights, monkeypatch):
    """What open_clip builds for OpenAI's weights under the name without -quickgelu."""
    plain = {**TINY, "quick_gelu": False}
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: plain)
    with pytest.raises(RuntimeError, match=r"needs QuickGELU in every block, found \['GELU'\]"):
        score(weights)


def test_a_download_happens_only_when_asked_for(weights, monkeypatch):
    asked = []

    def fetch(tag):
        asked.append(tag["hf_hub"])
        return str(weights)

    monkeypatch.setattr(open_clip, "download_pretrained", fetch)
    scored = clip.clip_scores(["0"], pictures(1), ["a cube"], weights=None)
    reason = f"weights.clip is not set: {clip.FILE} of {clip.HUB} (OpenAI's ViT-B/32)"
    assert (scored.scores, scored.unavailable) == ({}, dict.fromkeys(clip.NAMES, reason))
    assert asked == []
    assert clip.find_clip(None, download=True)[0] == weights
    assert asked == [f"{clip.HUB}/"]
    monkeypatch.setattr(open_clip, "download_pretrained", lambda tag: 1 / 0)
    with pytest.raises(InputError, match=r"cannot be fetched \(ZeroDivisionError\)"):
        clip.find_clip(None, download=True)


def test_another_network_is_refused_whatever_kind_of_file_holds_it(weights, state, tmp_path):
    torch.save(state, tmp_path / "state.pt")
    assert score(tmp_path / "state.pt") == score(weights)
    others = {
        "Unexpected key.*extra": state | {"extra": torch.zeros(1)},
        "size mismatch for positional_emb": state | {"positional_embedding": torch.zeros(7, 32)},
        "does not hold the weights of open_clip.* Missing key": {"a": torch.zeros(1)},
        "other.pt gives numbers that are not finite": state
        | {"positional_embedding": torch.full((77, 32), torch.nan)},
    }
    for reason, other in others.items():
        torch.save(other, tmp_path / "other.pt")
        with pytest.raises(InputError, match=reason):
            score(tmp_path / "other.pt")
