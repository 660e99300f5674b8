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

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmarks.tabletop.cards import Network, write_weights

WARMUP = 0.01  # fraction of the training in which the learning rate rises
DECAY = 0.999  # of the average of weights, per step


def options_of(text: str | None, **defaults: float) -> argparse.Namespace:
    """The options of a training, with its defaults; seeds torch and sets its threads.

    scenes: training scenes; minutes: of training, wall time; rate: largest learning rate; store:
    folder of the weights and their card.
    """
    parser = argparse.ArgumentParser(description=text)
    for name, value in (defaults | {"seed": 0, "threads": 1}).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--store", type=Path, default=Path("runs/tabletop_codecs"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    return options


def keep(network: nn.Module, codec: ModuleType, options: argparse.Namespace, **facts: int) -> None:
    """Writes weights and an unmeasured card into the store. facts: how much was seen."""
    given = {name: value for name, value in vars(options).items() if name != "store"}
    line = "".join(f" --{name} {value}" for name, value in given.items())
    card = {
        "version": codec.VERSION,
        "command": f"python -m benchmarks.tabletop.making.train_{codec.NAME}{line}",
        **{name: given[name] for name in ("seed", "scenes", "minutes")},
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in network.parameters()),
    }
    write_weights(codec.NAME, network.state_dict(), card | facts, options.store)


def batches(count: int, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows of a training set, epoch after epoch in new orders, without end."""
    while True:
        order = rng.permutation(count)
        for start in range(0, count - batch + 1, batch):
            yield np.sort(order[start : start + batch])


def train(
    network: Network, loss_of: Callable[[], Float[Tensor, ""]], minutes: float, rate: float
) -> tuple[Network, int]:
    """The network with averaged weights (EMA), and the number of steps.

    AdamW with warm-up and a cosine to zero over wall time: these trainings share a machine, and the
    card says how much was seen. loss_of is computed under bfloat16 autocast. Progress to stderr.
    """
    optimizer = torch.optim.AdamW(network.parameters(), rate, betas=(0.9, 0.99), weight_decay=0.01)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    network.train()
    began, step = time.monotonic(), 0
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
        if step % 100 == 0:
            print(f"step {step} loss {loss.item():.4f} {100 * progress:.1f} %", file=sys.stderr)
    return average, step
