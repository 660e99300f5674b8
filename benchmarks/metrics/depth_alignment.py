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

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

LEAST_DISPARITY = 1e-3  # 1/m
# Special cases, as they are called in the counts of a record.
CASES = (
    "constant_predictions",  # the fits are the best constant: see `affine_fit`
    "negative_affine_scales",
    "negative_disparity_scales",
    "clamped_before_inversion",  # images
    "median_not_positive",  # images whose prediction is not scaled
)


@dataclass(frozen=True)
class Fit:
    """y is about scale x + shift."""

    scale: float
    shift: float
    constant: bool  # x has one value only, so scale is 0


def affine_fit(x: Float[np.ndarray, " pixels"], y: Float[np.ndarray, " pixels"]) -> Fit:
    """Least squares of scale x + shift to y, in float64.

    Of a constant x nothing but the mean of y can be made. Least squares by the pseudo-inverse, as
    in the reference, gives that same constant, split between scale and shift.
    """
    middle, level = float(np.mean(x)), float(np.mean(y))
    centred = x - middle
    # No np.dot: how it adds up depends on the number of threads.
    covariance = float(np.mean(centred * (y - level)))
    spread = float(np.mean(np.square(centred)))
    if x.min() == x.max() or spread == 0:
        return Fit(0.0, level, constant=True)
    scale = covariance / spread
    return Fit(scale, level - scale * middle, constant=False)


def align_affine(
    truth: Float[np.ndarray, " pixels"], prediction: Float[np.ndarray, " pixels"]
) -> tuple[Float[np.ndarray, " pixels"], Fit]:
    """The prediction, scaled and shifted to the truth in depth; not yet clipped. Both float64."""
    fit = affine_fit(prediction, truth)
    return prediction * fit.scale + fit.shift, fit


def align_disparity(
    truth: Float[np.ndarray, " pixels"], prediction: Float[np.ndarray, " pixels"]
) -> tuple[Float[np.ndarray, " pixels"], Fit]:
    """The predicted depth, its inverse scaled and shifted to 1 / truth; not yet clipped.

    Both float64, in metres and positive. The fitted disparity is at least `LEAST_DISPARITY`.
    """
    inverse = 1.0 / prediction
    fit = affine_fit(inverse, 1.0 / truth)
    return 1.0 / np.maximum(inverse * fit.scale + fit.shift, LEAST_DISPARITY), fit


def median_ratio(
    truth: Float[np.ndarray, " pixels"], prediction: Float[np.ndarray, " pixels"]
) -> float | None:
    """median(d) / median(p); None for a prediction whose median is not positive."""
    middle = float(np.median(prediction))
    return float(np.median(truth)) / middle if middle > 0 else None


def aligned_errors(
    truth: Float[np.ndarray, " pixels"],
    prediction: Float[np.ndarray, " pixels"],
    low: float,
    high: float,
) -> tuple[dict[str, float], list[str], float | None]:
    """`absrel_` and `delta1_` of the three alignments of one image, the `CASES` it met, the ratio.

    truth: valid depths, metres. prediction: finite depths in any unit. low, high: the protocol's
    range; also, depths below low are raised to it before they are inverted, as 1 / 0 is no number.
    ratio: that of the medians, as in `median_ratio`.
    """
    ratio = median_ratio(truth, prediction)
    d, p = truth.astype(np.float64), prediction.astype(np.float64)
    affine, in_depth = align_affine(d, p)
    disparity, in_disparity = align_disparity(d, np.maximum(p, low))
    scaled = p * (1.0 if ratio is None else ratio)
    errors: dict[str, float] = {}
    for name, aligned in (("affine", affine), ("affine_disp", disparity), ("median", scaled)):
        clipped = np.clip(aligned, low, high)
        worst = np.maximum(d / clipped, clipped / d)
        errors[f"delta1_{name}"] = np.count_nonzero(worst < 1.25) / len(d)
        errors[f"absrel_{name}"] = float(np.mean(np.abs(clipped - d) / d))
    met = (
        in_depth.constant,
        in_depth.scale < 0,
        in_disparity.scale < 0,
        bool(p.min() < low),
        ratio is None,
    )
    return errors, [case for case, happened in zip(CASES, met, strict=True) if happened], ratio
