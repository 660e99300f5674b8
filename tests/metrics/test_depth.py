"""Depth errors against cleinc/bts (pytorch/bts_main.py:144-165 and 275-309)."""

import threading

import numpy as np
import pytest

from benchmarks.data.depth_frames import kitti_protocol, nyu_protocol
from benchmarks.metrics import depth as metric
from benchmarks.metrics.depth import DepthProtocol, depth_errors, depth_scores
from crossflow.errors import InputError

WIDE = DepthProtocol(1e-3, 100.0)  # a range that touches none of the small cases


def scores(truth, prediction, protocol=WIDE):
    found = depth_scores(["x"], [np.atleast_2d(prediction)], [np.atleast_2d(truth)], protocol)
    return {name: score.value for name, score in found.scores.items()}


def nyu_case():
    r = np.random.RandomState(1)
    truth = r.uniform(0, 12, (480, 640)).astype(np.float32)
    truth[:10] = 0
    prediction = (truth * 1.1 + 0.05 * r.randn(480, 640)).astype(np.float32)
    prediction[100, 100], prediction[101, 101], prediction[102, 102] = np.nan, np.inf, -1
    return truth, prediction


NAMES = "silog absrel log10 rmse sqrel rmse_log delta1 delta2 delta3".split()


def expected(numbers):
    return dict(zip(NAMES, map(float, numbers.split()), strict=True))


def check(found, wanted, rel=1e-9):
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=rel)


def test_four_pixels():
    """Depth-Anything-V2's SILog takes half the squared mean, not x 100; delta is strict."""
    four = np.array([1.0, 2, 4, 8])
    found = scores(four, np.array([1.1, 1.5, 5, 8]))
    wanted = "18.8016838297 0.15 0.0658103586936 0.561248608016 0.09625 0.188174154494 0.5 1 1"
    check(found, expected(wanted) | {"silog_dav2": 0.188095512842})
    scale = scores(four, 1.1 * four)
    assert scale["silog_dav2"] == pytest.approx(np.log(1.1) / 2**0.5), "it sees a scale, SILog not"
    found = scores(np.array([4.0]), np.array([5.0]))
    check(found, {"delta1": 0, "delta2": 1, "delta3": 1, "absrel": 0.25, "silog": 0})


def test_random_map():
    r = np.random.RandomState(0)
    truth = r.uniform(0.5, 9.5, (6, 8))
    prediction = truth * np.exp(0.1 * r.randn(6, 8))
    assert (truth[0, 0], prediction[0, 0]) == (5.439321535345923, 4.897863251149659)
    wanted = "9.22701846555 0.0777477388118 0.0342704112157 0.566426830847 0.0499862551213 "
    wanted = expected(wanted + "0.0955411054937 1 1 1")
    wanted |= {"silog_dav2": 0.0939198855816, "i_rmse": 0.0334262889544}
    check(scores(truth, prediction), wanted)


@pytest.mark.parametrize(
    ("protocol", "pixels", "numbers"),
    [
        (
            nyu_protocol("bts"),
            198816,
            "17.227299 0.11066062 0.045364074 0.52732635 0.045963727 0.19228551 "
            "0.98042914 0.9916556 0.99452257",
        ),
        (
            DepthProtocol(1e-3, 10.0, nonfinite="bts"),
            250808,
            "17.333961 0.11064445 0.045393977 0.5272668 0.045938808 0.1931686 "
            "0.98026777 0.99165896 0.99456955",
        ),
    ],
)
def test_nyu_range_clamp_and_crop(protocol, pixels, numbers):
    """bts_main.py:275-297 in float32, hence 1e-6; nan, inf and negative values are clamped."""
    truth, prediction = nyu_case()
    found = depth_scores(["x"], [prediction], [truth], protocol)
    assert found.items["valid_pixels"] == [pixels]
    check({name: score.value for name, score in found.scores.items()}, expected(numbers), 1e-6)
    bad = int((~np.isfinite(prediction) | (prediction < 0)).sum())
    assert found.counts["clamped_nonfinite_pixels"] == bad


def test_both_ends_of_the_range_are_outside():
    assert DepthProtocol(1, 10).valid(np.array([[1.0, 1.5, 10.0]])).tolist() == [
        [False, True, False]
    ]


def test_mean_over_images_not_over_pixels():
    r = np.random.RandomState(2)
    g1, g2 = r.uniform(1, 3, 100), r.uniform(5, 9, 20)
    found = depth_scores(["a", "b"], [1.2 * g1[None], 0.9 * g2[None]], [g1[None], g2[None]], WIDE)
    values = {name: score.value for name, score in found.scores.items()}
    check(values, {"absrel": 0.15, "rmse": 0.566445995171, "log10": 0.0624693683041})
    # a pure scale error: the variance rounds to zero or below, where the reference gives NaN
    assert values["silog"] == pytest.approx(0.0, abs=1e-5)
    pooled = depth_errors(np.concatenate([g1, g2]), np.concatenate([1.2 * g1, 0.9 * g2]))[0]
    wanted = {"absrel": 0.183333333333, "rmse": 0.471385038923, "log10": 0.0736106201331}
    check(pooled, wanted)
    # some of many round below zero; each is counted and scores 0
    truths = [r.uniform(1, 9, (1, 40)) for _ in range(200)]
    found = depth_scores(list(map(str, range(200))), [1.1 * d for d in truths], truths, WIDE)
    negative = sum(depth_errors(d[0], 1.1 * d[0])[1] for d in truths)
    assert found.counts["silog_variance_below_zero"] == negative > 0
    assert found.scores["silog"].value == pytest.approx(0.0, abs=1e-4)


def many_maps():
    r = np.random.RandomState(5)
    truths = r.uniform(0, 12, (9, 200, 240)).astype(np.float32)
    truths[4] = 0
    predictions = truths * r.uniform(0.5, 2, (9, 1, 1)) + r.uniform(0, 1, truths.shape)
    return [f"scene/{i}" for i in range(9)], predictions.astype(np.float32), truths


def test_ratios_are_compared_as_bts_does():
    """In its float32, where ratios of whole millimetres that are exactly 1.25 are found equal.

    float64 of depths that were rounded to float32 puts them on either side: 1,700 mm against
    2,125 mm counts as below 1.25 there, and does not in BTS.
    """
    millimetres = np.arange(1000, 3000, dtype=np.uint16)
    truth = millimetres.astype(np.float32) / 1000
    prediction = np.full_like(truth, 2.125)
    below = (millimetres * 1.25 > 2125) & (millimetres < 2125 * 1.25)
    assert not below[700] and 2.125 / float(truth[700]) < 1.25
    reference = np.maximum(truth / prediction, prediction / truth)  # bts_main.py:144-147
    assert (reference < 1.25).sum() == below.sum() == 956
    bts = DepthProtocol(1e-3, 10.0, float32=True)
    assert scores(truth, prediction, bts)["delta1"] == 956 / 2000
    assert scores(truth, prediction)["delta1"] == 957 / 2000
    assert nyu_protocol().float32 and kitti_protocol().float32


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: 1000 * d, "the median a prediction is 1e+03 times the truth: are these millim"),
        (lambda d: 256 * d, "are these codes of KITTI's PNGs"),
        (lambda d: 1 / d, "it falls where the truth rises: is it disparity"),
        (lambda d: 3 * d, "a prediction is 3 times the truth: is it metric depth in metres?"),
        (lambda d: 0.3 * d, "a prediction is 0.3 times the truth: is it metric depth in metres?"),
    ],
)
def test_another_unit_is_told(change, reason):
    truth = np.random.RandomState(0).uniform(1, 9, (3, 20, 20)).astype(np.float32)
    found = depth_scores(list("abc"), change(truth), truth, nyu_protocol(crop="none"))
    clamped = int((change(truth) > 10).sum())
    assert found.hints[0].startswith(f"depth: {clamped} of 1200 pixels lie outside 0.001 to 10 m")
    assert reason in found.hints[0] and len(found.hints) == 1
    assert found.scores["absrel"].n == 3, "scores stay"
    assert not depth_scores(list("abc"), 1.3 * truth, truth, nyu_protocol(crop="none")).hints


def test_threads_read_the_maps_and_change_nothing(monkeypatch):
    """Bit for bit, items in their order, special cases counted alike; the first error is told."""
    ids, predictions, truths = many_maps()
    threads = []

    class OnDemand(list):
        def __getitem__(self, index):
            threads.append(threading.current_thread())
            return super().__getitem__(index)

    found = depth_scores(ids, OnDemand(predictions), truths, nyu_protocol())
    assert found.items["id"] == ids and found.items["absrel"][4] is None
    assert len(threads) == 9 and threading.current_thread() not in threads
    with pytest.raises(ValueError, match="9 ids, 8 predictions"):
        depth_scores(ids, predictions[:8], truths, nyu_protocol())
    monkeypatch.setattr(metric, "SMALL", 10**9)  # one after the other
    assert depth_scores(ids, predictions, truths, nyu_protocol()) == found
    predictions[2, 0, 0] = predictions[3, 0, 0] = -1
    for small in (10**9, 0):
        monkeypatch.setattr(metric, "SMALL", small)
        with pytest.raises(InputError, match="scene/2: 1 of"):
            depth_scores(ids, predictions, truths, nyu_protocol())


def test_object_pixels():
    truth, prediction = np.full((2, 2, 2), 2.0), np.full((2, 2, 2), 2.0)
    prediction[0, 0, 0] = 3.0
    masks = np.zeros((2, 2, 2), bool)
    masks[0, 0] = True
    found = depth_scores(["a", "b"], prediction, truth, WIDE, masks)
    assert found.items["absrel_object"] == [pytest.approx(0.25), None]
    assert found.scores["absrel_object"].n == found.counts["images_without_object_pixels"] == 1
    assert "absrel_object" not in depth_scores(["a"], prediction[:1], truth[:1], WIDE).scores


def test_images_without_truth_are_skipped_and_counted():
    truth = np.stack([np.zeros((2, 3)), np.full((2, 3), 4.0)]).astype(np.float32)
    found = depth_scores(["a", "b"], np.full_like(truth, 5.0), truth, WIDE)
    assert found.items["absrel"] == [None, 0.25]
    assert found.scores["absrel"].n == found.counts["images_without_valid_pixels"] == 1
    empty = depth_scores(["a"], truth[:1], truth[:1], WIDE)
    assert empty.scores == {}
    assert "none of 1 images" in empty.unavailable["absrel_affine"]
    assert empty.counts["constant_predictions"] == 0


def test_bad_predictions_are_refused():
    truth = np.full((2, 2), 4.0, np.float32)
    bad = [np.where(np.eye(2), 4, value).astype("f4") for value in (np.nan, np.inf, -0.5)]
    several = r"bathroom/rgb_1: 2 of 4 .*task\.nonfinite=bts"
    for prediction, reason in (
        *((prediction, several) for prediction in bad),
        (np.ones((2, 3), np.float32), r"rgb_1: .*float32 \(2, 3\), not float32 metres \(2, 2\)"),
        (truth.astype(np.int64), r"int64 .*not float32"),
    ):
        with pytest.raises(InputError, match=reason):
            depth_scores(["bathroom/rgb_1"], [prediction], [truth], nyu_protocol())
