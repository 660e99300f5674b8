"""FID, KID and Inception score against numbers of torch-fidelity 0.4.0 and pytorch-fid 0.3.0."""

import hashlib
import random
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch_fidelity import FeatureExtractorBase, register_feature_extractor

from benchmarks.metrics import distribution as dist
from benchmarks.metrics.weights import used_digest
from crossflow.errors import InputError

NORMAL = torch.from_numpy(np.random.RandomState(0).randn(64, 4).astype(np.float32))
WIDE = torch.from_numpy((np.random.RandomState(1).randn(80, 4) * 1.5 + 0.5).astype(np.float32))
PROJECTION = torch.randn(8, 48, generator=torch.Generator().manual_seed(0))


class ToyExtractor(FeatureExtractorBase):
    """Eight features of the 4 x 4 mean colours; logits are twice the features."""

    def __init__(self, name, features_list, **kwargs):
        super().__init__(name, features_list)

    @staticmethod
    def get_provided_features_list():
        return ("toy", "logits")

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "logits" if metric == "isc" else "toy"

    def forward(self, images):
        mean = torch.nn.functional.adaptive_avg_pool2d(images.float(), 4).flatten(1) / 128 - 1
        layers = {"toy": mean @ PROJECTION.T, "logits": 2 * (mean @ PROJECTION.T)}
        return tuple(layers[name] for name in self.features_list)


register_feature_extractor("toy", ToyExtractor)


def toy_images(seed, count):
    pixels = np.random.RandomState(seed).randint(0, 256, (count, 3, 16, 16), np.uint8)
    return pixels.transpose(0, 2, 3, 1)


def toy_features(seed, count, metrics=dist.METRICS):
    return dist.extract_features(toy_images(seed, count), "toy", metrics=metrics)


def test_fid_of_two_samples():
    # metric_fid.py:24-40; the mean is accumulated in float32
    assert dist.fid_from_features(NORMAL, WIDE) == pytest.approx(2.573779103614376, rel=1e-6)
    assert dist.fid_from_features(NORMAL, NORMAL) == pytest.approx(0.0, abs=1e-9)


def gaussian(mean, variance):
    """2 d points in d dimensions with just this mean, and this variance along each axis."""
    count = 2 * len(mean)
    spread = torch.diag((torch.tensor(variance) * (count - 1) / 2).sqrt())
    return torch.tensor(mean) + torch.cat([spread, -spread])


def test_fid_of_two_gaussians_is_exact():
    first = gaussian([0.0, 0.0, 0.0], [1.0, 4.0, 9.0])
    second = gaussian([1.0, 2.0, 3.0], [4.0, 4.0, 1.0])
    assert dist.fid_from_features(first, second) == pytest.approx(19.0, rel=1e-6)


def test_kid_of_two_samples():
    # metric_kid.py:21-134
    found = dist.kid_from_features(NORMAL, WIDE, subsets=5, subset_size=32)
    assert found == pytest.approx((3.2967806816101075, 1.4274619678142517), rel=1e-6)


@pytest.mark.parametrize(
    ("splits", "shuffle", "mean", "std"),
    [
        (10, True, 3.0113643962856727, 0.33004280274434444),
        (1, True, 3.64784041443419, 0.0),
        (10, False, 2.994685876998076, 0.47692910682075457),
    ],
)
def test_inception_score(splits, shuffle, mean, std):
    # metric_isc.py:16-39; one split is also what ADM's evaluator gives (evaluator.py:179-193)
    logits = torch.from_numpy((np.random.RandomState(5).randn(100, 10) * 3).astype(np.float32))
    found = dist.inception_score(logits, splits, shuffle)
    assert found == pytest.approx((mean, std), rel=1e-6, abs=1e-9)


def test_registered_extractor_end_to_end():
    generated, real = toy_features(0, 50), toy_features(1, 60)
    scored = dist.distribution_scores(generated, real, "toy")
    assert scored.scores["fid_toy@50"].value == pytest.approx(0.7306938957705107, rel=1e-6)
    assert scored.scores["is_toy@50"].value == pytest.approx(1.9284150413759484, rel=1e-6)
    assert scored.scores["is_toy@50"].better == "higher"
    assert dist.inception_score(generated["is"])[1] == pytest.approx(0.16236948391862735, rel=1e-6)
    kid = dist.kid_from_features(generated["kid"], real["kid"], subsets=10, subset_size=20)
    assert kid == pytest.approx((-0.04626953601837158, 0.1443207628436632), rel=1e-6)
    fid = dist.fid_from_features(generated["fid"], gaussian([0.0] * 8, [1.0] * 8))
    assert fid == pytest.approx(0.7749980243124011, rel=1e-6)
    assert scored.unavailable == {"kid_toy@50": "KID needs at least 100 images: 50 images"}
    assert scored.scores["precision_toy@50"].value == pytest.approx(0.8600000143, rel=1e-6)
    assert scored.scores["recall_toy@50"].value == pytest.approx(0.8833333254, rel=1e-6)
    assert scored.scores["recall_toy@50"].better == "higher"


def test_precision_and_recall_of_two_samples():
    # metric_prc.py:57-93
    precision, recall = dist.precision_recall(NORMAL, WIDE)
    assert (precision, recall) == (0.984375, 0.625)
    assert 2 * precision * recall / (precision + recall) == pytest.approx(0.7645631067961165)
    assert dist.precision_recall(WIDE, NORMAL) == (recall, precision)


@pytest.mark.parametrize(("batch", "value"), [(1, 0.7306939611550334), (7, 0.7306938942366514)])
def test_batch_size_does_not_matter(monkeypatch, batch, value):
    monkeypatch.setattr(dist, "BATCH", batch)
    fid = dist.fid_from_features(toy_features(0, 50)["fid"], toy_features(1, 60)["fid"])
    assert fid == pytest.approx(value, rel=1e-6)


def test_kid_takes_100_subsets_of_half_the_smaller_set():
    generated, real = toy_features(0, 120, metrics=["kid"]), toy_features(1, 300, metrics=["kid"])
    scored = dist.distribution_scores(generated, real, "toy")
    mean, std = dist.kid_from_features(generated["kid"], real["kid"], 100, 60)
    score = scored.scores["kid_toy@120"]
    assert (score.value, score.stderr, score.n, score.better) == (mean, std / 10, 120, "lower")


@pytest.mark.parametrize(
    ("metric", "images", "others", "reason"),
    [
        ("fid", 64, 4, "FID needs at least 5 images: 4 images, 4 dimensions"),
        ("is", 9, 9, "IS needs at least 10 images: 9 images"),
        ("prc", 64, 3, "PRC needs at least 4 images: 3 images"),
    ],
)
def test_too_few_images_are_no_score(metric, images, others, reason):
    features, real = {metric: NORMAL[:images]}, {metric: WIDE[:others]}
    scored = dist.distribution_scores(features, real, "toy")
    names = dist.score_names(metric, images, "toy")
    assert (scored.scores, scored.unavailable) == ({}, dict.fromkeys(names, reason))
    assert not dist.distribution_scores({metric: NORMAL}, {metric: WIDE}, "toy").unavailable


def test_names_carry_count_and_extractor():
    assert dist.metric_name("fid", 30000) == "fid@30000"
    assert dist.metric_name("kid", 1000, "tabletop") == "kid_tabletop@1000"
    assert dist.score_names("prc", 9) == ["precision_inception@9", "recall_inception@9"]


def test_random_state_is_left_alone():
    """The library's loader draws from torch's generator; later training noise must not change."""

    def draws():
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    with dist.preserved_random_state():
        expected = draws()
    with dist.preserved_random_state():
        toy_features(0, 20)
        assert draws() == expected


def test_images_must_be_8_bit_rgb():
    for wrong in (toy_images(0, 3) / 255, toy_images(0, 3)[..., :2]):
        with pytest.raises(ValueError, match="not uint8"):
            dist.extract_features(wrong, "toy", metrics=["fid"])


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def test_inception_is_never_fetched_silently(hub):
    path, reason = dist.find_inception(None, download=False)
    assert path is None
    assert str(hub) not in reason  # it stands in records: equal on every machine
    assert dist.INCEPTION_FILE in reason and "https://" in reason
    scored = dist.inception_scores(
        toy_images(0, 16), toy_images(1, 16), weights=None, reference_key=""
    )
    names = ["fid@16", "kid@16", "is@16", "precision_inception@16", "recall_inception@16"]
    assert scored.scores == {}
    assert scored.unavailable == dict.fromkeys(names, reason)


def test_a_download_is_asked_for_and_checked(hub, monkeypatch):
    asked = []

    def fetch(url, path, hash_prefix):
        asked.append((url, hash_prefix))
        Path(path).write_bytes(b"not it")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    assert used_digest(dist.find_inception(None, download=False)) is None, (
        "the scores are unavailable then"
    )
    with pytest.raises(InputError, match="is not the file of"):
        dist.find_inception(None, download=True)
    assert asked == [(dist.INCEPTION_URL, dist.INCEPTION_SHA256)]
    Path(hub, dist.INCEPTION_FILE).unlink()
    monkeypatch.setattr(torch.hub, "download_url_to_file", Mock(side_effect=OSError("no network")))
    with pytest.raises(InputError, match=r"cannot be fetched \(no network\); give weights.incep"):
        dist.find_inception(None, download=True)


def test_another_file_is_refused(tmp_path, hub):
    assert dist.INCEPTION_SHA256.startswith("6726825d")  # the prefix in the published name
    wrong = tmp_path / dist.INCEPTION_FILE
    wrong.write_bytes(b"another network")
    found = hashlib.sha256(b"another network").hexdigest()[:16]
    for given in (wrong, tmp_path):
        with pytest.raises(InputError, match=rf"starts with {found}, not with 6726825d0af5f729"):
            dist.find_inception(str(given), download=False)
    with pytest.raises(InputError, match="no such file"):
        dist.find_inception(str(tmp_path / "lost.pth"), download=True)


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
    monkeypatch.setattr(dist, "INCEPTION_SHA256", digest)
    return str(path)


def test_scores_by_the_architecture_itself(network):
    """All the way with random weights: names, unavailable scores, random state; one reading."""
    shown, real = toy_images(0, 10), toy_images(1, 6)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = dist.inception_scores(shown, real, weights=network, reference_key="files")
    assert torch.equal(torch.rand(1), expected)
    assert set(first.scores) == {"is@10", "precision_inception@10", "recall_inception@10"}
    assert set(first.unavailable) == {"fid@10", "kid@10"}
    assert "6 images, 2048 dimensions" in first.unavailable["fid@10"]
    assert dist.inception_scores(shown, [], weights=network, reference_key="files") == first
    with pytest.raises(ValueError, match="non-empty"):  # another set
        dist.inception_scores(shown, [], weights=network, reference_key="other files")
