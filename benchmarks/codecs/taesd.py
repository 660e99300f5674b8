"""The tiny autoencoders of madebyollin/taesd with the middle blocks of TAEF2 (FLUX.2's latents).

diffusers' AutoencoderTiny is the same network without those blocks' extra branch, so it cannot hold
TAEF2's weights. Names of parameters are the published files', pictures are in [0, 1], the latent is
8 times smaller each way. Published in float16; computed in float32.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

WIDTH = 64
CONTEXT = 4 * WIDTH  # width of the extra branch
GROUPS = 4  # of its normalisation
LIMIT = 3.0  # the decoder squashes latents softly to +- this


class Block(nn.Module):
    """relu(x + three convolutions of x); a middle block first adds a normalised 1 x 1 branch.

    The branch's statistics run over the whole picture: it is what sees beyond the convolutions.
    """

    def __init__(self, middle: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH)
        )
        self.pool: nn.Module | None = None
        if middle:
            self.pool = nn.Sequential(
                nn.Conv2d(WIDTH, CONTEXT, 1, bias=False),
                nn.GroupNorm(GROUPS, CONTEXT),
                nn.ReLU(),
                nn.Conv2d(CONTEXT, WIDTH, 1, bias=False),
            )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(x + self.conv(x))


class SoftLimit(nn.Module):
    """Latents squashed to +- LIMIT."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / LIMIT) * LIMIT


def encoder(channels: int) -> nn.Sequential:
    """Pictures (b, 3, 8h, 8w) in [0, 1] to latents (b, channels, h, w)."""
    layers: list[nn.Module] = [_conv(3, WIDTH), Block(middle=False)]
    for stage in range(3):
        down = nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False)
        layers += [down, *(Block(middle=stage == 2) for _ in range(3))]
    return nn.Sequential(*layers, _conv(WIDTH, channels))


def decoder(channels: int) -> nn.Sequential:
    """Latents (b, channels, h, w) to pictures (b, 3, 8h, 8w), about [0, 1]."""
    layers: list[nn.Module] = [SoftLimit(), _conv(channels, WIDTH), nn.ReLU()]
    for stage in range(3):
        layers += [Block(middle=stage == 0) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)]
    return nn.Sequential(*layers, Block(middle=False), _conv(WIDTH, 3))


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
