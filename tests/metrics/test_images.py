"""PSNR and SSIM against scikit-image 0.26 and BasicSR (basicsr/metrics/psnr_ssim.py)."""

import json

import numpy as np
import pytest

from benchmarks.data.images import enlarge, read_rgb
from benchmarks.metrics import images
from benchmarks.metrics.images import image_scores, luma
from crossflow.errors import InputError

_Y, _X = np.mgrid[0:32, 0:40]
_FIRST = np.stack(
    [(3 * _X + 5 * _Y) % 256, (7 * _X + 2 * _Y) % 256, (_X * _Y) % 256],
    -1,
)
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
    assert found["psnr_rgb"] == pytest.approx(psnr, rel=1e-9)
    assert found["ssim_rgb"] == pytest.approx(ssim, rel=1e-9)


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
    assert found.scores["psnr_rgb"].n == 2


def test_no_picture_has_more_than_an_equal_one():
    """A single wrong level in 12,288 would have 89 dB, one in a larger picture 107."""
    truth = np.full((64, 64, 3), 100, np.uint8)
    close = truth.copy()
    close[5, 5, 0] += 1
    found = image_scores(["equal", "close"], [truth, close], [truth, truth])
    assert found.items["psnr_rgb"] == [80.0, 80.0]
    assert found.items["psnr_y"][1] == 80.0
    assert found.counts == {"equal_images_rgb": 1, "equal_images_y": 1}
    farther = truth.copy()
    farther[:, :8, 0] += 1
    assert scores(farther, truth)["psnr_rgb"] == pytest.approx(61.932916025795166, rel=1e-9)


def test_cores_and_order_change_nothing(monkeypatch):
    """One pair after the other gives the same bits, and rows stay with their ids."""
    pictures = [np.roll(SECOND, shift, axis=1) for shift in range(7)]
    ids, truths = [str(i) for i in range(7)], [FIRST] * 7
    found = image_scores(ids, pictures, truths)
    monkeypatch.setattr(images, "per_item", lambda score, count: [score(i) for i in range(count)])
    assert found == image_scores(ids, pictures, truths)
    backwards = image_scores(ids[::-1], pictures[::-1], truths)
    assert backwards.items["ssim_y"][::-1] == found.items["ssim_y"]
    assert found.items["psnr_y"][3] == scores(pictures[3], FIRST)["psnr_y"]


def test_bad_pairs_are_named():
    with pytest.raises(InputError, match=r"n01/x: .* \(31, 40, 3\), the truth uint8 \(32, 40, 3\)"):
        image_scores(["n01/x"], [FIRST[:31]], [FIRST])
    with pytest.raises(InputError, match="18 x 18 pixels with a border of 4 cut is too small"):
        image_scores(["x"], [FIRST[:18, :18]], [FIRST[:18, :18]], border=4)
    with pytest.raises(InputError, match="must be uint8"):
        image_scores(["x"], [FIRST / 255], [FIRST])
    with pytest.raises(InputError, match="empty"):
        image_scores([], [], [])
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
