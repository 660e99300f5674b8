"""Depth errors after alignment, against Marigold (prs-eth/Marigold@b1dffaa) and monodepth2
(@b676244)."""

import numpy as np
import pytest

from benchmarks.metrics import depth as metric
from benchmarks.metrics.depth import DepthProtocol, depth_errors, depth_scores
from crossflow.errors import InputError
from tests.metrics.test_depth import check

TEN = DepthProtocol(1e-3, 10.0)
CLAMPING = DepthProtocol(1e-3, 10.0, nonfinite="bts")  # the toy predictions may be negative


def toy():
    """(truth with three unknown pixels, affine depth, affine disparity, mask)."""
    r = np.random.RandomState(3)
    truth = r.uniform(1, 10, (5, 7))
    affine = (truth - 2) / 3 + 0.05 * r.randn(5, 7)
    disparity = 5 / truth + 0.3 + 0.01 * r.randn(5, 7)
    mask = np.ones((5, 7), bool)
    mask[0, :3] = False
    return np.where(mask, truth, 0), affine, disparity, mask


def aligned(truth, prediction, protocol=CLAMPING):
    found = depth_scores(["x"], [np.asarray(prediction)], [np.asarray(truth)], protocol)
    assert all(np.isfinite(score.value) for score in found.scores.values())
    return {name: score.value for name, score in found.scores.items()}, found.counts


def test_affine_depth():
    """alignment.py:35-82, script/depth/eval.py:176-208, least squares of depth, then the clip."""
    truth, affine, _, mask = toy()
    values, *fit = metric.affine_fit(affine[mask], truth[mask])
    assert fit == pytest.approx([3.00710925682, 2.02779555328], rel=1e-9)
    errors, _ = depth_errors(truth[mask], TEN.clamp(values))
    wanted = {"absrel": 0.03126460545, "sqrel": 0.005545990557, "rmse": 0.1549197995}
    wanted |= {"rmse_log": 0.04002992214, "log10": 0.01356456795, "i_rmse": 0.01592054377}
    wanted |= {"silog": 4.001099883, "delta1": 1, "delta2": 1, "delta3": 1}
    check(errors, wanted)
    found, counts = aligned(truth, affine)
    check(found, {"absrel_affine": 0.03126460545, "delta1_affine": 1})
    assert counts["constant_predictions"] == counts["negative_affine_scales"] == 0


def test_affine_disparity():
    """eval.py:181-200. A file of predictions holds depth, so 1 / disparity is what is scored."""
    truth, _, disparity, mask = toy()
    values, *fit = metric.disparity_fit(truth[mask], 1 / disparity[mask])
    assert fit == pytest.approx([0.199985768189, -0.060297027986], rel=1e-9)
    errors, _ = depth_errors(truth[mask], TEN.clamp(values))
    check(errors, {"absrel": 0.007876919194, "rmse": 0.08755973221, "delta1": 1})
    found, _ = aligned(truth, 1 / disparity)
    check(found, {"absrel_affine_disp": 0.007876919194, "delta1_affine_disp": 1})
    assert found["absrel_affine"] > 0.02, "a fit in depth cannot undo a shift in disparity"


def test_median_scaling():
    """evaluate_depth.py: the ratio before the clamp."""
    truth, affine, _, mask = toy()
    ratio = metric.median_ratio(truth[mask], affine[mask])
    assert ratio == pytest.approx(4.7531864703, rel=1e-9)
    errors, _ = depth_errors(truth[mask], TEN.clamp(affine[mask] * ratio))
    check(errors, {"absrel": 0.2738031312, "rmse": 1.031848872, "delta1": 0.625})
    check(aligned(truth, affine)[0], {"absrel_median": 0.2738031312, "delta1_median": 0.625})


@pytest.mark.parametrize(
    ("scale", "shift", "forgiven", "kept"),
    [
        (0.3, 0, "affine affine_disp median", ""),
        (0.3, 0.5, "affine", "affine_disp median"),
        # far outside the range, as affine predictions are: the fit comes before the clamp
        (50, 20, "affine", ""),
        (50, 0, "affine median", ""),
    ],
)
def test_what_each_alignment_forgives(scale, shift, forgiven, kept):
    truth = np.random.RandomState(0).uniform(1, 9, (2, 4, 5))
    found = aligned(truth[0], truth[0] * scale + shift)[0]
    for name in forgiven.split():
        assert found[f"absrel_{name}"] == pytest.approx(0, abs=1e-12)
    assert all(found[f"absrel_{name}"] > 1e-3 for name in kept.split())
    assert scale != 0.3 or shift or found["absrel"] == pytest.approx(0.7)
    each = depth_scores(["a", "b"], [truth[0] * scale + shift, truth[1] * 3 + 1], truth, CLAMPING)
    assert each.items["absrel_affine"] == pytest.approx([0, 0], abs=1e-12), "a fit for each image"


@pytest.mark.parametrize("value", [0.0, 1e-30, 2.0, 1e30])
def test_a_constant_prediction_is_the_mean(value):
    """As the pseudo-inverse of the reference gives; counted, and never NaN."""
    truth = np.random.RandomState(4).uniform(1, 9, (4, 5))
    found, counts = aligned(truth, np.full((4, 5), value))
    assert counts["constant_predictions"] == 1
    best = np.abs(truth.mean() - truth) / truth
    assert found["absrel_affine"] == pytest.approx(best.mean(), rel=1e-9)
    harmonic = np.abs(1 / np.mean(1 / truth) - truth) / truth
    assert found["absrel_affine_disp"] == pytest.approx(harmonic.mean(), rel=1e-9)
    assert counts["median_not_positive"] == (value == 0)


def test_predictions_that_are_upside_down_are_counted():
    truth = np.random.RandomState(4).uniform(1, 9, (4, 5))
    found, counts = aligned(truth, 10 - truth)
    assert found["absrel_affine"] == pytest.approx(0, abs=1e-12)
    assert counts["negative_affine_scales"] == counts["negative_disparity_scales"] == 1


def test_depths_that_have_no_inverse():
    """Zero and, with nonfinite=bts, negative depths are raised to the range before 1 / p."""
    truth = np.random.RandomState(4).uniform(1, 9, (4, 5))
    prediction = truth.copy()
    prediction[0, 0] = 0
    assert aligned(truth, prediction, TEN)[1]["clamped_before_inversion"] == 1
    prediction[0, 0], prediction[1, 1], prediction[2, 2] = -5, np.nan, np.inf
    assert aligned(truth, prediction)[1]["clamped_before_inversion"] == 1
    assert aligned(truth, truth, TEN)[1]["clamped_before_inversion"] == 0
    with pytest.raises(InputError, match="3 of 20"):
        aligned(truth, prediction, TEN)
