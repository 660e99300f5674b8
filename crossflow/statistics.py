"""What x0 is, in numbers: every record carries them.

"Flowing from the source" says little by itself: a draw with sigma near 1 and a mean near 0 is
noise, and sigma 0 collapses to a mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from crossflow.crossflow import kl_per_dimension
from crossflow.draws import ItemDraws
from crossflow.method import Method
from crossflow.problem import Pair


@dataclass(frozen=True)
class SourceStatistics:
    """Per dimension of x0, averaged over items and dimensions.

    mean_sigma: standard deviation of x0 given its source. std_mean: standard deviation over items
    of the mean of x0, root mean square over dimensions: how much x0 says about its source.
    kl: nats per dimension to N(0, 1); None where x0 is its mean exactly (infinite).
    distance: E|x1 - x0|^2, the mean square of what the flow must travel.
    """

    mean_sigma: float
    std_mean: float
    kl: float | None
    distance: float


@torch.no_grad()
def source_statistics(method: Method, pairs: Iterable[Pair], seed: int = 0) -> SourceStatistics:
    """Statistics of a method's x0 over some pairs, at most a few thousand (means are kept).

    The pairs are on the method's device. Raises ValueError without at least two items.
    """
    means, sigmas, kls, distances = [], [], [], []
    items = 0
    for pair in pairs:
        mean, logvar = method.source_moments(pair.source)
        numbers = range(items, items + len(mean))
        items += len(mean)
        x0 = method.sample_ends(pair.source, ItemDraws(seed, numbers)).x0
        distances.append((pair.target - x0).square().flatten(1).mean(1))
        means.append(mean.flatten(1))
        if logvar is None:
            sigmas.append(torch.zeros(len(mean)))
        else:
            sigmas.append(torch.exp(0.5 * logvar).flatten(1).mean(1))
            kls.append(kl_per_dimension(mean, logvar) * len(mean))
    if items < 2:
        raise ValueError("source statistics need at least two items")
    return SourceStatistics(
        mean_sigma=torch.cat(sigmas).mean().item(),
        std_mean=torch.cat(means).var(0).mean().sqrt().item(),
        kl=torch.stack(kls).sum().item() / items if kls else None,
        distance=torch.cat(distances).mean().item(),
    )
