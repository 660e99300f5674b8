"""What a source encoder is charged beside the flow loss. All are means per dimension or row."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


def kl_per_dimension(
    mean: Float[Tensor, "b ..."], logvar: Float[Tensor, "b ..."]
) -> Float[Tensor, ""]:
    """KL(N(mean, exp(logvar)) || N(0, 1)), nats per dimension, averaged over rows.

    The standard form of the paper; its code uses (0.3 mean)**6 in place of mean**2 (issue 10 of
    the official repository: an empirical tweak).
    """
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


class Contrastive(nn.Module):
    """Symmetric image-text cross-entropy over cosine similarities (CrossFlow Eq. 5 to 8).

    The temperature is learned from 0.07 as exp(-scale); its inverse is capped at 100 as in CLIP.
    Other rows that show the same image are neither positives nor negatives: they are masked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def forward(
        self,
        z0: Float[Tensor, "b ..."],
        image: Float[Tensor, "b ..."],
        groups: Int[Tensor, " b"],
    ) -> Float[Tensor, ""]:
        z0, image = (F.normalize(x.flatten(1).float(), dim=1) for x in (z0, image))
        # A cosine times up to 100 needs more digits than bfloat16 has.
        # FLOPs are counted on the meta device, which has no autocast to switch off.
        device = "cpu" if z0.is_meta else z0.device.type
        with torch.autocast(device, enabled=False):
            similarity = self.scale.exp().clamp(max=100) * z0 @ image.T
        same = groups[:, None] == groups[None, :]
        same.fill_diagonal_(False)
        similarity = similarity.masked_fill(same.to(z0.device), float("-inf"))
        labels = torch.arange(len(z0), device=z0.device)
        rows, columns = similarity, similarity.T
        return (F.cross_entropy(rows, labels) + F.cross_entropy(columns, labels)) / 2


def reconstruction(
    decoded: Float[Tensor, "b c h w"], source: Float[Tensor, "b c h w"]
) -> Float[Tensor, ""]:
    """Squared error of the source decoded from x0, per dimension (CrossFlow section 5.3, depth)."""
    return F.mse_loss(decoded.float(), source)
