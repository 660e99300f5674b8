"""CrossFlow's text encoder as its authors run it: text features to mean and log-variance of z0."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from crossflow.layers import Attention
from crossflow.problem import MapShape, Mask, Moments, Source, Tokens, TokenShape


@dataclass(frozen=True)
class TextSize:
    """Of the text encoder; `width` is that of its layers, halved by each of the last ones."""

    width: int
    layers: int  # of full width
    reductions: int  # that halve it
    heads: int
    hidden: int
    compressed: bool  # features are first brought to `width` (T5)
    adaptor: int | None  # width of the convolutional head (512 pixels); None: one linear layer


class Norm(nn.Module):
    """Over the standard deviation itself, not the root of a variance with epsilon."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tokens) -> Tokens:
        spread = x.std(dim=-1, keepdim=True) + 1e-5
        return self.weight * ((x - x.mean(dim=-1, keepdim=True)) / spread) + self.bias


class TextLayer(nn.Module):
    """Post-norm attention and ReLU MLP; `out` is another width where a layer reduces it."""

    def __init__(self, width: int, size: TextSize, out: int | None = None) -> None:
        super().__init__()
        self.attention = Attention(width, size.heads)
        self.norm1, self.norm2 = Norm(width), Norm(width)
        self.up, self.down = nn.Linear(width, size.hidden), nn.Linear(size.hidden, width)
        self.reduction = nn.Identity() if out is None else nn.Linear(width, out)

    def forward(self, x: Tokens, mask: Mask) -> Float[Tensor, "b n out"]:
        x = self.norm1(x + self.attention(x, x, mask))
        return self.reduction(self.norm2(x + self.down(F.relu(self.up(x)))))


class TextEncoder(nn.Module):
    """Features of a text model to mean and log-variance of z0 (CrossFlow section 4.1).

    The authors train it with dropout 0.1; here there is none.
    """

    def __init__(self, source: TokenShape, target: MapShape, size: TextSize) -> None:
        super().__init__()
        assert source.width is not None
        self.target, width = target, size.width
        compressor = (*dense(source.width, width), nn.Linear(width, width))
        self.compressor = nn.Sequential(*compressor) if size.compressed else nn.Identity()
        layers = [TextLayer(width, size) for _ in range(size.layers)]
        widths = [width >> i for i in range(size.reductions + 1)]
        layers += [TextLayer(a, size, b) for a, b in pairwise(widths)]
        self.layers = nn.ModuleList(layers)
        numbers, latent = source.length * widths[-1], math.prod(target.sizes)
        if size.adaptor is None:
            self.head: nn.Module = nn.Linear(numbers, 2 * latent)
        else:
            self.head = adaptor(numbers, size.adaptor, 2 * latent)

    def forward(self, source: Source) -> Moments:
        x = self.compressor(source.values)
        for layer in self.layers:
            x = layer(x, source.mask)
        mean, logvar = self.head(x.flatten(1)).float().chunk(2, dim=1)
        shape = (len(x), *self.target.sizes)
        return mean.reshape(shape), logvar.reshape(shape)


def adaptor(numbers: int, width: int, latent: int) -> nn.Sequential:
    """The 512 pixel head: two dense layers whose `width` outputs are a square map, convolved."""
    side, conv = math.isqrt(width), partial(nn.Conv2d, kernel_size=3, padding=1)
    layers = [*dense(numbers, width), *dense(width, width), nn.Unflatten(1, (1, side, side))]
    for before, after in ((1, 32), (32, 64)):
        layers += [conv(before, after), nn.LayerNorm([after, side, side]), nn.ReLU()]
    return nn.Sequential(*layers, conv(64, latent // width), nn.Flatten())


def dense(before: int, after: int) -> list[nn.Module]:
    return [nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU()]
