"""LPIPS against distances of the authors' example, with the real AlexNet and SqueezeNet."""

import json

import numpy as np
import pytest
import torch

from benchmarks.data.images import read_rgb
from benchmarks.metrics import lpips as metric
from crossflow.errors import InputError


@pytest.fixture(scope="module")
def folder(bench_data):
    return bench_data / "weights/lpips"


@pytest.fixture(scope="module")
def pictures(folder):
    return [read_rgb(folder / "example" / f"ex_{name}.png") for name in ("ref", "p0", "p1")]


@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_known_distances(folder, pictures, net):
    expected = json.loads((folder / "expected.json").read_text())[net]
    found = metric.lpips_scores(
        ["p0", "p1"], pictures[1:], [pictures[0]] * 2, weights=str(folder), net=net
    )
    assert found.items[f"lpips_{net}"] == pytest.approx(expected, abs=1e-4)
    score = found.scores[f"lpips_{net}"]
    assert (score.n, score.better) == (2, "lower")
    assert score.value == pytest.approx(np.mean(expected), abs=1e-4)
    assert found.counts == {f"lpips_{net}_weight_bits": {"alex": 16, "squeeze": 32}[net]}


def test_equal_pictures_native_sizes_and_other_company(folder, pictures):
    """0 for equal pictures; a pair's distance does not depend on the pairs beside it."""
    cut = [picture[: 40 + 7 * i, : 32 + i] for i, picture in enumerate(pictures)]
    others = [pictures[0][:, ::-1], pictures[1]]
    shown, truths = [*cut, others[1]], [*cut, others[0]]
    before = torch.get_rng_state()
    metric._network.cache_clear()
    found = metric.lpips_scores(list("abcd"), shown, truths, weights=str(folder))
    assert torch.equal(before, torch.get_rng_state()), "random states are left alone"
    assert found.items["lpips_alex"][:3] == [0, 0, 0]
    alone = metric.lpips_scores(["d"], shown[3:], truths[3:], weights=str(folder))
    assert alone.items["lpips_alex"] == found.items["lpips_alex"][3:]


def test_all_kinds_of_files(folder, pictures, tmp_path):
    from safetensors.torch import save_file

    with np.load(folder / "alexnet_features_fp16.npz") as arrays:
        state = {name: torch.from_numpy(arrays[name]).float() for name in arrays.files}
    torch.save(state | {"classifier.1.weight": torch.zeros(2)}, tmp_path / "alexnet-owt.pth")
    save_file(state, tmp_path / "alexnet.safetensors")
    distances = [
        metric.lpips_scores(["a"], pictures[1:2], pictures[:1], weights=str(path))
        for path in (folder, tmp_path / "alexnet-owt.pth", tmp_path / "alexnet.safetensors")
    ]
    assert len({found.scores["lpips_alex"].value for found in distances}) == 1
    assert [found.counts["lpips_alex_weight_bits"] for found in distances] == [16, 32, 32]


def test_where_it_is_unavailable_or_refused(folder, pictures):
    found = metric.lpips_scores(["a"], pictures[:1], pictures[:1], weights=None)
    assert not found.scores
    assert "weights.lpips is not set" in found.unavailable["lpips_alex"]
    small = [picture[:31] for picture in pictures]
    found = metric.lpips_scores(list("abc"), small, small, weights=str(folder))
    assert found.unavailable == {"lpips_alex": "LPIPS needs 32 x 32 pixels, a has 64 x 31"}
    with pytest.raises(InputError, match="nothing is resized"):
        metric.lpips_scores(["a"], [pictures[0][1:]], pictures[:1], weights=str(folder))


def test_wrong_weights_are_refused(folder, pictures, tmp_path):
    def refused(weights, match):
        with pytest.raises(InputError, match=match) as error:
            metric.lpips_scores(["a"], pictures[:1], pictures[:1], weights=str(weights))
        assert "\n" not in str(error.value)

    with np.load(folder / "alexnet_features_fp16.npz") as arrays:
        state = dict(arrays)
    np.savez(
        tmp_path / "alexnet_other.npz", **state | {"features.3.weight": -state["features.3.weight"]}
    )
    refused(tmp_path, "another alexnet than torchvision's")
    state.pop("features.10.bias")
    np.savez(tmp_path / "lacking.npz", **state)
    refused(tmp_path / "lacking.npz", r"lacks features\.10\.bias")
