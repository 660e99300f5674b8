"""Depth errors by the formulas of BTS (cleinc/bts, pytorch/bts_main.py:144-165 and 275-309).

AdaBins, NeWCRFs and ZoeDepth use the same. Scores are means over images of per-image values, which
is not the mean over pixels. Arithmetic is float64; BTS accumulates in float32 and differs by 1e-7.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

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
    "delta1": "higher",
    "delta2": "higher",
    "delta3": "higher",
    "absrel_median": "lower",
    "absrel_object": "lower",
}


@dataclass(frozen=True)
class DepthProtocol:
    """What is compared: depths strictly between low and high (metres), inside the crop.

    crop: None, or (top, bottom, left, right) as shares of height and width.
    nonfinite: "refuse" stops at a prediction that is not finite or is negative; "bts" clamps it as
    BTS does (nan to low, inf to high) and counts the pixels.
    """

    low: float
    high: float
    crop: tuple[float, float, float, float] | None = None
    nonfinite: str = "refuse"

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise InputError(f"depth range {self.low} to {self.high} m: need 0 < low < high")
        if self.nonfinite not in ("refuse", "bts"):
            raise InputError(f"task.nonfinite={self.nonfinite}: use refuse or bts")

    def valid(self, truth: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        """Pixels that count: low < d < high, both strict, inside the crop."""
        mask = (truth > self.low) & (truth < self.high)
        if self.crop is not None:
            height, width = truth.shape
            top, bottom, left, right = self.crop
            inside = np.zeros_like(mask)
            # round() gives the published integers at the published size and scales elsewhere
            rows = slice(round(top * height), round(bottom * height))
            inside[rows, round(left * width) : round(right * width)] = True
            mask &= inside
        return mask

    def clamp(self, depth: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Predictions limited to [low, high]; nan becomes low (bts_main.py:275-279)."""
        return np.clip(np.where(np.isnan(depth), self.low, depth), self.low, self.high)


def depth_errors(
    truth: Float[np.ndarray, " pixels"], prediction: Float[np.ndarray, " pixels"]
) -> tuple[dict[str, float], bool]:
    """The nine errors of one image over its valid pixels, both in metres and positive.

    SILog is 100 sqrt(var(e)), e = ln p - ln d. A prediction that is a pure scale of the truth has a
    variance that rounds below zero, where the reference code yields NaN: max(var, 0) is taken, and
    the second result tells it. delta_i counts max(d/p, p/d) < 1.25^i, strictly.
    """
    d, p = truth.astype(np.float64), prediction.astype(np.float64)
    difference, log_error = p - d, np.log(p) - np.log(d)
    ratio = np.maximum(d / p, p / d)
    variance = float(np.mean(log_error**2) - np.mean(log_error) ** 2)
    errors = {
        "absrel": np.mean(np.abs(difference) / d),
        "sqrel": np.mean(difference**2 / d),
        "rmse": np.sqrt(np.mean(difference**2)),
        "rmse_log": np.sqrt(np.mean(log_error**2)),
        "log10": np.mean(np.abs(np.log10(p) - np.log10(d))),
        "silog": 100.0 * np.sqrt(max(variance, 0.0)),
        "delta1": np.mean(ratio < 1.25),
        "delta2": np.mean(ratio < 1.25**2),
        "delta3": np.mean(ratio < 1.25**3),
    }
    return {name: float(value) for name, value in errors.items()}, variance < 0


def median_scaled_absrel(
    truth: Float[np.ndarray, " pixels"],
    prediction: Float[np.ndarray, " pixels"],
    protocol: DepthProtocol,
) -> float:
    """AbsRel after scaling by median(d) / median(p), before the clamp (as in monodepth2).

    A prediction whose median is zero cannot be scaled: it is clamped as it is.
    """
    middle = float(np.median(prediction))
    scale = float(np.median(truth)) / middle if middle > 0 else 1.0
    scaled = protocol.clamp(prediction.astype(np.float64) * scale)
    return float(np.mean(np.abs(scaled - truth) / truth))


def depth_scores(
    ids: Sequence[str],
    predictions: Iterable[Float[np.ndarray, "h w"]],
    truths: Iterable[Float[np.ndarray, "h w"]],
    protocol: DepthProtocol,
    objects: Iterable[Bool[np.ndarray, "h w"]] | None = None,
) -> Scored:
    """All depth scores of a set of images, read one by one. Depths in metres, truth 0 = unknown.

    objects: masks of the pixels that `absrel_object` counts; without them it is not computed.
    Images without a valid pixel are skipped and counted, and have None in the item columns.
    Raises InputError for a wrong size, a wrong type or a refused value, naming the item.
    """
    names = [n for n in BETTER if objects is not None or n != "absrel_object"]
    columns: dict[str, list[float | None]] = {name: [] for name in names}
    columns["valid_pixels"] = []
    counts = dict.fromkeys(
        ("images_without_valid_pixels", "silog_variance_below_zero", "clamped_nonfinite_pixels"), 0
    )
    if objects is not None:
        counts["images_without_object_pixels"] = 0
    masks = [None] * len(ids) if objects is None else objects
    for name, prediction, truth, mask in zip(ids, predictions, truths, masks, strict=True):
        counts["clamped_nonfinite_pixels"] += check_depth(name, prediction, truth.shape, protocol)
        row = _one_image(truth, prediction, mask, protocol, counts)
        for column in columns:
            columns[column].append(row.get(column))
    scored = Scored({}, {"id": list(ids), **columns}, counts=counts)
    for name in names:
        if any(value is not None for value in columns[name]):
            scored.scores[name] = mean_score(columns[name], BETTER[name])
        else:
            scored.unavailable[name] = f"none of {len(ids)} images has a pixel to score"
    return scored


def _one_image(
    truth: np.ndarray,
    prediction: np.ndarray,
    object_mask: np.ndarray | None,
    protocol: DepthProtocol,
    counts: dict[str, int],
) -> dict[str, float]:
    valid = protocol.valid(truth)
    pixels = int(valid.sum())
    if not pixels:
        counts["images_without_valid_pixels"] += 1
        if object_mask is not None:
            counts["images_without_object_pixels"] += 1
        return {"valid_pixels": 0}
    d = truth[valid]
    raw = np.where(np.isnan(prediction[valid]), protocol.low, prediction[valid])
    p = protocol.clamp(raw)
    row, below_zero = depth_errors(d, p)
    counts["silog_variance_below_zero"] += below_zero
    finite = np.where(np.isinf(raw), protocol.clamp(raw), raw)
    row["absrel_median"] = median_scaled_absrel(d, finite, protocol)
    row["valid_pixels"] = pixels
    if object_mask is not None:
        on_object = object_mask[valid]
        if on_object.any():
            row["absrel_object"] = depth_errors(d[on_object], p[on_object])[0]["absrel"]
        else:
            counts["images_without_object_pixels"] += 1
    return row


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
