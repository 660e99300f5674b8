"""What the trainings of both frozen codecs share: options, rendered scenes, loop, card."""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from benchmarks.tabletop.cards import write_weights
from benchmarks.tabletop.render import render
from benchmarks.tabletop.scenes import COLORS, MATERIALS, MAX_SOLIDS, SHAPES, Scene, indices, scene
from crossflow.files import replacing

Network = TypeVar("Network", bound=nn.Module)
WARMUP = 0.01  # fraction of the training in which the learning rate rises
DECAY = 0.999  # of the average of weights, per step
OPTIONS = ("scenes", "minutes", "rate", "seed", "threads")  # those that decide the weights


def options_of(text: str | None, *, scenes: int, minutes: float, rate: float) -> argparse.Namespace:
    """The options of a training, with its defaults; seeds torch and sets its threads."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--scenes", type=int, default=scenes, help="training scenes")
    parser.add_argument("--minutes", type=float, default=minutes, help="of training, wall time")
    parser.add_argument("--rate", type=float, default=rate, help="largest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--store", type=Path, default=Path("runs/tabletop_codecs"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    return options


def keep(network: nn.Module, codec: ModuleType, options: argparse.Namespace, **facts: int) -> None:
    """Writes weights and an unmeasured card into the store. facts: how much was seen."""
    given = " ".join(f"--{name} {getattr(options, name)}" for name in OPTIONS)
    card = {
        "version": codec.VERSION,
        "command": f"python -m benchmarks.tabletop.making.train_{codec.NAME} {given}",
        **{name: getattr(options, name) for name in ("seed", "scenes", "minutes")},
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in network.parameters()),
    }
    write_weights(codec.NAME, network.state_dict(), card | facts, options.store)


def rendered(
    split: str, count: int, folder: Path
) -> tuple[UInt8[np.ndarray, "n 3 64 64"], Float32[np.ndarray, "n 5 9"]]:
    """Pictures of the first `count` scenes of a split and what they show, kept in `folder`.

    Per solid (rows of absent solids are 0) presence, shape, colour, material, centre x and y in the
    picture (0..1), log of size and of depth (metres), share of the picture.
    """
    path = folder / f"{split}-{count}.npz"
    if not path.exists():
        scenes = [scene(int(index)) for index in indices(split, count)]
        truth = np.stack([_truth(drawn) for drawn in scenes])
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, pictures=render(scenes).numpy(), truth=truth)
    with np.load(path, allow_pickle=False) as kept:
        return kept["pictures"], kept["truth"]


def _truth(drawn: Scene) -> Float32[np.ndarray, "5 9"]:
    rows = np.zeros((MAX_SOLIDS, 9), np.float32)
    for k, (solid, view) in enumerate(zip(drawn.solids, drawn.views, strict=True)):
        kind = SHAPES.index(solid.shape), COLORS.index(solid.color)
        material = MATERIALS.index(solid.material)
        scale = math.log(solid.size), math.log(view.depth)
        rows[k] = 1, *kind, material, view.x, view.y, *scale, view.area
    return rows


def batches(count: int, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows of a training set, epoch after epoch in new orders, without end."""
    while True:
        order = rng.permutation(count)
        for start in range(0, count - batch + 1, batch):
            yield np.sort(order[start : start + batch])


def half_size(images: UInt8[Tensor, "n 3 64 64"]) -> UInt8[Tensor, "n 3 32 32"]:
    """The 2 x 2 mean, rounded: the world's own rule for pictures of 32 px."""
    return nn.functional.avg_pool2d(images.float(), 2).round().to(torch.uint8)


def train(
    network: Network, loss_of: Callable[[], Float[Tensor, ""]], minutes: float, rate: float
) -> tuple[Network, int]:
    """The network with averaged weights (EMA), and the number of steps.

    AdamW with warm-up and a cosine to zero over wall time: these trainings share a machine, and the
    card says how many pictures were seen. loss_of is computed under bfloat16 autocast. Progress
    goes to stderr.
    """
    optimizer = torch.optim.AdamW(network.parameters(), rate, betas=(0.9, 0.99), weight_decay=0.01)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    network.train()
    began, recent, step = time.monotonic(), 0.0, 0
    while (progress := (time.monotonic() - began) / (60 * minutes)) < 1:
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimizer.param_groups:
            group["lr"] = rate * min(progress / WARMUP, cosine)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        theirs, decay = network.state_dict(), min(DECAY, step / (step + 10))
        for key, mine in average.state_dict().items():
            floating = mine.is_floating_point()
            mine.copy_(mine.lerp(theirs[key], 1 - decay) if floating else theirs[key])
        recent += loss.item()
        if step % 100 == 0:
            print(f"step {step} loss {recent / 100:.4f} {100 * progress:.1f} %", file=sys.stderr)
            recent = 0.0
    return average, step
