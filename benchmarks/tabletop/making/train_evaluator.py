"""Train the evaluator: `python -m benchmarks.tabletop.making.train_evaluator`.

It learns from rendered scenes of the split `codec` alone (every colour-shape pair, one to five
solids), never from the pictures of any method. Half of the pictures are seen at 32 px, and some are
softened, noisy or tinted: the pictures it will judge come out of a decoder, and a verdict should
turn on what they show, not on how crisp they are. The feature head in turn must tell how a picture
was spoilt, so that the distances built on it (FID, KID) do see quality.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from benchmarks.tabletop import evaluator
from benchmarks.tabletop.evaluator import ATTRIBUTES, FEATURES, GRID
from benchmarks.tabletop.making import training
from benchmarks.tabletop.render import half_size, render
from benchmarks.tabletop.scenes import MAX_SOLIDS, Scene, scenes_of

BATCH = 32
CALIBRATION = 2000  # pictures, at both sizes, that the features are whitened on
SHIFT = 4  # pixels by which a batch is moved at most
RADIUS = 0.7  # of a centre's peak on the heat map, in cells
REACH = 1.2  # cells around a centre that learn its attributes
WEIGHTS = {"offset": 1.0, "shape": 1.5, "color": 1.0, "material": 1.0}
METRIC = 0.3  # weight of size and depth in metres, which a picture tells only roughly
RELATIVE = 3.0  # weight of the same within a scene, up to a common factor: what captions state
SUMMARY = 0.3  # weight of the feature head's loss


def spoil(
    images: UInt8[Tensor, "b 3 64 64"], generator: torch.Generator
) -> tuple[UInt8[Tensor, "b 3 64 64"], Float[Tensor, "b 3"]]:
    """Pictures at 64 px, each perhaps shrunk to 32 px and back, softened, noisy or tinted.

    Returns the pictures and what was done to them: (was 32 px, softness, noise).
    """
    count, resized = len(images), nn.functional.interpolate
    draws = torch.rand(count, 5, generator=generator)[..., None, None, None]
    is_small = draws[:, 0] < 0.5
    small = resized(half_size(images).float(), 64, mode="bilinear")
    pictures = torch.where(is_small, small, images.float())
    coarse = resized(pictures, 21, mode="bicubic", antialias=True)
    soft = resized(coarse, 64, mode="bicubic")
    # 0 for three pictures of five.
    softness, noise = ((draws[:, k] - 0.6).clamp_min(0) * 2.5 for k in (1, 2))
    # Errors of a decoder hang together over several pixels.
    coarse = torch.randn(count, 3, 32, 32, generator=generator)
    grain = resized(coarse, 64, mode="bilinear")
    tint = (torch.rand(count, 3, 1, 1, generator=generator) - 0.5) * 12
    pictures = pictures + softness * (soft - pictures) + noise * 12 * grain + tint
    done = torch.cat([is_small.float(), softness, noise], 1).flatten(1)
    return pictures.clamp(0, 255).round().to(torch.uint8), done


def loss_of(
    output: dict[str, Tensor], truth: Float[Tensor, "b 5 8"], done: Float[Tensor, "b 3"]
) -> Float[Tensor, ""]:
    """Focal loss of the centres, attributes around them, and the feature head's task."""
    present = truth[..., 0] > 0
    cells = truth[..., 4:6] * GRID - 0.5
    line = torch.arange(GRID, dtype=torch.float32)
    across = cells[..., 0, None, None] - line  # b k 1 x
    down = cells[..., 1, None, None] - line[:, None]  # b k y 1
    square = (across.square() + down.square()).masked_fill(~present[..., None, None], 1e6)
    nearest, owner = square.min(1)
    heat = torch.exp(-nearest / (2 * RADIUS**2))
    loss = _focal(output["heat"][:, 0], heat, _is_centre(cells, present))
    weight = torch.where(nearest < REACH**2, heat, torch.zeros(()))
    weight = weight / weight.sum().clamp_min(1)
    rows = torch.arange(len(truth))[:, None, None]
    mine, (x, y) = truth[rows, owner], cells[rows, owner].unbind(-1)  # b y x 8, b y x
    wanted = torch.stack([x - line, y - line[:, None]], 1)
    errors = {"offset": (output["offset"] - wanted).abs().sum(1)}
    for column, name in enumerate(ATTRIBUTES, start=1):
        classes = mine[..., column].long()
        errors[name] = nn.functional.cross_entropy(output[name], classes, reduction="none")
    loss = loss + sum(WEIGHTS[name] * (weight * error).sum() for name, error in errors.items())
    for column, name in enumerate(("log_size", "log_depth"), start=6):
        error = output[name][:, 0] - mine[..., column]
        common = (weight * error).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1e-9)
        within = error - common[:, None, None]
        loss = loss + (weight * (METRIC * error.abs() + RELATIVE * within.abs())).sum()
    return loss + SUMMARY * _summary_loss(output, truth, present, done)


def _is_centre(cells: Float[Tensor, "b k 2"], present: Tensor) -> Float[Tensor, "b 16 16"]:
    """1 in every cell that holds a centre."""
    x, y = cells.round().long().clamp(0, GRID - 1).unbind(-1)
    flat = torch.zeros(len(cells), GRID**2)
    flat.scatter_reduce_(1, y * GRID + x, present.float(), "amax")
    return flat.view(-1, GRID, GRID)


def _focal(
    logits: Float[Tensor, "b y x"], heat: Float[Tensor, "b y x"], centre: Float[Tensor, "b y x"]
) -> Float[Tensor, ""]:
    """Penalty-reduced focal loss, Zhou et al. 2019, Eq. 1 (alpha 2, beta 4), per centre."""
    chance = logits.sigmoid()
    hit = centre * (1 - chance).square() * nn.functional.logsigmoid(logits)
    calm = (1 - centre) * (1 - heat).pow(4) * chance.square() * nn.functional.logsigmoid(-logits)
    return -(hit + calm).sum() / centre.sum().clamp_min(1)


def _summary_loss(
    output: dict[str, Tensor], truth: Tensor, present: Tensor, done: Float[Tensor, "b 3"]
) -> Float[Tensor, ""]:
    """Which colour-shape pairs are there (each solid one share), and how the picture was spoilt."""
    pairs = (truth[..., 2] * 4 + truth[..., 1]).long()
    shares = torch.zeros_like(output["logits"]).scatter_add_(1, pairs, present.float())
    shares = shares / shares.sum(1, keepdim=True)
    named = nn.functional.cross_entropy(output["logits"], shares)
    return named + (output["qualities"] - done).square().mean(0).sum()


def shown(scene: Scene) -> Float[np.ndarray, "5 8"]:
    """What a picture shows: a row for each solid, 0 where there is none.

    Presence, shape, colour, material, centre x and y in the picture (0..1), log of size and of
    depth (metres).
    """
    rows = np.zeros((MAX_SOLIDS, 8), np.float32)
    for k, (solid, view) in enumerate(zip(scene.solids, scene.views, strict=True)):
        kind = [words.index(getattr(solid, name)) for name, words in ATTRIBUTES.items()]
        rows[k] = 1, *kind, view.x, view.y, math.log(solid.size), math.log(view.depth)
    return rows


def moved(
    images: UInt8[Tensor, "b 3 64 64"], truth: Float[Tensor, "b 5 8"], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Half of the pictures mirrored, then all moved by whole pixels, the edge repeated."""
    flips = torch.rand(len(images), generator=generator) < 0.5
    right, down = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
    images = torch.where(flips[:, None, None, None], images.flip(3), images)
    padded = nn.functional.pad(images.float(), (SHIFT,) * 4, mode="replicate").to(torch.uint8)
    top, left = SHIFT - down, SHIFT - right
    present, x = truth[..., 0], truth[..., 4]
    truth = truth.clone()
    truth[..., 4] = present * (torch.where(flips[:, None], 1 - x, x) + right / 64)
    truth[..., 5] += present * (down / 64)
    return padded[:, :, top : top + 64, left : left + 64], truth


@torch.no_grad()
def whiten(network: evaluator.Evaluator, pictures: Sequence[UInt8[Tensor, "b 3 s s"]]) -> None:
    """Set `center` and `whitening` so that features of these pictures have covariance one.

    Else the solids' colours, of large spread, drown all else in KID's cubic kernel, even a blur.
    """
    network.center.zero_()
    network.whitening.copy_(torch.eye(FEATURES))
    pooled = torch.cat([network(part)["features"] for part in pictures]).double()
    values, vectors = torch.linalg.eigh(torch.cov(pooled.T))
    network.center.copy_(pooled.mean(0))
    network.whitening.copy_(vectors / values.clamp_min(1e-6).sqrt())


def main() -> None:
    options = training.options_of(__doc__, scenes=20_000, minutes=40.0, rate=2e-3)
    scenes = scenes_of("codec", options.scenes)
    pictures, solids = render(scenes), torch.from_numpy(np.stack([shown(s) for s in scenes]))
    generator = torch.Generator().manual_seed(options.seed)
    rows = training.batches(options.scenes, BATCH, np.random.default_rng(options.seed))
    network = evaluator.Evaluator().to(memory_format=torch.channels_last)

    def step_loss() -> Float[Tensor, ""]:
        chosen = next(rows)
        images, truth = moved(pictures[chosen], solids[chosen], generator)
        images, done = spoil(images, generator)
        return loss_of(network(images), truth, done)

    averaged, steps = training.train(network, step_loss, options.minutes, options.rate)
    unspoilt = pictures[:CALIBRATION].split(BATCH)
    whiten(averaged, [images for part in unspoilt for images in (part, half_size(part))])
    training.keep(averaged, evaluator, options, pictures_seen=steps * BATCH)


if __name__ == "__main__":
    main()
