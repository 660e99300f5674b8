"""Depth errors by the formulas of BTS (cleinc/bts, pytorch/bts_main.py:144-165 and 275-309).

AdaBins, NeWCRFs and ZoeDepth use the same. Scores are means over images of per-image values, which
is not the mean over pixels. Arithmetic is float64; BTS accumulates in float32 and differs by 1e-7.
Names with _affine, _affine_disp and _median are of aligned depth: see `depth_alignment`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from benchmarks.metrics.depth_alignment import CASES, aligned_errors
from benchmarks.metrics.depth_crops import Crop, whole
from benchmarks.metrics.score import Better, Scored, mean_score, per_item
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

# Raised by hand when a value of this file may change; part of every score_key. PROTOCOL_BTS is that
# of tasks that compare as BTS does, in float32.
PROTOCOL = 1
PROTOCOL_BTS = 2
LOWER = "absrel sqrel rmse rmse_log log10 silog silog_dav2 i_rmse".split()
ALIGNED = [
    f"{name}_{how}" for how in ("affine", "affine_disp", "median") for name in ("absrel", "delta1")
]
NAMES = (*LOWER, "delta1", "delta2", "delta3", *ALIGNED, "absrel_object")
BETTER: dict[str, Better] = {n: "higher" if n.startswith("delta") else "lower" for n in NAMES}
COUNTS = (
    *("images_without_valid_pixels", "silog_variance_below_zero", "clamped_nonfinite_pixels"),
    *CASES,
)
NO_OBJECT = "images_without_object_pixels"
SMALL = 2**15  # pixels; below it threads would wait for Python's lock more than they work
# How many times the truth a prediction in another unit is.
UNITS = {"millimetres": 1000.0, "centimetres": 100.0, "codes of KITTI's PNGs (256 a metre)": 256.0}


class Maps(Protocol):
    """Maps (h, w) by number: an array of them, a list, or what reads a file when asked."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> np.ndarray: ...


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


def depth_scores(
    ids: Sequence[str],
    predictions: Maps,
    truths: Maps,
    protocol: DepthProtocol,
    objects: Maps | None = None,
    workers: int | None = None,
) -> Scored:
    """All depth scores of a set of images. Depths in metres, floating point, truth 0 = unknown.

    Maps are asked for one by one, on all cores or on so many workers, with the same result.
    objects: masks of the pixels that `absrel_object` counts; without them it is not computed.
    Images without a valid pixel are skipped and counted, and have None in the item columns. A hint
    says where predictions look as if they were in another unit. Raises InputError for a wrong size,
    type or value, naming the first such item, ValueError where the lengths differ.
    """
    count = len(ids)
    if not len(predictions) == len(truths) == count == len(ids if objects is None else objects):
        raise ValueError(f"{count} ids, {len(predictions)} predictions, {len(truths)} truths")

    def image(index: int) -> tuple[dict[str, float], Counter[str]]:
        truth, prediction = truths[index], predictions[index]
        bad = check_depth(ids[index], prediction, truth.shape, protocol)
        mask = None if objects is None else objects[index]
        row, met = _one_image(truth, prediction, mask, protocol)
        return row, met + Counter(clamped_nonfinite_pixels=bad)

    small = bool(count) and truths[0].size < SMALL
    images = per_item(image, count, 1 if workers is None and small else workers)
    rows, met = [row for row, _ in images], sum((met for _, met in images), Counter[str]())
    names = [n for n in BETTER if objects is not None or n != "absrel_object"]
    columns = {n: [row.get(n) for row in rows] for n in [*names, "valid_pixels"]}
    kinds = COUNTS if objects is None else (*COUNTS, NO_OBJECT)
    scored = Scored({}, {"id": list(ids), **columns}, counts={kind: met[kind] for kind in kinds})
    for name in names:
        if any(value is not None for value in columns[name]):
            scored.scores[name] = mean_score(columns[name], BETTER[name])
        else:
            scored.unavailable[name] = f"none of {count} images has a pixel to score"
    scored.hints = _hints(rows, met, protocol)
    return scored


def _one_image(
    truth: np.ndarray,
    prediction: np.ndarray,
    object_mask: np.ndarray | None,
    protocol: DepthProtocol,
) -> tuple[dict[str, float], Counter[str]]:
    """Errors of an image (and what `_hints` wants), and which special cases it is."""
    valid, met = protocol.valid(truth), Counter[str]()
    pixels = int(valid.sum())
    if not pixels:
        met["images_without_valid_pixels"] += 1
        met[NO_OBJECT] += object_mask is not None
        return {"valid_pixels": 0}, met
    d = truth[valid]
    raw = np.where(np.isnan(prediction[valid]), protocol.low, prediction[valid])
    p = protocol.clamp(raw)
    errors, below_zero = depth_errors(d, p, protocol.float32)
    met["silog_variance_below_zero"] += below_zero
    finite = np.where(np.isinf(raw), p, raw)
    aligned, cases, ratio = aligned_errors(d, finite, protocol.low, protocol.high)
    met.update(cases)
    met["clamped"] += int(np.count_nonzero(p != raw))
    if object_mask is not None:
        on_object = object_mask[valid]
        if on_object.any():
            errors["absrel_object"] = depth_errors(d[on_object], p[on_object])[0]["absrel"]
        else:
            met[NO_OBJECT] += 1
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


def check_depth(
    name: str, prediction: np.ndarray, shape: tuple[int, ...], protocol: DepthProtocol
) -> int:
    """How many pixels of a prediction BTS's rule will clamp: negative or not finite.

    Raises InputError where the protocol refuses them, for a size other than the truth's (nothing is
    resized) and for a type that is not floating point.
    """
    if prediction.shape != shape or not np.issubdtype(prediction.dtype, np.floating):
        raise InputError(
            f"{name}: the predicted depth is {prediction.dtype} {prediction.shape}, not float32 "
            f"metres {shape} as the truth; nothing is resized"
        )
    bad = int((~np.isfinite(prediction) | (prediction < 0)).sum())
    if bad and protocol.nonfinite == "refuse":
        raise InputError(
            f"{name}: {bad} of {prediction.size} predicted depths are negative or not finite; "
            "mend them, or clamp them as BTS does with task.nonfinite=bts"
        )
    return bad
