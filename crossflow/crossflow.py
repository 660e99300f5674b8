"""The method `crossflow`: x0 is a draw from the source encoder, and the network sees no source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from crossflow.draws import Draws, StepDraws
from crossflow.encoder import Encoder, MapTransformer, encoder_size
from crossflow.method import Ends, Method
from crossflow.network import Size
from crossflow.nulls import choose_nulls
from crossflow.problem import MapShape, Moments, Pair, Problem, Source

NAME = "crossflow"


@dataclass
class Options:
    """Weights of charges, which are means per dimension or row, and where the gradient flows."""

    kl_weight: float = 0.41  # the paper's 1e-4 on a KL summed over its 4 x 32 x 32 latent
    contrastive_weight: float = 1.0  # of image-text matching
    reconstruction_weight: float = 1.0  # of the source, decoded from x0
    stop_gradient: bool = False  # the flow loss does not reach the encoder (official code: it does)


def applies(problem: Problem) -> str | None:
    """None: a source of any kind can be encoded into the target's shape."""
    return None


class CrossFlow(Method):
    """x0 ~ q(z given source), charged with KL and the problem's charge (CrossFlow section 4)."""

    training_only = ("tower", "contrastive", "decoder")

    def __init__(self, problem: Problem, size: Size, **options: Any) -> None:
        super().__init__(problem)
        chosen = Options(**options)
        self.stop_gradient = chosen.stop_gradient
        width = encoder_size(problem, size)
        self.encoder, target = Encoder(problem, width), problem.target
        if problem.charge == "contrastive":
            self.tower = MapTransformer(target, target.channels, problem.patch, width)
            self.contrastive = Contrastive()
        elif problem.charge == "reconstruction":
            if not isinstance(problem.source, MapShape):
                raise ValueError("the reconstruction charge needs a source that is a map")
            self.decoder = MapTransformer(target, problem.source.channels, problem.patch, width)
        charges = {"kl" if problem.encoder == "variational" else None, problem.charge}
        for name in ("kl", "contrastive", "reconstruction"):
            if name in charges:
                self.weights[name] = getattr(chosen, f"{name}_weight")
            else:
                self.ignored += (f"{name}_weight",)
        if problem.encoder == "identity":
            self.ignored += ("stop_gradient",)

    def source_moments(self, source: Source) -> Moments:
        return self.encoder(source)

    def train_ends(self, pair: Pair, draws: StepDraws) -> Ends:
        """Null rows keep their x0 and get another image's x1; charges see the original pair."""
        mean, logvar = self.source_moments(pair.source)
        z0 = self._draw(mean, logvar, draws)
        charges: dict[str, Tensor] = {}
        if logvar is not None:
            charges["kl"] = kl_per_dimension(mean, logvar)
        if self.problem.charge == "contrastive":
            rows = z0, self.tower(pair.target), pair.groups
            charges["contrastive"] = self.contrastive(*(draws.whole_batch(x) for x in rows))
        elif self.problem.charge == "reconstruction":
            decoded = self.decoder(z0).float()
            charges["reconstruction"] = F.mse_loss(decoded, pair.source.values)
        ends = Ends(z0.detach() if self.stop_gradient else z0, pair.target, charges=charges)
        if nulls := choose_nulls(pair.groups, draws, self.problem.null_rate):
            ends.x1 = nulls.retarget(pair.target, draws)
            ends.null = nulls.mask.to(z0.device)
        return ends

    def sample_ends(self, source: Source, draws: Draws) -> Ends:
        """A draw from the encoder, as in training: the official code starts from it too."""
        x0 = self._draw(*self.source_moments(source), draws)
        return Ends(x0, None, null=self.no_nulls(x0))

    def _draw(self, mean: Tensor, logvar: Tensor | None, draws: Draws) -> Tensor:
        if logvar is None:
            return mean
        noise = draws.normal("source", mean.shape[1:]).to(mean.device)
        return mean + torch.exp(0.5 * logvar) * noise


method = CrossFlow


def kl_per_dimension(
    mean: Float[Tensor, "b ..."], logvar: Float[Tensor, "b ..."]
) -> Float[Tensor, ""]:
    """KL(N(mean, exp(logvar)) || N(0, 1)), nats per dimension, averaged over rows.

    The paper's form; its code has (0.3 mean)**6 for mean**2, an empirical tweak (its issue 10).
    """
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


class Contrastive(nn.Module):
    """Symmetric image-text cross-entropy over cosine similarities (CrossFlow Eq. 5 to 8).

    The temperature is learned from 0.07 as exp(-scale); its inverse is capped at 100 as in CLIP.
    Other rows that show the same image are neither positives nor negatives: they are masked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1 / 0.07]).log())  # FSDP shards no scalar

    def forward(
        self, z0: Float[Tensor, "b ..."], image: Float[Tensor, "b ..."], groups: Int[Tensor, " b"]
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
