"""Depth errors by the formulas of BTS (cleinc/bts, pytorch/bts_main.py:144-165 and 275-309).

Scores are means over images of per-image values, which is not the mean over pixels. Arithmetic is
float64; BTS accumulates in float32 and differs by 1e-7. Three protocols more fit each image first:

_affine: least squares of s p + t to the truth d over the valid pixels, at the truth's resolution
    (Marigold, src/util/alignment.py:35-82); then clipped to the protocol's range.
_affine_disp: least squares of s / p + t to 1 / d, the result clipped to at least 1e-3 per metre,
    inverted, clipped (MiDaS, DPT; Marigold, script/depth/eval.py:181-200). A model of affine
    disparity is scored by this name when it saves 1 / disparity, where that is positive.
_median: the prediction times median(d) / median(p), the ratio taken before anything is clipped
    (monodepth2, evaluate_depth.py).

Fits that cannot be made have an explicit result, and are counted; none is NaN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.metrics.depth_crops import Crop, whole
from benchmarks.metrics.score import Better, Scored, mean_score, per_item
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    Pixels = Float[np.ndarray, " pixels"]

Maps = Sequence[np.ndarray] | np.ndarray  # (h, w) by number; a sequence may read files when asked
# Raised by hand when a value of this file may change; part of every score_key. PROTOCOL_BTS is that
# of tasks that compare as BTS does, in float32.
PROTOCOL, PROTOCOL_BTS = 1, 2
NAMES = "absrel sqrel rmse rmse_log log10 silog silog_dav2 i_rmse delta1 delta2 delta3".split()
ALIGNED = ("affine", "affine_disp", "median")
NAMES += [f"{name}_{how}" for how in ALIGNED for name in ("absrel", "delta1")] + ["absrel_object"]
BETTER: dict[str, Better] = {n: "higher" if n.startswith("delta") else "lower" for n in NAMES}
# Special cases of the fits, as they are called in the counts of a record.
CASES = (
    "constant_predictions",  # the fits are the best constant: see `affine_fit`
    "negative_affine_scales",
    "negative_disparity_scales",
    "clamped_before_inversion",  # images
    "median_not_positive",  # images whose prediction is not scaled
)
COUNTS = ["images_without_valid_pixels", "silog_variance_below_zero", "clamped_nonfinite_pixels"]
COUNTS += CASES
NO_OBJECT = "images_without_object_pixels"
LEAST_DISPARITY = 1e-3  # 1/m
SMALL = 2**15  # pixels; below it threads would wait for Python's lock more than they work
# How many times the truth a prediction in another unit is.
UNITS = {"millimetres": 1000.0, "centimetres": 100.0, "codes of KITTI's PNGs (256 a metre)": 256.0}


@dataclass(frozen=True)
class DepthProtocol:
    """What is compared: depths strictly between low and high (metres), inside the crop."""

    low: float
    high: float
    crop: Crop = whole  # from a map's height and width to the window that counts
    # "refuse" stops at a prediction that is not finite or is negative; "bts" clamps it as BTS does
    # (nan to low, inf to high) and counts the pixels.
    nonfinite: str = "refuse"
    # Whether the ratios of delta are taken in float32, as BTS does: those of whole millimetres, as
    # in a PNG, may be exactly 1.25, which only that precision finds equal.
    float32: bool = False

    def valid(self, truth: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        """Pixels that count: low < d < high, both strict, inside the crop."""
        top, bottom, left, right = self.crop(*truth.shape)
        mask = np.zeros(truth.shape, bool)
        inside = truth[top:bottom, left:right]
        mask[top:bottom, left:right] = (inside > self.low) & (inside < self.high)
        return mask

    def clamp(self, depth: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Predictions limited to [low, high]; nan becomes low (bts_main.py:275-279)."""
        return np.clip(np.where(np.isnan(depth), self.low, depth), self.low, self.high)


def depth_errors(
    truth: Float[np.ndarray, " pixels"],
    prediction: Float[np.ndarray, " pixels"],
    float32: bool = False,
) -> tuple[dict[str, float], bool]:
    """The errors of one image over its valid pixels, both in metres and positive.

    SILog is 100 sqrt(var(e)), e = ln p - ln d. The variance of a pure scale error may round below
    zero, where the reference yields NaN: max(var, 0) is taken, and the second result tells it.
    delta_i counts max(d/p, p/d) < 1.25^i, strictly. silog_dav2 is Depth-Anything-V2's formula
    (metric_depth/util/metric.py:4), sqrt(mean e^2 - (mean e)^2 / 2), not x100; its own code neither
    clamps nor crops. i_rmse, 1/m, is Marigold's (src/util/metric.py). float32: `DepthProtocol`.
    """
    d, p = truth.astype(np.float64), prediction.astype(np.float64)
    difference, log_error = p - d, np.log(p) - np.log(d)
    mean, square = np.mean(log_error), np.mean(np.square(log_error))
    variance = float(square - mean**2)
    errors = {
        "absrel": np.mean(np.abs(difference) / d),
        "sqrel": np.mean(np.square(difference) / d),
        "rmse": np.sqrt(np.mean(np.square(difference))),
        "rmse_log": np.sqrt(square),
        "log10": np.mean(np.abs(np.log10(p) - np.log10(d))),
        "silog": 100.0 * np.sqrt(max(variance, 0.0)),
        "silog_dav2": np.sqrt(square - 0.5 * mean**2),
        "i_rmse": np.sqrt(np.mean(np.square(1 / p - 1 / d))),
    }
    if float32:
        d, p = truth.astype(np.float32), prediction.astype(np.float32)
    ratio = np.maximum(d / p, p / d)
    errors |= {f"delta{i}": np.count_nonzero(ratio < 1.25**i) / len(d) for i in (1, 2, 3)}
    return {name: float(value) for name, value in errors.items()}, variance < 0


def affine_fit(x: Pixels, y: Pixels) -> tuple[Pixels, float, float]:
    """Least squares of scale x + shift to y, both float64: its values, the scale and the shift.

    Of a constant x nothing but the mean of y can be made (scale 0). Least squares by the
    pseudo-inverse, as in the reference, gives that constant, split between scale and shift.
    """
    middle, level = float(np.mean(x)), float(np.mean(y))
    centred = x - middle
    # No np.dot: how it adds up depends on the number of threads.
    covariance = float(np.mean(centred * (y - level)))
    spread = float(np.mean(np.square(centred)))
    scale = 0.0 if x.min() == x.max() or spread == 0 else covariance / spread
    shift = level - scale * middle
    return x * scale + shift, scale, shift


def disparity_fit(truth: Pixels, prediction: Pixels) -> tuple[Pixels, float, float]:
    """The depth whose inverse is that of the prediction, scaled and shifted to 1 / truth, the scale
    and the shift. Both float64, in metres and positive. Disparity is at least `LEAST_DISPARITY`.
    """
    disparity, scale, shift = affine_fit(1.0 / prediction, 1.0 / truth)
    return 1.0 / np.maximum(disparity, LEAST_DISPARITY), scale, shift


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
    affine, scale, _ = affine_fit(p, d)
    inverse, inverse_scale, _ = disparity_fit(d, np.maximum(p, low))
    scaled = p * (1.0 if ratio is None else ratio)
    errors: dict[str, float] = {}
    for name, depth in zip(ALIGNED, (affine, inverse, scaled), strict=True):
        clipped = np.clip(depth, low, high)
        worst = np.maximum(d / clipped, clipped / d)
        errors[f"delta1_{name}"] = np.count_nonzero(worst < 1.25) / len(d)
        errors[f"absrel_{name}"] = float(np.mean(np.abs(clipped - d) / d))
    met = (scale == 0, scale < 0, inverse_scale < 0, p.min() < low, ratio is None)
    return errors, [case for case, happened in zip(CASES, met, strict=True) if happened], ratio


def depth_scores(
    ids: Sequence[str],
    predictions: Maps,
    truths: Maps,
    protocol: DepthProtocol,
    objects: Maps | None = None,
) -> Scored:
    """All depth scores of a set of images. Depths in metres, floating point, truth 0 = unknown.

    Maps are asked for one by one, on all cores. objects: masks of the pixels that `absrel_object`
    counts; without them it is not computed. Images without a valid pixel are skipped and counted,
    and have None in the item columns. A hint says where predictions look as if they were in another
    unit. InputError for a wrong size, type or value, naming the first such item, ValueError where
    the lengths differ.
    """
    count = len(ids)
    if not len(predictions) == len(truths) == count == len(ids if objects is None else objects):
        raise ValueError(f"{count} ids, {len(predictions)} predictions, {len(truths)} truths")

    def image(index: int) -> tuple[dict[str, float], Counter[str]]:
        mask = None if objects is None else objects[index]
        return _one_image(ids[index], truths[index], predictions[index], mask, protocol)

    small = bool(count) and truths[0].size < SMALL
    images = [image(i) for i in range(count)] if small else per_item(image, count)
    rows, met = [row for row, _ in images], sum((met for _, met in images), Counter[str]())
    names = [n for n in BETTER if objects is not None or n != "absrel_object"]
    columns = {n: [row.get(n) for row in rows] for n in [*names, "valid_pixels"]}
    kinds = COUNTS + [NO_OBJECT] * (objects is not None)
    scored = Scored({}, {"id": list(ids), **columns}, counts={kind: met[kind] for kind in kinds})
    for name in names:
        if any(value is not None for value in columns[name]):
            scored.scores[name] = mean_score(columns[name], BETTER[name])
        else:
            scored.unavailable[name] = f"none of {count} images has a pixel to score"
    scored.hints = _hints(rows, met, protocol)
    return scored


def _one_image(
    name: str,
    truth: np.ndarray,
    prediction: np.ndarray,
    object_mask: np.ndarray | None,
    protocol: DepthProtocol,
) -> tuple[dict[str, float], Counter[str]]:
    """Errors of an image (and what `_hints` wants), and which special cases it is."""
    if prediction.shape != truth.shape or not np.issubdtype(prediction.dtype, np.floating):
        raise InputError(
            f"{name}: the predicted depth is {prediction.dtype} {prediction.shape}, not float32 "
            f"metres {truth.shape} as the truth; nothing is resized"
        )
    bad = int((~np.isfinite(prediction) | (prediction < 0)).sum())
    if bad and protocol.nonfinite == "refuse":
        raise InputError(
            f"{name}: {bad} of {prediction.size} predicted depths are negative or not finite; "
            "mend them, or clamp them as BTS does with task.nonfinite=bts"
        )
    valid, met = protocol.valid(truth), Counter[str](clamped_nonfinite_pixels=bad)
    on_object = None if object_mask is None else object_mask[valid]
    met[NO_OBJECT] += on_object is not None and not on_object.any()
    pixels = int(valid.sum())
    if not pixels:
        met["images_without_valid_pixels"] += 1
        return {"valid_pixels": 0}, met
    d = truth[valid]
    raw = np.where(np.isnan(prediction[valid]), protocol.low, prediction[valid])
    p = protocol.clamp(raw)
    errors, below_zero = depth_errors(d, p, protocol.float32)
    finite = np.where(np.isinf(raw), p, raw)
    aligned, cases, ratio = aligned_errors(d, finite, protocol.low, protocol.high)
    met.update(cases)
    met["silog_variance_below_zero"] += below_zero
    met["clamped"] += int(np.count_nonzero(p != raw))
    if on_object is not None and on_object.any():
        errors["absrel_object"] = depth_errors(d[on_object], p[on_object])[0]["absrel"]
    return errors | aligned | {"valid_pixels": pixels, "times_truth": 1 / (ratio or np.inf)}, met


def _hints(
    rows: Sequence[dict[str, float]], met: Counter[str], protocol: DepthProtocol
) -> list[str]:
    """A sentence where predictions look as if they were in another unit, or none."""
    seen = [row for row in rows if row["valid_pixels"]]
    pixels = int(sum(row["valid_pixels"] for row in seen))
    times = float(np.median([row["times_truth"] for row in seen])) if seen else 1.0
    inverted = met["negative_affine_scales"] > len(seen) / 2
    if met["clamped"] <= pixels / 2 and 0.5 < times < 2 and not inverted:
        return []
    units = [unit for unit, size in UNITS.items() if size / 1.5 < times < size * 1.5]
    guess = f"are these {units[0]}? Metres are needed" if units else "is it metric depth in metres?"
    if inverted:
        guess = "it falls where the truth rises: is it disparity, 1 / depth?"
    return [
        f"depth: {met['clamped']} of {pixels} pixels lie outside {protocol.low:g} to "
        f"{protocol.high:g} m and were clamped; in the median a prediction is {times:.3g} times "
        f"the truth: {guess}"
    ]
