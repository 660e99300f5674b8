"""Train the frozen image autoencoder: `python -m benchmarks.tabletop.making.train_autoencoder`.

The loss is the absolute error of pixels and of their differences to the right and below (sharp
edges and stripes count, and no learned judge is involved, least of all the evaluator that scores
the pictures later). Two measures make the latent space fit for a flow: each channel is held at unit
variance, and noise is added to the latents, so that a flow's small errors stay small. Some pictures
are upsampled from 16 px, as the source of super-resolution is.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmarks.tabletop import autoencoder
from benchmarks.tabletop.making import training
from benchmarks.tabletop.render import half_size, render
from benchmarks.tabletop.scenes import scenes_of

BATCH = 24  # pictures or pieces of 32 px in a step
WHOLE = 6  # pictures of 64 px in a step: the same number of pixels
SMALL, PIECES = 0.3, 0.5  # shares of steps on pictures of 32 px, and on 32 px pieces of larger ones
BLURRED = 6  # one picture in so many is upsampled from 16 px
NOISE = 0.1  # largest standard deviation of the noise on latents of unit variance
EDGES = 0.5  # weight of the differences between neighbouring pixels
SPREAD = 0.05  # weight of the penalty on a channel's departure from zero mean, unit variance


def loss_of(
    network: autoencoder.Autoencoder, images: Float[Tensor, "b 3 s s"], generator: torch.Generator
) -> Float[Tensor, ""]:
    """Reconstruction error from noisy latents, plus the departure from unit variance."""
    latents = network.encode(images)
    level = NOISE * torch.rand(len(images), 1, 1, 1, generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    rebuilt = network.decoder(latents + level * noise).float()
    flat = latents.float().transpose(0, 1).flatten(1)
    spread = flat.mean(1).square().mean() + flat.var(1).clamp_min(1e-4).log().square().mean()
    right, below = (rebuilt.diff(dim=dim) - images.diff(dim=dim) for dim in (3, 2))
    edges = right.abs().mean() + below.abs().mean()
    return (rebuilt - images).abs().mean() + EDGES * edges + SPREAD * spread


def augmented(images: Tensor, rng: np.random.Generator) -> Float[Tensor, "b 3 s s"]:
    """uint8 pictures of 64 px, perhaps mirrored; shrunk, or cut and partly blurred; in [-1, 1].

    Most steps see 32 px only: the network is convolutional, and four times as many updates in the
    same time are worth more than the wider view.
    """
    kind = rng.random()
    if rng.random() < 0.5:
        images = images.flip(3)
    if kind < SMALL:
        return autoencoder.to_unit(half_size(images))
    scaled = autoencoder.to_unit(images if kind < SMALL + PIECES else images[:WHOLE])
    blurred = len(scaled) // BLURRED
    small = nn.functional.interpolate(scaled[:blurred], 16, mode="bicubic", antialias=True)
    large = nn.functional.interpolate(small, 64, mode="bicubic").clamp(-1, 1)
    scaled = torch.cat([large, scaled[blurred:]])
    if kind < SMALL + PIECES:
        top, left = rng.integers(0, 33, 2)
        scaled = scaled[:, :, top : top + 32, left : left + 32]
    return scaled


def main() -> None:
    options = training.options_of(__doc__, scenes=12_000, minutes=50.0, rate=1.5e-3)
    pictures = render(scenes_of("codec", options.scenes))
    rng = np.random.default_rng(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    rows = training.batches(options.scenes, BATCH, rng)
    network = autoencoder.Autoencoder().to(memory_format=torch.channels_last)

    def step_loss() -> Float[Tensor, ""]:
        images = augmented(pictures[next(rows)], rng)
        return loss_of(network, images.to(memory_format=torch.channels_last), generator)

    averaged, steps = training.train(network, step_loss, options.minutes, options.rate)
    training.keep(averaged, autoencoder, options, steps=steps)


if __name__ == "__main__":
    main()
