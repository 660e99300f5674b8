"""The frozen image autoencoder: the latent space three of the embedded tasks flow in.

Like the paper's it is trained beforehand, shared by all arms and never updated. Fully
convolutional: 64 px images become 16 x 8 x 8 latents, 32 px images 16 x 4 x 4.
"""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmarks.tabletop.cards import frozen

NAME = "autoencoder"
VERSION = 1
CHANNELS = 16  # of a latent


class Residual(nn.Module):
    """x + f(x) with two convolutions, f zero at the start.

    A normalisation layer would tie a pixel to its picture or batch: exact colours would be lost.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.second(nn.functional.silu(self.first(nn.functional.silu(x))))


class Autoencoder(nn.Module):
    """Images in [-1, 1] to latents of about unit variance, and back."""

    def __init__(self) -> None:
        super().__init__()
        fine, wide, deep = 32, 80, 160  # channels at 1/2, 1/4 and 1/8 of the resolution
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, wide, 3, padding=1),
            Residual(wide),
            nn.Conv2d(wide, deep, 2, stride=2),
            Residual(deep),
            nn.Conv2d(deep, CHANNELS, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(CHANNELS, deep, 3, padding=1),
            Residual(deep),
            Residual(deep),
            nn.Conv2d(deep, 4 * wide, 1),
            nn.PixelShuffle(2),
            Residual(wide),
            nn.SiLU(),
            nn.Conv2d(wide, 4 * fine, 1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(fine, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def encode(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 16 s/8 s/8"]:
        """The mean latent of images in [-1, 1]."""
        latents: Tensor = self.encoder(images)
        return latents

    def decode(self, latents: Float[Tensor, "b 16 h w"]) -> Float[Tensor, "b 3 8*h 8*w"]:
        """Images for latents, limited to [-1, 1]."""
        images: Tensor = self.decoder(latents)
        return images.clamp(-1, 1)


@cache
def load(device: str = "cpu") -> Autoencoder:
    """The shipped autoencoder, frozen; read once per process and device."""
    return frozen(NAME, Autoencoder, device)


def to_unit(images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 3 s s"]:
    """uint8 images to the autoencoder's range [-1, 1]."""
    return images.float() / 127.5 - 1


def to_bytes(images: Float[Tensor, "b 3 s s"]) -> Tensor:
    """[-1, 1] to uint8, rounded to the nearest level."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
