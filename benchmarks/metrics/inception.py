"""FID, KID, IS, precision and recall by torch-fidelity's Inception: its file, a cache, the scores.

The network's file is checked by its SHA-256 before it is opened: another Inception (torchvision's,
for one) gives other numbers, and torch-fidelity unpickles what it is given. Features of a reference
set are kept under a digest of all that decides them; torch-fidelity's own cache, whose key is a
name alone, is never used.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.metrics.distribution import (
    ALL_METRICS,
    distribution_scores,
    extract_features,
    layers_of,
    score_names,
)
from benchmarks.metrics.score import Scored
from benchmarks.metrics.weights import find_file, read_tensors
from crossflow.errors import InputError
from crossflow.files import replacing

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Float, UInt8
    from torch import Tensor

# The TF graph inception-2015-12-05; pytorch-fid publishes the same bytes under another name.
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_URL = (
    f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
)
FIELD = "weights.inception"
BATCH = 64


def find_inception(weights: str | None, download: bool) -> tuple[Path | None, str]:
    """Inception's file and its SHA-256, or None and why there is none.

    `weights` is the file or the folder that holds it under its published name; without it the file
    is looked for in torch's hub folder, where `download` fetches it. InputError as of `find_file`,
    and for any file whose digest is not the published one.
    """
    import torch

    local = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if weights is None and download and not local.is_file():
        local.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(INCEPTION_URL, str(local), hash_prefix=INCEPTION_SHA256)
    if weights is None and local.is_file():
        weights = str(local)
    # No path in the reason: it stands in records, which are equal wherever they are made.
    path, digest = find_file(FIELD, weights, INCEPTION_FILE, f"it is that of {INCEPTION_URL}")
    if path is not None and digest != INCEPTION_SHA256:
        raise InputError(
            f"{FIELD}: {path} is another file than {INCEPTION_URL}: its SHA-256 starts with "
            f"{digest[:16]}, not with {INCEPTION_SHA256[:16]}"
        )
    return path, digest


def used_digest(weights: str | None, download: bool) -> str | None:
    """The SHA-256 of the file that `find_inception` finds, None without one: for the score key."""
    path, digest = find_inception(weights, download)
    return None if path is None else digest


def inception_scores(
    generated: Sequence[UInt8[np.ndarray, "h w 3"]],
    reference: Sequence[UInt8[np.ndarray, "h w 3"]],
    *,
    weights: str | None,
    download: bool = False,
    device: str | torch.device = "cpu",
    cache: Path | None = None,
    cache_key: str | None = None,
    metrics: Sequence[str] = ALL_METRICS,
) -> Scored:
    """`fid@n`, `kid@n`, `is@n`, `precision_inception@n`, `recall_inception@n`; n: pictures made.

    Both are 8-bit RGB pictures of one size each, read batch by batch; `reference` may be larger.
    weights, download: as in `find_inception`, whose reason stands for every score where there is
    no file. cache, cache_key: folder for the features of `reference` (below `work`) and a digest of
    whatever decides its pixels (files and preparation); without them nothing is kept. Random states
    are left as they were.
    """
    path, digest = find_inception(weights, download)
    if path is None:
        names = [name for metric in metrics for name in score_names(metric, len(generated))]
        return Scored({}, unavailable=dict.fromkeys(names, digest))
    options: dict[str, Any] = {"device": device, "weights": path, "batch_size": BATCH}
    # the Inception score looks at the generated pictures alone
    shared = [metric for metric in metrics if metric != "is"]
    key = None if cache is None or cache_key is None else [cache_key, digest]
    real = reference_features(reference, shared, options, cache, key) if shared else {}
    return distribution_scores(extract_features(generated, metrics=metrics, **options), real)


def reference_features(
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]],
    metrics: Sequence[str],
    options: dict[str, Any],
    cache: Path | None,
    key: Sequence[str] | None,
) -> dict[str, Float[Tensor, "n d"]]:
    """Inception's features of a reference set, from `cache` if they are those of these pictures.

    The file's name is the digest of: the key, some of the pictures, their number, the metrics,
    the versions of torch-fidelity and torch and what else moves the last bits (device, threads,
    batch). A damaged file is named on stderr and made again. options: of `extract_features`.
    """
    import numpy as np
    import torch

    if cache is None or key is None:
        return extract_features(pictures, metrics=metrics, **options)
    # A caller's key may forget what differs: pixels of the first, the middle and the last are in.
    count, device = len(pictures), torch.device(options["device"])
    where: int | str = torch.get_num_threads()
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    versions = [version(name) for name in ("torch-fidelity", "torch")]
    parts = [*key, count, sorted(metrics), device.type, where, options["batch_size"], versions]
    whole = hashlib.sha256(json.dumps(parts).encode())
    for position in sorted({0, count // 2, count - 1}):
        whole.update(pictures[position].tobytes())
    path, layers = cache / f"{whole.hexdigest()[:32]}.npz", layers_of(metrics)
    if path.exists():
        try:  # the format checks the CRC of what it reads
            kept = read_tensors("kept features", path)
            return {metric: kept[layer] for metric, layer in layers.items()}
        except InputError as error:
            print(f"{error}: they are computed again", file=sys.stderr)
    features = extract_features(pictures, metrics=metrics, **options)
    arrays: dict[str, Any] = {layer: features[m].numpy() for m, layer in layers.items()}
    with replacing(path) as partial, partial.open("wb") as target:
        np.savez(target, **arrays)
    return features
