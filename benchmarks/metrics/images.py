"""PSNR and SSIM of pairs of 8-bit images, by scikit-image, in RGB and on luma."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.metrics.score import Scored, mean_score, per_item
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

PROTOCOL = 1  # raised by hand when a value of this file may change; part of every score_key
LARGEST_PSNR = 80.0  # dB, what BasicSR's calculate_psnr_pt gives to equal images
LUMA_WEIGHTS = np.array([65.481, 128.553, 24.966])  # of red, green, blue in 0..1
SCORES = ("psnr_rgb", "ssim_rgb", "psnr_y", "ssim_y")
EQUAL = ("equal_images_rgb", "equal_images_y")
SSIM_WINDOW = 11  # pixels; the smallest image that SSIM can score


def luma(image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """Y of BT.601 studio swing, 16..235, not rounded to integers (MATLAB's rgb2ycbcr matrix).

    Through float32 at the same places as BasicSR (utils/matlab_functions.py:264-298), so that its
    numbers come out to the last digit, not only to 1e-8.
    """
    unit = image.astype(np.float32) / np.float32(255)
    luminance = (unit.astype(np.float64) @ LUMA_WEIGHTS + 16.0) / 255.0
    return (luminance.astype(np.float32) * np.float32(255)).astype(np.float64)


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """Peak signal to noise ratio in dB with peak 255, at most 80: equal images have that much."""
    from skimage.metrics import peak_signal_noise_ratio

    if np.array_equal(first, second):
        return LARGEST_PSNR
    return min(LARGEST_PSNR, float(peak_signal_noise_ratio(first, second, data_range=255)))


def ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Structural similarity in the setting of the MATLAB code of Wang et al. 2004.

    Gaussian window of 11 pixels (sigma 1.5), population covariance, 5 pixels at the border dropped.
    """
    from skimage.metrics import structural_similarity

    matlab = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    channel = -1 if first.ndim == 3 else None
    return float(
        structural_similarity(first, second, channel_axis=channel, data_range=255, **matlab)
    )


def image_scores(
    ids: Sequence[str],
    predictions: Sequence[UInt8[np.ndarray, "h w 3"]],
    truths: Sequence[UInt8[np.ndarray, "h w 3"]],
    border: int = 0,
) -> Scored:
    """`psnr_rgb`, `ssim_rgb`, `psnr_y`, `ssim_y`: means of per-image values, on all cores.

    border: pixels cut from each side first. Papers on ImageNet score the full image; classic
    super-resolution cuts as many pixels as its scale. Equal pairs are counted. Raises InputError
    for an empty set, other pictures than 8-bit RGB, sizes that differ (nothing is resized) or that
    are too small for SSIM, ValueError when there are not as many pictures as ids.
    """
    if not len(ids) == len(predictions) == len(truths):
        raise ValueError(f"{len(ids)} ids, {len(predictions)} predictions, {len(truths)} truths")
    if not ids:
        raise InputError("no images to score: the list of items is empty")

    def pair_scores(row: int) -> dict[str, float]:
        prediction, truth = predictions[row], truths[row]
        check_pair(ids[row], prediction, truth)
        height, width = truth.shape[:2]
        if min(height, width) - 2 * border < SSIM_WINDOW:
            size = f"{width} x {height} pixels with a border of {border} cut"
            raise InputError(f"{ids[row]}: {size} is too small for SSIM")
        inner = np.s_[border : height - border, border : width - border]
        first, second = prediction[inner], truth[inner]
        scores: dict[str, float] = {}
        for space, a, b in (("rgb", first, second), ("y", luma(first), luma(second))):
            scores[f"equal_images_{space}"] = np.array_equal(a, b)
            scores[f"psnr_{space}"], scores[f"ssim_{space}"] = psnr(a, b), ssim(a, b)
        return scores

    rows = per_item(pair_scores, len(ids))
    columns = {name: [row[name] for row in rows] for name in SCORES}
    return Scored(
        scores={name: mean_score(column, "higher") for name, column in columns.items()},
        items={"id": list(ids), **columns},
        counts={name: int(sum(row[name] for row in rows)) for name in EQUAL},
    )


def check_pair(name: str, prediction: np.ndarray, truth: np.ndarray) -> None:
    """InputError unless both are 8-bit RGB of one size."""
    for image in (prediction, truth):
        if image.dtype != np.uint8 or image.shape != truth.shape or truth.shape[2:] != (3,):
            raise InputError(
                f"{name}: the prediction is {prediction.dtype} {prediction.shape}, the truth "
                f"{truth.dtype} {truth.shape}: both must be uint8 (h, w, 3); nothing is resized"
            )
