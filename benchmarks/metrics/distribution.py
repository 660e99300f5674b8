"""Distances between sets of images by torch-fidelity: FID, KID, Inception score, precision, recall.

Every number comes from torch-fidelity's own functions. This file decides what the library leaves
open: which extractor, how many subsets, when a number means nothing, and that an evaluation inside
training leaves the random generators as they were.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.metrics.score import Better, Score, Scored
from benchmarks.metrics.weights import find_file
from crossflow.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Float, UInt8
    from torch import Tensor

PROTOCOL = 1  # raised by hand when a value of this file may change; part of every score_key
INCEPTION = "inception-v3-compat"  # torch-fidelity's port of the TF graph inception-2015-12-05
# Checked before it is opened: another Inception (torchvision's, for one) gives other numbers, and
# the library unpickles what it is given. pytorch-fid publishes the same bytes by another name.
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
_RELEASE = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"
INCEPTION_URL = f"{_RELEASE}/{INCEPTION_FILE}"
FIELD = "weights.inception"
METRICS = ("fid", "kid", "is", "prc")  # "prc" is precision and recall
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
IS_SPLITS, PRC_NEIGHBOURS = 10, 3
# Images of the smaller set below which a number says nothing: KID's subsets of fewer than 50, a
# split without an image, an image without enough neighbours.
LEAST = {"kid": 100, "is": IS_SPLITS, "prc": PRC_NEIGHBOURS + 1}
BATCH = 64
SEED = 2020  # torch-fidelity's default: KID's subsets and the shuffle of the Inception score
_REFERENCES: dict[tuple[str, ...], dict[str, Tensor]] = {}  # features, by what decides them


def metric_name(metric: str, n: int, extractor: str = INCEPTION) -> str:
    """`fid@30000`; `kid_tabletop@1000` when the features are not Inception's.

    Precision and recall always say whose features they are, `precision_inception@30000`: the usual
    network for them is VGG16 (Kynkaanniemi et al. 2019), and theirs are other numbers.
    """
    if extractor == INCEPTION:
        extractor = "inception" if metric in ("precision", "recall") else ""
    return f"{metric}_{extractor}@{n}" if extractor else f"{metric}@{n}"


def score_names(metric: str, n: int, extractor: str = INCEPTION) -> list[str]:
    """The scores that a metric of `METRICS` yields: two of "prc", else one."""
    parts = ("precision", "recall") if metric == "prc" else (metric,)
    return [metric_name(part, n, extractor) for part in parts]


@contextmanager
def preserved_random_state(device: str | torch.device = "cpu") -> Iterator[None]:
    """Runs a block and puts the generators of torch, numpy and python back as they were."""
    import numpy as np
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def extract_features(
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    extractor: str = INCEPTION,
    *,
    metrics: Sequence[str],
    device: str | torch.device = "cpu",
    weights: Path | None = None,
) -> dict[str, Float[Tensor, "n d"]]:
    """Features of pictures of one size by a registered torch-fidelity extractor: {metric: (n, d)}.

    Pictures are read batch by batch; ValueError unless they are 8-bit RGB. Inception's file comes
    from `find_inception`, which checks it; without `weights` the library would download.
    """
    import numpy as np
    import torch
    from torch_fidelity import utils

    # the layer that each metric reads; most read the same one
    names = {metric: "isc" if metric == "is" else metric for metric in metrics}
    resolve = utils.resolve_feature_layer_for_metric
    layers = {m: resolve(name, feature_extractor=extractor) for m, name in names.items()}
    parts: dict[str, list[Tensor]] = {layer: [] for layer in sorted({*layers.values()})}
    options: dict[str, Any] = {"cuda": torch.device(device).type == "cuda", "verbose": False}
    options["feature_extractor_weights_path"] = None if weights is None else str(weights)
    with preserved_random_state(device), torch.no_grad():
        network = utils.create_feature_extractor(extractor, list(parts), **options)
        for first in range(0, len(images), BATCH):
            rows = range(len(images))[first : first + BATCH]
            batch = torch.from_numpy(np.stack([images[row] for row in rows]))
            if batch.dtype != torch.uint8 or batch.shape[3:] != (3,):
                raise ValueError(f"{batch.dtype} {tuple(batch.shape)}, not uint8 (n, h, w, 3)")
            outputs = network(batch.permute(0, 3, 1, 2).contiguous().to(device))
            for layer, values in network.convert_features_tuple_to_dict(outputs).items():
                parts[layer].append(values.cpu())
    features = {layer: torch.cat(values).float() for layer, values in parts.items()}
    return {metric: features[layer] for metric, layer in layers.items()}


def fid_from_features(generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"]) -> float:
    """Frechet distance |mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2) (Heusel et al. 2017, Eq. 6).

    torch-fidelity's mean is of float32, its covariance of float64 and divided by n - 1.
    """
    from torch_fidelity import metric_fid as library

    statistics = [library.fid_features_to_statistics(each.cpu()) for each in (generated, real)]
    return float(library.fid_statistics_to_metric(*statistics, False)[library.KEY_METRIC_FID])


def kid_from_features(
    generated: Float[Tensor, "n d"],
    real: Float[Tensor, "m d"],
    subsets: int = KID_SUBSETS,
    subset_size: int | None = None,
) -> tuple[float, float]:
    """Mean and std over subsets of the unbiased MMD^2, cubic kernel (Binkowski et al. 2018, 4).

    May be negative. Default subset size: min(1000, n // 2) of the smaller set.
    """
    from torch_fidelity import metric_kid as library

    size = subset_size or min(KID_SUBSET_SIZE, min(len(generated), len(real)) // 2)
    options = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": SEED, "verbose": False}
    out = library.kid_features_to_metric(generated, real, **options)
    return float(out[library.KEY_METRIC_KID_MEAN]), float(out[library.KEY_METRIC_KID_STD])


def inception_score(
    logits: Float[Tensor, "n classes"], splits: int = IS_SPLITS, shuffle: bool = True
) -> tuple[float, float]:
    """Mean and std over splits of exp(E KL(p(y|x) || p(y))) (Salimans et al. 2016)."""
    from torch_fidelity import metric_isc as library

    out = library.isc_features_to_metric(logits.cpu(), splits, shuffle, SEED)
    return float(out[library.KEY_METRIC_ISC_MEAN]), float(out[library.KEY_METRIC_ISC_STD])


def precision_recall(
    generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"]
) -> tuple[float, float]:
    """Share of generated images in the union of balls round the real ones, and the other way round.

    A ball reaches to its feature's 3rd neighbour (Kynkaanniemi et al. 2019, Eqs. 1 and 2).
    """
    from torch_fidelity import metric_prc as library

    # save_cpu_ram: the same numbers without n x m distances at once
    options = {"prc_neighborhood": PRC_NEIGHBOURS, "save_cpu_ram": True, "verbose": False}
    out = library.prc_features_to_metric(generated.cpu(), real.cpu(), **options)
    return float(out[library.KEY_METRIC_PRECISION]), float(out[library.KEY_METRIC_RECALL])


def distribution_scores(
    generated: dict[str, Float[Tensor, "n d"]],
    real: dict[str, Float[Tensor, "m d"]],
    extractor: str = INCEPTION,
) -> Scored:
    """Scores of features from `extract_features`, for the metrics that `generated` holds.

    n in each name is the number of generated images. KID's stderr is the noise of the subset draw,
    not of the images; the others have none. Unavailable below `LEAST` images, and FID unless they
    are more than the feature dimensions: the covariance is singular.
    """
    scored = Scored({})
    for metric, features in generated.items():
        n, others = len(features), features if metric == "is" else real[metric]
        names, stderr = score_names(metric, n, extractor), None
        fewest, least = min(n, len(others)), LEAST.get(metric, features.shape[1] + 1)
        if fewest < least:
            reason = f"{metric.upper()} needs at least {least} images: {fewest} images"
            reason += f", {least - 1} dimensions" if metric == "fid" else ""
            scored.unavailable |= dict.fromkeys(names, reason)
            continue
        values: Sequence[float]
        if metric == "fid":
            values = [fid_from_features(features, others)]
        elif metric == "kid":
            mean, std = kid_from_features(features, others)
            values, stderr = [mean], std / KID_SUBSETS**0.5
        elif metric == "is":
            values = [inception_score(features)[0]]
        else:
            values = precision_recall(features, others)
        better: Better = "lower" if metric in ("fid", "kid") else "higher"
        for name, value in zip(names, values, strict=True):
            scored.scores[name] = Score(value, stderr, n, better)
    return scored


def find_inception(weights: str | None, download: bool) -> tuple[Path | None, str]:
    """Inception's file and its SHA-256, or None and why there is none; see `find_file`.

    Without `weights` it is looked for in torch's hub folder, where `download` fetches it.
    InputError for any file whose digest is not the published one.
    """
    import torch

    local = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if weights is None and download and not local.is_file():
        local.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(INCEPTION_URL, str(local), hash_prefix=INCEPTION_SHA256)
        except Exception as error:  # whatever the network runs into, or another digest
            reason = f"{INCEPTION_URL} cannot be fetched ({error}); give {FIELD}"
            raise InputError(f"download=true: {reason}") from None
    if weights is None and local.is_file():
        weights = str(local)
    # No path in the reason: it stands in records, which are equal wherever they are made.
    path, digest = find_file(FIELD, weights, INCEPTION_FILE, f"it is that of {INCEPTION_URL}")
    if path is not None and digest != INCEPTION_SHA256:
        other = f"starts with {digest[:16]}, not with {INCEPTION_SHA256[:16]}"
        raise InputError(f"{FIELD}: {path} is not the file of {INCEPTION_URL}: its SHA-256 {other}")
    return path, digest


def inception_scores(
    generated: Sequence[UInt8[np.ndarray, "h w 3"]],
    reference: Sequence[UInt8[np.ndarray, "h w 3"]],
    *,
    weights: str | None,
    reference_key: str,
    download: bool = False,
    device: str | torch.device = "cpu",
) -> Scored:
    """`fid@n`, `kid@n`, `is@n`, `precision_inception@n`, `recall_inception@n`; n: pictures made.

    Both are 8-bit RGB pictures of one size each; `reference` may hold more. reference_key: digest
    of whatever decides its pixels, as its features are extracted once a process. Without a file
    every score is unavailable, for the reason of `find_inception`.
    """
    path, digest = find_inception(weights, download)
    if path is None:
        names = [name for metric in METRICS for name in score_names(metric, len(generated))]
        return Scored({}, unavailable=dict.fromkeys(names, digest))
    key = reference_key, digest, str(device)
    where: dict[str, Any] = {"device": device, "weights": path}
    if key not in _REFERENCES:
        compared = [metric for metric in METRICS if metric != "is"]
        _REFERENCES[key] = extract_features(reference, metrics=compared, **where)
    features = extract_features(generated, metrics=METRICS, **where)
    return distribution_scores(features, _REFERENCES[key])
