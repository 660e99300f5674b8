"""Depth errors by the formulas of BTS (cleinc/bts, pytorch/bts_main.py:144-165 and 275-309).

AdaBins, NeWCRFs and ZoeDepth use the same. Scores are means over images of per-image values, which
is not the mean over pixels. Arithmetic is float64; BTS accumulates in float32 and differs by 1e-7.
Names with _affine, _affine_disp and _median are of aligned depth: see `depth_alignment`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from benchmarks.data.pool import ordered_map
from benchmarks.metrics.depth_alignment import CASES, aligned_errors
from benchmarks.metrics.depth_crops import Crop, whole
from benchmarks.metrics.score import Better, Scored, mean_score
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

PROTOCOL = 1  # raised by hand when a value of this file may change; part of every score_key

BETTER: dict[str, Better] = {
    "absrel": "lower",
    "sqrel": "lower",
    "rmse": "lower",
    "rmse_log": "lower",
    "log10": "lower",
    "silog": "lower",
    "silog_dav2": "lower",
    "i_rmse": "lower",
    "delta1": "higher",
    "delta2": "higher",
    "delta3": "higher",
    "absrel_affine": "lower",
    "delta1_affine": "higher",
    "absrel_affine_disp": "lower",
    "delta1_affine_disp": "higher",
    "absrel_median": "lower",
    "delta1_median": "higher",
    "absrel_object": "lower",
}
COUNTS = (
    "images_without_valid_pixels",
    "silog_variance_below_zero",
    "clamped_nonfinite_pixels",
    *CASES,
)
NO_OBJECT = "images_without_object_pixels"
SMALL = 2**15  # pixels; below it threads would wait for Python's lock more than they work


class Maps(Protocol):
    """Maps (h, w) by number: an array of them, a list, or what reads a file when asked."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> np.ndarray: ...


@dataclass(frozen=True)
class DepthProtocol:
    """What is compared: depths strictly between low and high (metres), inside the crop.

    crop: from a map's height and width to the window that counts (see `depth_crops`).
    nonfinite: "refuse" stops at a prediction that is not finite or is negative; "bts" clamps it as
    BTS does (nan to low, inf to high) and counts the pixels.
    """

    low: float
    high: float
    crop: Crop = whole
    nonfinite: str = "refuse"

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise InputError(f"depth range {self.low} to {self.high} m: need 0 < low < high")
        if self.nonfinite not in ("refuse", "bts"):
            raise InputError(f"task.nonfinite={self.nonfinite}: use refuse or bts")

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
    truth: Float[np.ndarray, " pixels"], prediction: Float[np.ndarray, " pixels"]
) -> tuple[dict[str, float], bool]:
    """The errors of one image over its valid pixels, both in metres and positive.

    SILog is 100 sqrt(var(e)), e = ln p - ln d. A prediction that is a pure scale of the truth has a
    variance that rounds below zero, where the reference code yields NaN: max(var, 0) is taken, and
    the second result tells it. delta_i counts max(d/p, p/d) < 1.25^i, strictly. silog_dav2 is
    Depth-Anything-V2's formula (metric_depth/util/metric.py:4): sqrt(mean e^2 - (mean e)^2 / 2),
    not x100, which is never below zero; its own code neither clamps nor crops. i_rmse, 1/m, is
    Marigold's (src/util/metric.py).
    """
    d, p = truth.astype(np.float64), prediction.astype(np.float64)
    # In place where it can be: fresh arrays of this size are pages that threads wait for.
    scratch = p / d
    ratio = np.divide(d, p)
    np.maximum(ratio, scratch, out=ratio)
    errors: dict[str, Any] = {
        f"delta{i}": np.count_nonzero(ratio < 1.25**i) / len(d) for i in (1, 2, 3)
    }
    difference = np.subtract(p, d, out=ratio)
    errors["absrel"] = np.mean(np.divide(np.abs(difference, out=scratch), d, out=scratch))
    squared = np.square(difference, out=difference)
    errors["rmse"] = np.sqrt(np.mean(squared))
    errors["sqrel"] = np.mean(np.divide(squared, d, out=squared))
    log_error = np.log(p, out=squared)
    log_error -= np.log(d, out=scratch)
    mean, square = np.mean(log_error), np.mean(np.square(log_error, out=log_error))
    variance = float(square - mean**2)
    errors["rmse_log"] = np.sqrt(square)
    errors["silog"] = 100.0 * np.sqrt(max(variance, 0.0))
    errors["silog_dav2"] = np.sqrt(square - 0.5 * mean**2)
    log10_error = np.log10(p, out=log_error)
    log10_error -= np.log10(d, out=scratch)
    errors["log10"] = np.mean(np.abs(log10_error, out=log10_error))
    inverse_error = np.divide(1, p, out=p)
    inverse_error -= np.divide(1, d, out=d)
    errors["i_rmse"] = np.sqrt(np.mean(np.square(inverse_error, out=inverse_error)))
    return {name: float(value) for name, value in errors.items()}, variance < 0


def depth_scores(
    ids: Sequence[str],
    predictions: Maps,
    truths: Maps,
    protocol: DepthProtocol,
    objects: Maps | None = None,
    workers: int | None = None,
) -> Scored:
    """All depth scores of a set of images. Depths in metres, floating point, truth 0 = unknown.

    Maps are asked for one by one, several at once: on all cores, or on as many threads as workers
    says, with the same result. objects: masks of the pixels that `absrel_object` counts; without
    them it is not computed. Images without a valid pixel are skipped and counted, and have None in
    the item columns. Raises InputError for a wrong size, a wrong type or a refused value, naming
    the first such item, ValueError where the lengths differ.
    """
    count = len(ids)
    if not len(predictions) == len(truths) == count == len(ids if objects is None else objects):
        raise ValueError(f"{count} ids, {len(predictions)} predictions, {len(truths)} truths")

    def one(index: int) -> tuple[dict[str, float], Counter[str]]:
        truth, prediction = truths[index], predictions[index]
        bad = check_depth(ids[index], prediction, truth.shape, protocol)
        mask = None if objects is None else objects[index]
        row, counts = _one_image(truth, prediction, mask, protocol)
        return row, counts + Counter(clamped_nonfinite_pixels=bad)

    if workers is None and count and truths[0].size < SMALL:
        workers = 1
    names = [n for n in BETTER if objects is not None or n != "absrel_object"]
    columns: dict[str, list[float | None]] = {name: [] for name in [*names, "valid_pixels"]}
    counts = dict.fromkeys(COUNTS if objects is None else (*COUNTS, NO_OBJECT), 0)
    for row, met in ordered_map(one, range(count), workers):
        for name, times in met.items():
            counts[name] += times
        for column in columns:
            columns[column].append(row.get(column))
    scored = Scored({}, {"id": list(ids), **columns}, counts=counts)
    for name in names:
        if any(value is not None for value in columns[name]):
            scored.scores[name] = mean_score(columns[name], BETTER[name])
        else:
            scored.unavailable[name] = f"none of {count} images has a pixel to score"
    return scored


def _one_image(
    truth: np.ndarray,
    prediction: np.ndarray,
    object_mask: np.ndarray | None,
    protocol: DepthProtocol,
) -> tuple[dict[str, float], Counter[str]]:
    """Errors of an image, and which special cases it is."""
    valid, met = protocol.valid(truth), Counter[str]()
    pixels = int(valid.sum())
    if not pixels:
        met["images_without_valid_pixels"] += 1
        met[NO_OBJECT] += object_mask is not None
        return {"valid_pixels": 0}, met
    d = truth[valid]
    raw = np.where(np.isnan(prediction[valid]), protocol.low, prediction[valid])
    p = protocol.clamp(raw)
    row, below_zero = depth_errors(d, p)
    met["silog_variance_below_zero"] += below_zero
    finite = np.where(np.isinf(raw), protocol.clamp(raw), raw)
    aligned, cases = aligned_errors(d, finite, protocol.low, protocol.high)
    row |= aligned
    met.update(cases)
    row["valid_pixels"] = pixels
    if object_mask is not None:
        on_object = object_mask[valid]
        if on_object.any():
            row["absrel_object"] = depth_errors(d[on_object], p[on_object])[0]["absrel"]
        else:
            met[NO_OBJECT] += 1
    return row, met


def check_depth(
    name: str, prediction: np.ndarray, shape: tuple[int, ...], protocol: DepthProtocol
) -> int:
    """Refuses a prediction that cannot be scored; returns how many pixels BTS's rule will clamp.

    Raises InputError for a size other than the truth's, a type that is not floating point, and
    (where the protocol refuses them) values that are not finite or negative.
    """
    if prediction.shape != shape:
        raise InputError(
            f"{name}: the predicted depth has shape {prediction.shape}, the truth {shape}; "
            "the scorer never resizes"
        )
    if not np.issubdtype(prediction.dtype, np.floating):
        raise InputError(f"{name}: the predicted depth is {prediction.dtype}, not float32 metres")
    bad = int((~np.isfinite(prediction) | (prediction < 0)).sum())
    if bad and protocol.nonfinite == "refuse":
        raise InputError(
            f"{name}: {bad} of {prediction.size} predicted depths are negative or not finite; "
            "mend them, or clamp them as BTS does with task.nonfinite=bts"
        )
    return bad
