"""Inception's file is checked, and cached reference features are those of the very pictures."""

import hashlib
import re

import numpy as np
import pytest
import torch

from benchmarks.metrics import inception
from crossflow.errors import InputError


def pictures(seed, count, side=16):
    return np.random.RandomState(seed).randint(0, 256, (count, side, side, 3), np.uint8)


@pytest.fixture
def extracted(monkeypatch):
    """Counts extractions; four features of the mean colours stand in for a network."""
    calls = []

    def extract(images, *, metrics, **_):
        calls.append(len(images))
        rows = [images[i].mean((0, 1)).astype(np.float32) for i in range(len(images))]
        return dict.fromkeys(metrics, torch.from_numpy(np.stack(rows)))

    monkeypatch.setattr(inception, "extract_features", extract)
    return calls


def features(shown, cache, key=("files", "weights"), metrics=("fid", "prc")):
    options = {"device": "cpu", "batch_size": 64}
    return inception.reference_features(shown, list(metrics), options, cache, key)


def test_features_of_a_reference_are_computed_once(tmp_path, extracted):
    first = features(pictures(0, 20), tmp_path)
    again = features(pictures(0, 20), tmp_path)
    assert extracted == [20]
    assert set(first) == set(again) == {"fid", "prc"}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert len(list(tmp_path.iterdir())) == 1
    features(pictures(0, 20), None)
    features(pictures(0, 20), tmp_path, key=None)
    assert extracted == [20, 20, 20]


def test_whatever_decides_the_features_is_in_the_name_of_the_file(tmp_path, extracted, monkeypatch):
    features(pictures(0, 20), tmp_path)
    features(pictures(0, 20), tmp_path, key=("files", "other weights"))
    features(pictures(0, 20), tmp_path, metrics=("fid", "kid"))
    other = features(pictures(1, 20), tmp_path)  # a key that forgot what differs
    assert not torch.equal(other["fid"], features(pictures(0, 20), tmp_path)["fid"])
    assert len(features(pictures(0, 20)[:19], tmp_path)["fid"]) == 19
    monkeypatch.setattr(inception, "version", lambda package: "another")
    features(pictures(0, 20), tmp_path)
    assert extracted == [20, 20, 20, 20, 19, 20]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-5], lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:]]
)
def test_a_damaged_file_is_named_and_made_again(tmp_path, extracted, capsys, damage):
    good = features(pictures(0, 20), tmp_path)
    path = next(tmp_path.iterdir())
    path.write_bytes(damage(path.read_bytes()))
    again = features(pictures(0, 20), tmp_path)
    assert torch.equal(good["fid"], again["fid"])
    assert extracted == [20, 20]
    assert re.search(f"{path} holds no .*computed again", capsys.readouterr().err)
    features(pictures(0, 20), tmp_path)
    assert extracted == [20, 20], "the new file is a good one"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def test_inception_is_never_fetched_silently(hub):
    path, reason = inception.find_inception(None, download=False)
    assert path is None
    assert str(hub) not in reason  # it stands in records: equal on every machine
    assert inception.INCEPTION_FILE in reason and "https://" in reason
    scored = inception.inception_scores(pictures(0, 16), pictures(1, 16), weights=None)
    names = ["fid@16", "kid@16", "is@16", "precision_inception@16", "recall_inception@16"]
    assert scored.scores == {}
    assert scored.unavailable == dict.fromkeys(names, reason)


def test_a_download_is_asked_for_and_checked(hub, monkeypatch):
    asked = []

    def fetch(url, path, hash_prefix):
        asked.append((url, hash_prefix))
        inception.Path(path).write_bytes(b"not it")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    assert inception.used_digest(None, download=False) is None, "the scores are unavailable then"
    with pytest.raises(InputError, match="is another file"):
        inception.find_inception(None, download=True)
    assert asked == [(inception.INCEPTION_URL, inception.INCEPTION_SHA256)]


def test_another_file_is_refused(tmp_path, hub):
    assert inception.INCEPTION_SHA256.startswith("6726825d")  # the prefix in the published name
    wrong = tmp_path / inception.INCEPTION_FILE
    wrong.write_bytes(b"another network")
    found = hashlib.sha256(b"another network").hexdigest()[:16]
    for given in (wrong, tmp_path):
        with pytest.raises(InputError, match=rf"starts with {found}, not with 6726825d0af5f729"):
            inception.find_inception(str(given), download=False)
    with pytest.raises(InputError, match="no such file"):
        inception.find_inception(str(tmp_path / "lost.pth"), download=True)


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A file with random weights of the real architecture, taken for the published one."""
    from torch_fidelity import feature_extractor_inceptionv3 as library

    class NoWeightsError(Exception):
        """Raised where the constructor would fetch weights: all layers are there by then."""

    built = []

    def stop(url, progress):
        raise NoWeightsError

    class Kept(library.FeatureExtractorInceptionV3):
        def __init__(self, *args):
            built.append(self)
            super().__init__(*args)

    monkeypatch.setattr(library, "load_state_dict_from_url", stop)
    with torch.random.fork_rng(), pytest.raises(NoWeightsError):
        Kept("inception", ["2048"])
    path = tmp_path / "inception.pth"
    torch.save(built[0].state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(inception, "INCEPTION_SHA256", digest)
    return str(path)


def test_scores_by_the_architecture_itself(tmp_path, network):
    """All the way with random weights: names, unavailable scores, cache, random state."""
    cache = tmp_path / "cache"
    shown, real = pictures(0, 10, 32), pictures(1, 6, 32)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    options = {"weights": network, "cache": cache, "cache_key": "files"}
    first = inception.inception_scores(shown, real, **options)
    assert torch.equal(torch.rand(1), expected)
    assert set(first.scores) == {"is@10", "precision_inception@10", "recall_inception@10"}
    assert set(first.unavailable) == {"fid@10", "kid@10"}
    assert "6 images, 2048 dimensions" in first.unavailable["fid@10"]
    assert inception.inception_scores(shown, real, **options) == first
    assert len(list(cache.iterdir())) == 1
    assert inception.used_digest(network, download=False) == inception.INCEPTION_SHA256
