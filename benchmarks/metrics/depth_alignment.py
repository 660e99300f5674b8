"""Errors of depth that is right only up to a scale, or a scale and a shift: one fit an image.

Three protocols, none comparable with the others or with metric depth, hence a suffix each:

_affine: least squares of s p + t to the truth d over the valid pixels, at the truth's resolution
    (Marigold, src/util/alignment.py:35-82); then clipped to the protocol's range.
_affine_disp: least squares of s / p + t to 1 / d, the result clipped to at least 1e-3 per metre,
    inverted, clipped (MiDaS, DPT; Marigold, script/depth/eval.py:181-200). The prediction is a
    depth here too, and inverted first: files of predictions hold depth. A model of affine disparity
    is scored by this name when it saves 1 / disparity, where that is positive.
_median: the prediction times median(d) / median(p), the ratio taken before anything is clipped
    (monodepth2, evaluate_depth.py).

Fits that cannot be made have an explicit result, and are counted; none is NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

    Pixels = Float[np.ndarray, " pixels"]

LEAST_DISPARITY = 1e-3  # 1/m
# Special cases, as they are called in the counts of a record.
CASES = (
    "constant_predictions",  # the fits are the best constant: see `affine_fit`
    "negative_affine_scales",
    "negative_disparity_scales",
    "clamped_before_inversion",  # images
    "median_not_positive",  # images whose prediction is not scaled
)


class Fit(NamedTuple):
    """What least squares of scale x + shift to y gives, in float64."""

    values: Pixels  # scale x + shift
    scale: float
    shift: float
    constant: bool  # x has one value only, so scale is 0


def affine_fit(x: Pixels, y: Pixels) -> Fit:
    """Least squares of scale x + shift to y, both float64.

    Of a constant x nothing but the mean of y can be made. Least squares by the pseudo-inverse, as
    in the reference, gives that same constant, split between scale and shift.
    """
    middle, level = float(np.mean(x)), float(np.mean(y))
    centred = x - middle
    # No np.dot: how it adds up depends on the number of threads.
    covariance = float(np.mean(centred * (y - level)))
    spread = float(np.mean(np.square(centred)))
    constant = bool(x.min() == x.max() or spread == 0)
    scale, shift = 0.0, level
    if not constant:
        scale = covariance / spread
        shift = level - scale * middle
    return Fit(x * scale + shift, scale, shift, constant)


def disparity_fit(truth: Pixels, prediction: Pixels) -> Fit:
    """The predicted depth, its inverse scaled and shifted to 1 / truth; not yet clipped.

    Both float64, in metres and positive. The fitted disparity is at least `LEAST_DISPARITY`.
    """
    fit = affine_fit(1.0 / prediction, 1.0 / truth)
    return fit._replace(values=1.0 / np.maximum(fit.values, LEAST_DISPARITY))


def median_ratio(truth: Pixels, prediction: Pixels) -> float | None:
    """median(d) / median(p); None for a prediction whose median is not positive."""
    middle = float(np.median(prediction))
    return float(np.median(truth)) / middle if middle > 0 else None


def aligned_errors(
    truth: Pixels, prediction: Pixels, low: float, high: float
) -> tuple[dict[str, float], list[str], float | None]:
    """`absrel_` and `delta1_` of the three alignments of one image, the `CASES` it met, the ratio.

    truth: valid depths, metres. prediction: finite depths in any unit. low, high: the protocol's
    range; also, depths below low are raised to it before they are inverted, as 1 / 0 is no number.
    ratio: that of the medians, as in `median_ratio`.
    """
    ratio = median_ratio(truth, prediction)
    d, p = truth.astype(np.float64), prediction.astype(np.float64)
    affine, disparity = affine_fit(p, d), disparity_fit(d, np.maximum(p, low))
    scaled = p * (1.0 if ratio is None else ratio)
    aligned = {"affine": affine.values, "affine_disp": disparity.values, "median": scaled}
    errors: dict[str, float] = {}
    for name, depth in aligned.items():
        clipped = np.clip(depth, low, high)
        worst = np.maximum(d / clipped, clipped / d)
        errors[f"delta1_{name}"] = np.count_nonzero(worst < 1.25) / len(d)
        errors[f"absrel_{name}"] = float(np.mean(np.abs(clipped - d) / d))
    below = bool(p.min() < low)
    met = (affine.constant, affine.scale < 0, disparity.scale < 0, below, ratio is None)
    return errors, [case for case, happened in zip(CASES, met, strict=True) if happened], ratio
