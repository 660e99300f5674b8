"""Distances between sets of images by torch-fidelity: FID, KID, Inception score, precision, recall.

Every number comes from torch-fidelity's own functions. This file decides what the library leaves
open: which extractor, how many subsets, when a number means nothing, and that an evaluation inside
training leaves no trace (the library's data loader draws from torch's global generator).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.metrics.score import Better, Score, Scored

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Float, UInt8
    from torch import Tensor

PROTOCOL = 1  # raised by hand when a value of this file may change; part of every score_key
INCEPTION = "inception-v3-compat"  # torch-fidelity's port of the TF graph inception-2015-12-05
METRICS = ("fid", "kid", "is")
ALL_METRICS = (*METRICS, "prc")  # "prc" is precision and recall
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000
IS_SPLITS = 10
PRC_NEIGHBOURS = 3
# Images of the smaller set below which a number says nothing: KID's subsets of fewer than 50, a
# split without an image, an image without enough neighbours. FID's covariance: see `_least`.
LEAST = {"kid": 100, "is": IS_SPLITS, "prc": PRC_NEIGHBOURS + 1}
SEED = 2020  # torch-fidelity's default: KID's subsets and the shuffle of the Inception score


def metric_name(metric: str, n: int, extractor: str = INCEPTION) -> str:
    """`fid@30000`; `kid_tabletop@1000` when the features are not Inception's.

    Precision and recall always say whose features they are, `precision_inception@30000`: the usual
    network for them is VGG16 (Kynkaanniemi et al. 2019), and theirs are other numbers.
    """
    if extractor == INCEPTION:
        extractor = "inception" if metric in ("precision", "recall") else ""
    return f"{metric}_{extractor}@{n}" if extractor else f"{metric}@{n}"


def score_names(metric: str, n: int, extractor: str = INCEPTION) -> list[str]:
    """The scores that a metric of `ALL_METRICS` yields: two of "prc", else one."""
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
    images: Sequence[UInt8[np.ndarray, "h w 3"]] | UInt8[Tensor, "n 3 h w"],
    extractor: str = INCEPTION,
    *,
    metrics: Sequence[str] = METRICS,
    device: str | torch.device = "cpu",
    batch_size: int = 64,
    weights: Path | None = None,
) -> dict[str, Float[Tensor, "n d"]]:
    """Features of pictures of one size by a registered torch-fidelity extractor: {metric: (n, d)}.

    `images` is read batch by batch, by its length and its index. Nothing is cached: the library's
    cache key knows neither content nor count. Raises ValueError for an empty set or pictures that
    are not 8-bit RGB. Inception's file comes from `inception.find_inception`, which checks it;
    without `weights` the library would download.
    """
    import numpy as np
    import torch
    from torch_fidelity.utils import create_feature_extractor, get_featuresdict_from_dataset

    class Images(torch.utils.data.Dataset):
        """The library refuses anything but a Dataset, and guesses what its tensors are."""

        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> Tensor:
            image = images[index]
            if not torch.is_tensor(image):
                image = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
            if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
                kind = f"{image.dtype} {tuple(image.shape)}"
                raise ValueError(f"image {index} is {kind}, not uint8 (3, h, w)")
            return image

    if not len(images):
        raise ValueError("no images: features of an empty set do not exist")
    layers, cuda = layers_of(metrics, extractor), torch.device(device).type == "cuda"
    path = None if weights is None else str(weights)
    options: dict[str, Any] = {"cuda": cuda, "verbose": False}
    with preserved_random_state(device):
        network = create_feature_extractor(
            extractor, sorted({*layers.values()}), feature_extractor_weights_path=path, **options
        )
        features = get_featuresdict_from_dataset(
            Images(), network, batch_size, save_cpu_ram=True, **options
        )
    return {metric: features[layer].float() for metric, layer in layers.items()}


def layers_of(metrics: Sequence[str], extractor: str = INCEPTION) -> dict[str, str]:
    """The layer of an extractor that each metric reads; most read the same one."""
    from torch_fidelity.utils import resolve_feature_layer_for_metric as resolve

    names = {metric: "isc" if metric == "is" else metric for metric in metrics}
    return {m: resolve(name, feature_extractor=extractor) for m, name in names.items()}


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
    """Mean and standard deviation over subsets of the unbiased MMD^2, cubic kernel.

    Binkowski et al. 2018, section 4; may be negative. Default subset size: min(1000, n // 2) of the
    smaller set.
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
    """Share of generated images among the real ones' 3 nearest neighbours, and the other way round.

    Kynkaanniemi et al. 2019, Eqs. 1 and 2: a set's manifold is the union of balls round its
    features that reach to their k-th neighbour.
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

    n in each name is the number of generated images. KID's stderr is its standard deviation over
    subsets / sqrt(subsets): the noise of the subset draw, not of the images. The others have none.
    Unavailable below `LEAST` images, and FID unless they are more than the feature dimensions: the
    covariance is singular.
    """
    scored = Scored({})
    for metric, features in generated.items():
        n, others = len(features), features if metric == "is" else real[metric]
        names, stderr = score_names(metric, n, extractor), None
        least = LEAST.get(metric, features.shape[1] + 1)
        if min(n, len(others)) < least:
            reason = f"{metric.upper()} needs at least {least} images: {min(n, len(others))} images"
            if metric == "fid":
                reason += f", {least - 1} dimensions"
            scored.unavailable |= dict.fromkeys(names, reason)
            continue
        if metric == "prc":
            values: Sequence[float] = precision_recall(features, others)
        elif metric == "fid":
            values = [fid_from_features(features, others)]
        elif metric == "kid":
            mean, std = kid_from_features(features, others)
            values, stderr = [mean], std / KID_SUBSETS**0.5
        else:
            values = [inception_score(features)[0]]
        better: Better = "lower" if metric in ("fid", "kid") else "higher"
        scored.scores |= {
            name: Score(value, stderr, n, better) for name, value in zip(names, values, strict=True)
        }
    return scored
