"""What the trainings of both frozen codecs share: options, rendered scenes, loop, card."""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from benchmarks.tabletop.cards import write_weights
from benchmarks.tabletop.render import render
from benchmarks.tabletop.scenes import (
    COLORS,
    MATERIALS,
    MAX_SOLIDS,
    SHAPES,
    Scene,
    indices,
    scene,
)

CHUNK = 64  # scenes rendered at a time
FIELDS = 9  # numbers that describe one solid
WARMUP = 0.01  # fraction of the training in which the learning rate rises
DECAY = 0.999  # of the average of weights, per step
SAVED_EVERY = 240  # seconds


OPTIONS = ("scenes", "minutes", "rate", "seed", "threads")  # those that decide the weights


def options_of(
    text: str | None, arguments: list[str], *, scenes: int, minutes: float, rate: float
) -> argparse.Namespace:
    """The options of a training, with its defaults; seeds torch and sets its threads."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--scenes", type=int, default=scenes, help="training scenes")
    parser.add_argument("--minutes", type=float, default=minutes, help="of training, wall time")
    parser.add_argument("--rate", type=float, default=rate, help="largest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--store", type=Path, default=Path("runs/tabletop_codecs"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    return options


def keep(network: nn.Module, codec: ModuleType, options: argparse.Namespace, **facts: int) -> None:
    """Writes weights and an unmeasured card into the store. facts: how much was seen."""
    given = " ".join(f"--{name} {getattr(options, name)}" for name in OPTIONS)
    card = {
        "version": codec.VERSION,
        "command": f"python -m benchmarks.tabletop.making.train_{codec.NAME} {given}",
        "seed": options.seed,
        "scenes": options.scenes,
        "minutes": options.minutes,
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in network.parameters()),
    }
    write_weights(codec.NAME, network.state_dict(), card | facts, options.store)


@dataclass(frozen=True)
class Scenes:
    """Pictures at 64 px and what they show, row by row; both are read-only memory maps."""

    pictures: UInt8[np.ndarray, "n 3 64 64"]
    # Per solid (rows of absent solids are 0) presence, shape, colour, material, centre x and y in
    # the picture (0..1), log of size and of depth (metres), share of the picture.
    truth: Float32[np.ndarray, "n 5 9"]


def rendered(split: str, count: int, folder: Path) -> Scenes:
    """The first `count` scenes of a split, from two files in `folder` that grow on demand.

    The files hold rows in index order, so longer ones serve a shorter request.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures, truths = folder / f"{split}-64.uint8", folder / f"{split}-truth.float32"
    picture, truth = 3 * 64 * 64, 4 * MAX_SOLIDS * FIELDS
    present = truths.stat().st_size // truth if truths.exists() else 0
    ids = indices(split, count)
    with pictures.open("ab") as seen, truths.open("ab") as known:
        seen.truncate(present * picture)
        known.truncate(present * truth)
        for start in range(present, count, CHUNK):
            chunk = [scene(int(i)) for i in ids[start : start + CHUNK]]
            seen.write(render(chunk).numpy().tobytes())
            seen.flush()
            known.write(truth_of(chunk).tobytes())
            known.flush()
    total = max(present, count)
    return Scenes(
        np.memmap(pictures, np.uint8, "r", shape=(total, 3, 64, 64))[:count],
        np.memmap(truths, np.float32, "r", shape=(total, MAX_SOLIDS, FIELDS))[:count],
    )


def truth_of(scenes: list[Scene]) -> Float32[np.ndarray, "n 5 9"]:
    """What the detector is to find, coded as in `Scenes.truth`."""
    rows = np.zeros((len(scenes), MAX_SOLIDS, FIELDS), np.float32)
    for n, drawn in enumerate(scenes):
        for k, (solid, view) in enumerate(zip(drawn.solids, drawn.views, strict=True)):
            kind = SHAPES.index(solid.shape), COLORS.index(solid.color)
            material = MATERIALS.index(solid.material)
            scale = math.log(solid.size), math.log(view.depth)
            rows[n, k] = 1, *kind, material, view.x, view.y, *scale, view.area
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
    network: nn.Module,
    loss_of: Callable[[int], Float[Tensor, ""]],
    minutes: float,
    rate: float,
    save: Callable[[nn.Module, int], None],
) -> None:
    """AdamW with warm-up and a cosine to zero over wall time; averages the weights (EMA).

    Time, not steps, is the budget, because these trainings share a machine: the card says how many
    pictures were seen. loss_of: step -> loss, computed under bfloat16 autocast. save(averaged
    network, steps) is called every `SAVED_EVERY` seconds and at the end. Progress goes to stderr.
    """
    optimizer = torch.optim.AdamW(network.parameters(), rate, betas=(0.9, 0.99), weight_decay=0.01)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    network.train()
    began = saved = time.monotonic()
    recent, step = 0.0, 0
    while (progress := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * _schedule(progress)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        _follow(average, network, min(DECAY, step / (step + 10)))
        recent += loss.item()
        if step % 100 == 0:
            print(f"step {step} loss {recent / 100:.4f} {100 * progress:.1f} %", file=sys.stderr)
            recent = 0.0
        if time.monotonic() - saved > SAVED_EVERY:
            save(average, step)
            saved = time.monotonic()
    save(average, step)


def _schedule(progress: float) -> float:
    """Factor on the learning rate: linear warm-up, then half a cosine."""
    return min(progress / WARMUP, 0.5 * (1 + math.cos(math.pi * progress)))


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average towards the network; integer buffers are copied."""
    theirs = network.state_dict()
    for key, mine in average.state_dict().items():
        if mine.is_floating_point():
            mine.lerp_(theirs[key], 1 - decay)
        else:
            mine.copy_(theirs[key])
