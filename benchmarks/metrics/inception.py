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
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.metrics.distribution import (
    ALL_METRICS,
    INCEPTION,
    distribution_scores,
    extract_features,
    layers_of,
    unavailable_scores,
)
from benchmarks.metrics.weights import find_file
from crossflow.errors import InputError
from crossflow.files import replacing, sha256

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Float, UInt8
    from torch import Tensor

    from benchmarks.metrics.score import Scored

# The TF graph inception-2015-12-05; pytorch-fid publishes the same bytes under another name.
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_URL = (
    f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
)
FIELD = "weights.inception"
BATCH = 64
SPOTS = 16  # pictures whose pixels stand in the key of a cache, whatever the caller's key says


def find_inception(weights: str | None, download: bool) -> tuple[Path | None, str]:
    """Inception's file and its SHA-256, or None and why there is none.

    `weights` is the file or the folder that holds it under its published name; without it the
    file is looked for in torch's hub folder, where `download` fetches it. Call it before anything
    is trained: raises InputError for a given path without a file, and for any file whose digest
    is not the published one.
    """
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if weights is not None:
        path = find_file(FIELD, weights, INCEPTION_FILE, f"it is published at {INCEPTION_URL}")
    elif not path.is_file() and not download:
        # No path: the reason stands in records, which are equal wherever they are made.
        return None, (
            f"{FIELD} is not set and {INCEPTION_FILE} is not in torch's hub folder; it "
            f"is published at {INCEPTION_URL}"
        )
    elif not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(INCEPTION_URL, str(path), hash_prefix=INCEPTION_SHA256)
    digest = sha256(path)
    if digest != INCEPTION_SHA256:
        raise InputError(
            f"{FIELD}: {path} is another file: its SHA-256 starts with {digest[:16]}, "
            f"that of {INCEPTION_FILE} with {INCEPTION_SHA256[:16]}; get it from {INCEPTION_URL}"
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
    no file. cache: folder for the features of `reference` (below `work`), None keeps nothing.
    cache_key: a digest of whatever decides the reference pixels (files and preparation), where the
    caller has one; without it all pixels are read and hashed. Random states are left as they were.
    """
    path, digest = find_inception(weights, download)
    if path is None:
        return unavailable_scores(len(generated), digest, metrics=metrics)
    options: dict[str, Any] = {"device": device, "weights": path}
    real = reference_features(
        reference,
        # the Inception score looks at the generated pictures alone
        metrics=[metric for metric in metrics if metric != "is"],
        cache=cache,
        cache_key=cache_key,
        weights_digest=digest,
        **options,
    )
    made = extract_features(
        _Tensors(generated), INCEPTION, metrics=metrics, batch_size=BATCH, **options
    )
    return distribution_scores(made, real)


def reference_features(
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]],
    *,
    metrics: Sequence[str],
    device: str | torch.device,
    cache: Path | None,
    cache_key: str | None,
    weights_digest: str,
    weights: Path | None = None,
) -> dict[str, Float[Tensor, "n d"]]:
    """Inception's features of a reference set, from `cache` if they are those of these pictures.

    The file's name is the digest of: the caller's key or all pixels, the pixels of some pictures,
    their number, the weights, the metrics, the versions of torch-fidelity and torch and what else
    moves the last bits (device, threads, batch). A damaged file is named on stderr and made again.
    """
    import numpy as np

    def compute() -> dict[str, Tensor]:
        options: dict[str, Any] = {"metrics": metrics, "device": device, "weights": weights}
        return extract_features(_Tensors(pictures), INCEPTION, batch_size=BATCH, **options)

    if not metrics:
        return {}
    if cache is None:
        return compute()
    identity = {
        "content": cache_key or _pixels_digest(pictures, range(len(pictures))),
        "spots": _pixels_digest(pictures, _spread(len(pictures))),
        "count": len(pictures),
        "extractor": INCEPTION,
        "weights": weights_digest,
        "metrics": sorted(metrics),
        **_circumstances(device),
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    path, layers = cache / f"{digest[:32]}.npz", layers_of(metrics)
    if path.exists():
        try:
            return _load(path, digest, layers)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            print(f"{path}: damaged ({error}); the features are computed again", file=sys.stderr)
    features = compute()
    kept = {layer: features[metric].numpy() for metric, layer in layers.items()}
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, digest=np.array(digest), **kept)
    return features


def _load(path: Path, digest: str, layers: dict[str, str]) -> dict[str, Tensor]:
    """Features by metric; the file's format checks the CRC of what it reads."""
    import numpy as np
    import torch

    with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
        if str(kept["digest"]) != digest:
            raise ValueError("of other pictures than its name says")
        return {metric: torch.from_numpy(kept[layer]) for metric, layer in layers.items()}


def _circumstances(device: str | torch.device) -> dict[str, Any]:
    """What changes features in the last bits: a cached run must equal one that computes."""
    import torch

    kind = torch.device(device).type
    where = torch.cuda.get_device_name(device) if kind == "cuda" else torch.get_num_threads()
    versions = {name: version(name) for name in ("torch-fidelity", "torch")}
    return {"device": kind, "where": where, "batch": BATCH, "versions": versions}


def _spread(count: int) -> list[int]:
    """Up to SPOTS positions from the first to the last."""
    last, parts = count - 1, max(1, min(SPOTS, count) - 1)
    return sorted({last * i // parts for i in range(parts + 1)})


def _pixels_digest(pictures: Sequence[np.ndarray], positions: Sequence[int]) -> str:
    whole = hashlib.sha256()
    for position in positions:
        picture = pictures[position]
        whole.update(f"{picture.dtype}{picture.shape}".encode())
        whole.update(picture.tobytes())
    return whole.hexdigest()


class _Tensors(Sequence["Tensor"]):
    """Pictures (h, w, 3) as uint8 tensors (3, h, w)."""

    def __init__(self, pictures: Sequence[np.ndarray]) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: Any) -> Any:
        import numpy as np
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.pictures[index].transpose(2, 0, 1)))
