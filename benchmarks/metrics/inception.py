"""FID, KID, IS, precision and recall by torch-fidelity's Inception: its file, a cache, the scores.

The network's file is checked by its SHA-256 before it is opened: another Inception (torchvision's,
for one) gives other numbers, and torch-fidelity unpickles what it is given. Features of a reference
set are kept under a digest of all that decides them; torch-fidelity's own cache, whose key is a
name alone, is never used.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.metrics.distribution import (
    ALL_METRICS,
    INCEPTION,
    distribution_scores,
    extract_features,
    unavailable_scores,
)
from crossflow.errors import InputError
from crossflow.files import is_file, is_folder

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

    given = None if weights is None else Path(weights)
    path = given or Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if is_folder(path):
        path = path / INCEPTION_FILE
    if not is_file(path) and given is not None:
        raise InputError(
            f"weights.inception={weights}: no such file; {INCEPTION_FILE} is published at "
            f"{INCEPTION_URL}"
        )
    if not is_file(path) and not download:
        # No path: the reason stands in records, which are equal wherever they are made.
        return None, (
            f"weights.inception is not set and {INCEPTION_FILE} is not in torch's hub folder; it "
            f"is published at {INCEPTION_URL}"
        )
    if not is_file(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(INCEPTION_URL, str(path), hash_prefix=INCEPTION_SHA256)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != INCEPTION_SHA256:
        raise InputError(
            f"weights.inception: {path} is another file: its SHA-256 starts with {found[:16]}, "
            f"that of {INCEPTION_FILE} with {INCEPTION_SHA256[:16]}; get it from {INCEPTION_URL}"
        )
    return path, found


def used_digest(weights: str | None, download: bool) -> str | None:
    """The SHA-256 of the file that `find_inception` finds, None without one: for the score key."""
    path, found = find_inception(weights, download)
    return None if path is None else found


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
    options: dict[str, Any] = {"extractor": INCEPTION, "device": device, "weights": path}
    real = reference_features(
        reference,
        # the Inception score looks at the generated pictures alone
        metrics=[metric for metric in metrics if metric != "is"],
        cache=cache,
        cache_key=cache_key,
        weights_digest=digest,
        **options,
    )
    made = extract_features(_Tensors(generated), metrics=metrics, batch_size=BATCH, **options)
    return distribution_scores(made, real)


def reference_features(
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]],
    *,
    extractor: str,
    metrics: Sequence[str],
    device: str | torch.device,
    cache: Path | None,
    cache_key: str | None,
    weights_digest: str,
    weights: Path | None = None,
) -> dict[str, Float[Tensor, "n d"]]:
    """Features of a reference set, from `cache` if they are those of these very pictures.

    The file's name is the digest of: the caller's key or all pixels, the pixels of some pictures,
    their number, the extractor, its weights, the metrics, the versions of torch-fidelity and torch
    and what else moves the last bits (device, threads, batch). A file that is damaged is named on
    stderr and made again.
    """
    if not metrics:
        return {}
    options: dict[str, Any] = {"metrics": metrics, "device": device, "weights": weights}

    def compute() -> dict[str, Tensor]:
        return extract_features(_Tensors(pictures), extractor, batch_size=BATCH, **options)

    if cache is None:
        return compute()
    identity = {
        "content": cache_key or _pixels_digest(pictures, range(len(pictures))),
        "spots": _pixels_digest(pictures, _spread(len(pictures))),
        "count": len(pictures),
        "extractor": extractor,
        "weights": weights_digest,
        "metrics": sorted(metrics),
        **_circumstances(device),
    }
    said = json.dumps(identity, sort_keys=True)
    path = cache / f"{hashlib.sha256(said.encode()).hexdigest()[:32]}.safetensors"
    if path.exists():
        try:
            return _load(path, said, metrics)
        except _DamagedError as error:
            print(f"{path}: {error}; the features are computed again", file=sys.stderr)
    features = compute()
    _save(path, said, features)
    return features


class _DamagedError(Exception):
    """A cache file that does not hold what its name promises."""


def _circumstances(device: str | torch.device) -> dict[str, Any]:
    """What changes features in the last bits: a cached run must equal one that computes."""
    from importlib.metadata import version

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


def _save(path: Path, identity: str, features: dict[str, Tensor]) -> None:
    """One tensor for each different set of features, with its digest; appears whole or not."""
    from safetensors.torch import save_file

    kept: dict[str, Tensor] = {}
    names = {}  # most metrics read the same layer: kept once
    for metric, tensor in features.items():
        value = tensor.contiguous()
        digest = _tensor_digest(value)
        kept.setdefault(digest, value)
        names[metric] = digest
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        save_file(kept, partial, {"identity": identity, "metrics": json.dumps(names)})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _load(path: Path, identity: str, metrics: Sequence[str]) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _DamagedError(f"damaged ({error})") from error
    if facts.get("identity") != identity:
        raise _DamagedError("damaged, or of other pictures than its name says")
    if any(_tensor_digest(tensor) != name for name, tensor in kept.items()):
        raise _DamagedError("damaged: the features are not those that were written")
    names = json.loads(facts.get("metrics", "{}"))
    if not set(metrics) <= names.keys() or not set(names.values()) <= kept.keys():
        raise _DamagedError("damaged: features are missing")
    return {metric: kept[names[metric]] for metric in metrics}


def _tensor_digest(tensor: Tensor) -> str:
    array = tensor.cpu().numpy()
    head = f"{array.dtype}{array.shape}".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()


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
