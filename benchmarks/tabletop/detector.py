"""The evaluator's network: a small centre-point detector with a pooled feature head.

One convolutional trunk at 64 px (32 px pictures are enlarged first) ends in a 16 x 16 grid. Each
cell says whether a solid's centre lies in it (Zhou et al. 2019, "Objects as Points") and what the
solid is. The feature head pools every level of the trunk, the early ones with their spread: fine
texture and blur show there, and a distance between sets of pictures must see them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

NAME = "evaluator"
VERSION = 1
GRID = 16  # cells each way
WIDTHS = (32, 48, 112, 192)  # channels at 1/2, 1/4, 1/8 and 1/16 of the resolution
JOINED = 80  # channels where the levels meet, at 1/4
FEATURES = 64  # dimensions for FID and KID
PAIRS = 32  # colour x shape, the classes of the feature head
QUALITIES = 3  # what the feature head must know of the picture: size, blur, noise
# Channels of each map of the grid.
PARTS = {"heat": 1, "offset": 2, "shape": 4, "color": 8, "material": 2}
PARTS |= {"log_size": 1, "log_depth": 1}


@dataclass(frozen=True)
class Output:
    """Raw outputs."""

    grid: dict[str, Float[Tensor, "b c 16 16"]]  # by names of `PARTS`
    features: Float[Tensor, "b 64"]
    logits: Float[Tensor, "b 32"]  # over colour-shape pairs
    qualities: Float[Tensor, "b 3"]


class Detector(nn.Module):
    """uint8 pictures of 64 or 32 px to `Output`."""

    center: Tensor
    whitening: Tensor

    def __init__(self) -> None:
        super().__init__()
        w2, w4, w8, w16 = WIDTHS
        self.level2 = _convolution(3, w2, stride=2)
        self.level4 = nn.Sequential(_convolution(w2, w4, stride=2), Residual(w4))
        self.level8 = nn.Sequential(_convolution(w4, w8, stride=2), Residual(w8), Residual(w8))
        self.level16 = nn.Sequential(_convolution(w8, w16, stride=2), Residual(w16))
        self.side4, self.side8, self.side16 = (nn.Conv2d(c, JOINED, 1) for c in (w4, w8, w16))
        self.join = nn.Sequential(nn.ReLU(), _convolution(JOINED, JOINED))
        self.head = nn.Conv2d(JOINED, sum(PARTS.values()), 1)
        self.pooled = nn.Linear(2 * w2 + 2 * w4 + w8 + w16, FEATURES)
        self.register_buffer("center", torch.zeros(FEATURES))
        self.register_buffer("whitening", torch.eye(FEATURES))
        self.summary = nn.Sequential(nn.ReLU(), nn.Linear(FEATURES, PAIRS + QUALITIES))
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias[:1], -4.0)  # few cells hold a centre

    def forward(self, images: UInt8[Tensor, "b 3 s s"]) -> Output:
        scaled = images.float() / 127.5 - 1
        if images.shape[-1] != 64:
            scaled = nn.functional.interpolate(scaled, (64, 64), mode="bilinear")
        scaled = scaled.contiguous(memory_format=torch.channels_last)
        x2 = self.level2(scaled)
        x4 = self.level4(x2)
        x8 = self.level8(x4)
        x16 = self.level16(x8)
        top = self.side8(x8) + _doubled(self.side16(x16))
        grid = self.head(self.join(self.side4(x4) + _doubled(top)))
        pools = [*_spread(x2), *_spread(x4), x8.float().mean((2, 3)), x16.float().mean((2, 3))]
        pooled = self.pooled(torch.cat(pools, 1)).float()
        summary = self.summary(pooled).float()
        features = (pooled - self.center) @ self.whitening
        parts = dict(zip(PARTS, grid.float().split(list(PARTS.values()), 1), strict=True))
        return Output(parts, features, summary[:, :PAIRS], summary[:, PAIRS:])


@torch.no_grad()
def whiten(network: Detector, pictures: Sequence[UInt8[Tensor, "b 3 s s"]]) -> None:
    """Set `center` and `whitening` so that features of these pictures have covariance one.

    Else the solids' colours, of large spread, drown all else in KID's cubic kernel, even a blur.
    """
    network.center.zero_()
    network.whitening.copy_(torch.eye(FEATURES))
    pooled = torch.cat([network(part).features for part in pictures]).double()
    values, vectors = torch.linalg.eigh(torch.cov(pooled.T))
    network.center.copy_(pooled.mean(0))
    network.whitening.copy_(vectors / values.clamp_min(1e-6).sqrt())


class Residual(nn.Module):
    """x + f(x), f two normalised convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return torch.relu(x + self.norm(self.second(self.first(x))))


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def _doubled(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _spread(x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the picture."""
    variance, mean = torch.var_mean(x.float(), (2, 3))
    return mean, (variance + 1e-6).sqrt()
