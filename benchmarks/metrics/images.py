"""Errors of pairs of 8-bit images: PSNR and SSIM by scikit-image, in RGB and on luma, and LPIPS.

LPIPS (Zhang et al. 2018) is the lpips package's, with the linear layers (0.1) that it brings. Its
trunk is never fetched: `weights.lpips` is a file of torchvision's AlexNet, or a folder with one,
`alexnet*.npz`, `.pth` or `.safetensors`. Half precision moves a distance by less than 1e-4.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.metrics.distribution import preserved_random_state
from benchmarks.metrics.score import Scored, mean_score, per_item
from benchmarks.metrics.weights import find_file, read_tensors
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from torch import Tensor

# Raised by hand when a value of this file may change; part of every score_key.
PROTOCOL, LPIPS_PROTOCOL = 1, 1
LARGEST_PSNR = 80.0  # dB, what BasicSR's calculate_psnr_pt gives to equal images
LUMA_WEIGHTS = np.array([65.481, 128.553, 24.966])  # of red, green, blue in 0..1
SCORES = ("psnr_rgb", "ssim_rgb", "psnr_y", "ssim_y")
SSIM_WINDOW = 11  # pixels; the smallest image that SSIM can score
FIELD, LPIPS = "weights.lpips", "lpips_alex"
LPIPS_LEAST = 32  # pixels; smaller pictures vanish in the trunk
# Distance of the probe's two pictures: tells the published trunk from any other, in any precision.
PROBE, PROBE_TOLERANCE = 0.10064, 2e-3


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

    matlab: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "data_range": 255}
    matlab |= {"use_sample_covariance": False, "channel_axis": -1 if first.ndim == 3 else None}
    return float(structural_similarity(first, second, **matlab))


def image_scores(
    ids: Sequence[str],
    predictions: Sequence[UInt8[np.ndarray, "h w 3"]],
    truths: Sequence[UInt8[np.ndarray, "h w 3"]],
    border: int = 0,
) -> Scored:
    """`psnr_rgb`, `ssim_rgb`, `psnr_y`, `ssim_y`: means of per-image values, on all cores.

    border: pixels cut from each side first (classic super-resolution: as many as its scale). Equal
    pairs are counted. InputError for other pictures than 8-bit RGB, sizes that differ or are too
    small for SSIM, ValueError when there are not as many pictures as ids.
    """
    if not len(ids) == len(predictions) == len(truths):
        raise ValueError(f"{len(ids)} ids, {len(predictions)} predictions, {len(truths)} truths")

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
    scores = {name: mean_score(column, "higher") for name, column in columns.items()}
    equal = ("equal_images_rgb", "equal_images_y")
    counts = {name: int(sum(row[name] for row in rows)) for name in equal}
    return Scored(scores, {"id": list(ids), **columns}, counts=counts)


def check_pair(name: str, prediction: np.ndarray, truth: np.ndarray) -> None:
    """InputError unless both are 8-bit RGB of one size."""
    for image in (prediction, truth):
        if image.dtype != np.uint8 or image.shape != truth.shape or truth.shape[2:] != (3,):
            raise InputError(
                f"{name}: the prediction is {prediction.dtype} {prediction.shape}, the truth "
                f"{truth.dtype} {truth.shape}: both must be uint8 (h, w, 3); nothing is resized"
            )


def find_trunk(weights: str | None) -> tuple[Path | None, str]:
    """The trunk's file and its SHA-256, or None and why there is none; see `find_file`.

    The digest is in the score key: files of several precisions pass for the published network.
    """
    return find_file(FIELD, weights, "alexnet*", "alexnet* of torchvision, trained on ImageNet")


def lpips_scores(
    ids: Sequence[str],
    predictions: Sequence[UInt8[np.ndarray, "h w 3"]],
    truths: Sequence[UInt8[np.ndarray, "h w 3"]],
    *,
    weights: str | None,
    device: str = "cpu",
) -> Scored:
    """`lpips_alex`: mean over pairs of whole images (no border is cut), lower is better.

    Pairs go through the network one by one: a batch would need one size, and change last bits.
    InputError where sizes differ or the weights are not the published ones.
    """
    import torch

    path, reason = find_trunk(weights)
    if path is None:
        return Scored({}, unavailable={LPIPS: reason})
    try:
        network, bits = _network(path, device)
    except ImportError:
        missing = "the package lpips is not installed (extra `real`)"
        return Scored({}, unavailable={LPIPS: missing})
    values = []
    for row, item in enumerate(ids):
        pair = predictions[row], truths[row]
        check_pair(item, *pair)
        height, width = pair[1].shape[:2]
        if min(height, width) < LPIPS_LEAST:
            small = f"LPIPS needs {LPIPS_LEAST} pixels a side, {item} has {width} x {height}"
            return Scored({}, unavailable={LPIPS: small})
        with torch.inference_mode():
            values.append(float(network(*(_tensor(image).to(device) for image in pair))))
    scored = Scored({LPIPS: mean_score(values, "lower")}, {"id": list(ids), LPIPS: values})
    scored.counts = {f"{LPIPS}_weight_bits": bits}
    return scored


def _tensor(image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "1 3 h w"]:
    """8-bit RGB to [-1, 1]."""
    import torch

    return torch.from_numpy(np.array(image.transpose(2, 0, 1)[None])).float() / 127.5 - 1


@cache
def _network(path: Path, device: str) -> tuple[Any, int]:
    """The metric with a user's trunk, frozen, and the bits of its weights; read once a process."""
    import lpips
    import torch

    with preserved_random_state(), warnings.catch_warnings():
        # torchvision warns of the argument by which the package asks it for no weights.
        warnings.simplefilter("ignore", UserWarning)
        network = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
    state, trunk = read_tensors(FIELD, path), {}
    for name, parameter in network.net.named_parameters():
        given = "features." + name.split(".", 1)[1]  # slice2.3.weight -> features.3.weight
        if given not in state or state[given].shape != parameter.shape:
            raise InputError(f"{FIELD}: {path} lacks {given} of torchvision's alexnet")
        trunk[name] = state[given]
    bits = min(torch.finfo(tensor.dtype).bits for tensor in trunk.values())
    network.net.load_state_dict({name: tensor.float() for name, tensor in trunk.items()})
    network.eval().requires_grad_(False)
    # Two pictures whose distance is known.
    y, x = np.mgrid[0:64, 0:64]
    first = np.stack([(3 * x + 5 * y) % 256, (7 * x + 2 * y) % 256, (x * y) % 256], -1)
    second = np.clip(first + ((x * 13 + y * 7) % 99 - 49)[..., None], 0, 255)
    with torch.inference_mode():
        distance = float(network(*(_tensor(image.astype(np.uint8)) for image in (first, second))))
    if not abs(distance / PROBE - 1) < PROBE_TOLERANCE:
        raise InputError(
            f"{FIELD}: {path} is another alexnet than torchvision's IMAGENET1K_V1: the distance "
            f"of two known pictures is {distance:.4f} instead of {PROBE:.4f}"
        )
    return network.to(device), bits
