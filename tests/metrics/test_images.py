"""PSNR and SSIM against scikit-image 0.26 and BasicSR (basicsr/metrics/psnr_ssim.py); LPIPS against
distances of the authors' example, with the real AlexNet.
"""

import json

import numpy as np
import pytest
import torch

from benchmarks.data.images import enlarge, read_rgb
from benchmarks.metrics import images as metric
from benchmarks.metrics.images import image_scores, luma
from crossflow.errors import InputError

_Y, _X = np.mgrid[0:32, 0:40]
_FIRST = np.stack([(3 * _X + 5 * _Y) % 256, (7 * _X + 2 * _Y) % 256, (_X * _Y) % 256], -1)
_SECOND = np.clip(_FIRST + ((_X * 13 + _Y * 7) % 9 - 4)[..., None], 0, 255)
FIRST, SECOND = _FIRST.astype(np.uint8), _SECOND.astype(np.uint8)


def scores(prediction, truth, border=0):
    found = image_scores(["x"], [prediction], [truth], border)
    return {name: score.value for name, score in found.scores.items()}


DARK, LIGHT = (np.full((16, 16, 3), v, np.uint8) for v in (100, 110))


@pytest.mark.parametrize(
    ("pair", "border", "psnr", "ssim"),
    [
        ((SECOND, FIRST), 0, 39.97029037190012, 0.9832165138398055),
        ((SECOND, FIRST), 4, 39.92179093566389, 0.9827608817915349),
        ((LIGHT, DARK), 0, 28.130803608679106, 0.9954764440915067),
    ],
)
def test_psnr_and_ssim_in_the_matlab_setting(pair, border, psnr, ssim):
    found = scores(*pair, border)
    assert (found["psnr_rgb"], found["ssim_rgb"]) == pytest.approx((psnr, ssim), rel=1e-9)


def test_luma_scores():
    assert (int(FIRST.sum()), int(SECOND.sum())) == (458176, 458241), "the published pair"
    assert (FIRST[5, 6].tolist(), SECOND[5, 6].tolist()) == ([43, 52, 30], [44, 53, 31])
    assert scores(SECOND, FIRST)["psnr_y"] == pytest.approx(41.288, abs=5e-4)
    assert scores(SECOND, FIRST)["ssim_y"] == pytest.approx(0.9832554031808087, rel=1e-9)
    ends = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]]], np.uint8)
    assert luma(ends)[0] == pytest.approx([16, 235, 81.481, 40.966], abs=1e-4), "studio swing"


def test_equal_images_count_as_80_db_and_are_counted():
    found = image_scores(["a", "b"], [FIRST, SECOND], [FIRST, FIRST])
    assert found.items["psnr_rgb"][0] == 80.0
    assert found.items["ssim_rgb"][0] == pytest.approx(1.0)
    assert found.counts == {"equal_images_rgb": 1, "equal_images_y": 1}
    # the mean of per-image values, not the PSNR of the mean error
    assert found.scores["psnr_rgb"].value == pytest.approx((80 + 39.97029037190012) / 2, rel=1e-9)


def test_no_picture_has_more_than_an_equal_one():
    """A single wrong level in 12,288 would have 89 dB, one in a larger picture 107."""
    truth = np.full((64, 64, 3), 100, np.uint8)
    close = truth.copy()
    close[5, 5, 0] += 1
    found = scores(close, truth)
    assert (found["psnr_rgb"], found["psnr_y"]) == (80.0, 80.0)
    farther = truth.copy()
    farther[:, :8, 0] += 1
    assert scores(farther, truth)["psnr_rgb"] == pytest.approx(61.932916025795166, rel=1e-9)


def test_bad_pairs_are_named():
    with pytest.raises(InputError, match=r"n01/x: .* \(31, 40, 3\), the truth uint8 \(32, 40, 3\)"):
        image_scores(["n01/x"], [FIRST[:31]], [FIRST])
    with pytest.raises(InputError, match="18 x 18 pixels with a border of 4 cut is too small"):
        image_scores(["x"], [FIRST[:18, :18]], [FIRST[:18, :18]], border=4)
    with pytest.raises(InputError, match="must be uint8"):
        image_scores(["x"], [FIRST / 255], [FIRST])
    with pytest.raises(ValueError, match="2 ids, 1 predictions"):
        image_scores(["x", "y"], [FIRST], [FIRST])


@pytest.mark.parametrize("name", ["Set5_x2", "Set5_x4", "BSD100_x4"])
def test_bicubic_gives_the_known_numbers(bench_data, name):
    """Enlarged MATLAB-bicubic images, Y channel, border of `scale` pixels cut."""
    expected = json.loads((bench_data / "sr/expected_bicubic.json").read_text())
    data_set, scale = name.split("_x")
    folder = bench_data / "sr" / data_set / f"x{scale}"
    files = sorted(path.name for path in (folder / "HR").iterdir())
    truths = [read_rgb(folder / "HR" / file) for file in files]
    predictions = [enlarge(read_rgb(folder / "LR" / file), int(scale)) for file in files]
    found = image_scores(files, predictions, truths, border=int(scale)).scores
    known = expected["bicubic_pillow"][name]
    assert found["psnr_y"].n == known["images"]
    assert found["psnr_y"].value == pytest.approx(known["psnr_y"], abs=1e-4)
    assert found["ssim_y"].value == pytest.approx(known["ssim_y"], abs=1e-5)
    if name in expected["published_bicubic_psnr_ssim"]:
        psnr, ssim = expected["published_bicubic_psnr_ssim"][name]
        assert found["psnr_y"].value == pytest.approx(psnr, abs=0.02)
        assert found["ssim_y"].value == pytest.approx(ssim, abs=1e-3)


@pytest.fixture(scope="module")
def folder(bench_data):
    return bench_data / "weights/lpips"


@pytest.fixture(scope="module")
def pictures(folder):
    return [read_rgb(folder / "example" / f"ex_{name}.png") for name in ("ref", "p0", "p1")]


def test_known_distances(folder, pictures):
    expected = json.loads((folder / "expected.json").read_text())["alex"]
    found = metric.lpips_scores(["p0", "p1"], pictures[1:], [pictures[0]] * 2, weights=str(folder))
    assert found.items["lpips_alex"] == pytest.approx(expected, abs=1e-4)
    score = found.scores["lpips_alex"]
    assert (score.n, score.better) == (2, "lower")
    assert score.value == pytest.approx(np.mean(expected), abs=1e-4)
    assert found.counts == {"lpips_alex_weight_bits": 16}


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


def test_full_precision_is_counted(folder, pictures, tmp_path):
    with np.load(folder / "alexnet_features_fp16.npz") as arrays:
        state = {name: torch.from_numpy(arrays[name]).float() for name in arrays.files}
    torch.save(state | {"classifier.1.weight": torch.zeros(2)}, tmp_path / "alexnet-owt.pth")
    half, full = (
        metric.lpips_scores(["a"], pictures[1:2], pictures[:1], weights=str(path))
        for path in (folder, tmp_path / "alexnet-owt.pth")
    )
    assert half.scores == full.scores
    assert full.counts["lpips_alex_weight_bits"] == 32


def test_where_it_is_unavailable_or_refused(folder, pictures):
    found = metric.lpips_scores(["a"], pictures[:1], pictures[:1], weights=None)
    assert not found.scores
    assert "weights.lpips is not set" in found.unavailable["lpips_alex"]
    small = [picture[:31] for picture in pictures]
    found = metric.lpips_scores(list("abc"), small, small, weights=str(folder))
    assert found.unavailable == {"lpips_alex": "LPIPS needs 32 pixels a side, a has 64 x 31"}
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
