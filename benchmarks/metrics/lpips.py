"""LPIPS: learned perceptual distance of pairs of images (Zhang et al. 2018), by the lpips package.

Version 0.1 of the linear layers, which the package brings. The trunk (ImageNet weights of
torchvision) is never fetched: `weights.lpips` is its file, or a folder that holds one,
`alexnet*.npz`, `.pth` or `.safetensors`, under torchvision's names `features.N.weight`. Half
precision is enough (it moves a distance by less than 1e-4) and is counted in the record.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.metrics.distribution import preserved_random_state
from benchmarks.metrics.images import check_pair
from benchmarks.metrics.score import Scored, mean_score
from benchmarks.metrics.weights import find_file, read_tensors
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from torch import Tensor

PROTOCOL = 1  # raised by hand when a value of this file may change; part of every score_key
FIELD = "weights.lpips"
TRUNKS = {"alex": "alexnet", "squeeze": "squeezenet1_1"}  # net -> torchvision's name
LEAST = 32  # pixels; smaller pictures vanish in the trunk
# Distance of the probe's two pictures: tells the published trunk from any other, in any precision.
PROBE = {"alex": 0.10064, "squeeze": 0.13699}
PROBE_TOLERANCE = 2e-3


def find_trunk(weights: str | None, net: str = "alex") -> tuple[Path | None, str]:
    """The trunk's file and its SHA-256, or None and why there is none; see `find_file`."""
    name = f"{TRUNKS[net]}*"
    return find_file(FIELD, weights, name, f"{name} of torchvision, trained on ImageNet")


def used_digest(weights: str | None) -> str | None:
    """The SHA-256 of the trunk's file, None without one: an option of the score key.

    Files of several precisions pass for the published network, and their distances differ.
    """
    path, digest = find_trunk(weights)
    return None if path is None else digest


def lpips_scores(
    ids: Sequence[str],
    predictions: Sequence[UInt8[np.ndarray, "h w 3"]],
    truths: Sequence[UInt8[np.ndarray, "h w 3"]],
    *,
    weights: str | None,
    device: str = "cpu",
    net: str = "alex",
) -> Scored:
    """`lpips_alex`: mean over pairs of whole images (no border is cut), lower is better.

    Pairs go through the network one by one: a batch would need one size, and change last bits.
    Unavailable, with the reason, without weights, without the package, or below LEAST pixels.
    Raises InputError where sizes differ or the weights are not the published ones.
    """
    import torch

    name = f"lpips_{net}"
    path, reason = find_trunk(weights, net)
    if path is None:
        return Scored({}, unavailable={name: reason})
    try:
        network, bits = _network(path, net, device)
    except ImportError:
        missing = "the package lpips is not installed (extra `real`)"
        return Scored({}, unavailable={name: missing})
    values = []
    for row, item in enumerate(ids):
        pair = predictions[row], truths[row]
        check_pair(item, *pair)
        height, width = pair[1].shape[:2]
        if min(height, width) < LEAST:
            small = f"LPIPS needs {LEAST} x {LEAST} pixels, {item} has {width} x {height}"
            return Scored({}, unavailable={name: small})
        with torch.inference_mode():
            values.append(float(network(*(_tensor(image).to(device) for image in pair))))
    return Scored(
        scores={name: mean_score(values, "lower")},
        items={"id": list(ids), name: values},
        counts={f"{name}_weight_bits": bits},
    )


def _tensor(image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "1 3 h w"]:
    """8-bit RGB to [-1, 1]."""
    import torch

    return torch.from_numpy(np.array(image.transpose(2, 0, 1)[None])).float() / 127.5 - 1


@cache
def _network(path: Path, net: str, device: str) -> tuple[Any, int]:
    """The metric with a user's trunk, frozen, and the bits of its weights; read once a process."""
    import lpips
    import torch

    with preserved_random_state(), warnings.catch_warnings():
        # torchvision warns of the argument by which the package asks it for no weights.
        warnings.simplefilter("ignore", UserWarning)
        network = lpips.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False)
    state = read_tensors(FIELD, path)
    trunk = {}
    for name, parameter in network.net.named_parameters():
        given = "features." + name.split(".", 1)[1]  # slice2.3.weight -> features.3.weight
        if given not in state or state[given].shape != parameter.shape:
            raise InputError(f"{FIELD}: {path} lacks {given} of torchvision's {TRUNKS[net]}")
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
    if not abs(distance / PROBE[net] - 1) < PROBE_TOLERANCE:
        raise InputError(
            f"{FIELD}: {path} is another {TRUNKS[net]} than torchvision's IMAGENET1K_V1: the "
            f"distance of two known pictures is {distance:.4f} instead of {PROBE[net]:.4f}"
        )
    return network.to(device), bits
