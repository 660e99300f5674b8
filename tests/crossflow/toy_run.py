"""A small training run: 48 pairs of 8 x 8 maps. Run as a script, it can be killed from outside.

python tests/crossflow/toy_run.py METHOD STEPS FOLDER
"""

import copy
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import TensorDataset

from baselines import flow_matching, ot_flow_matching, regression
from crossflow import crossflow, flow
from crossflow.arm import SIZES, Arm, build_arm
from crossflow.budget import Budget, Training
from crossflow.problem import MapShape, Problem
from crossflow.race import train_match
from crossflow.store import Store
from crossflow.train import Trainer

METHODS = {m.NAME: m for m in (crossflow, flow_matching, regression, ot_flow_matching)}
PROBLEM = Problem(MapShape(3, 8, 8), MapShape(2, 8, 8), 4, "variational", "reconstruction", 0.1)
ROWS = 48
# A backbone that steps in a few milliseconds; not one of the shipped sizes.
SIZES.setdefault("toy", replace(SIZES["T"], depth=8, width=64, heads=2, hidden=128))


def make_store(folder: Path, rows: int = ROWS) -> Store:
    """Sources are uint8 noise, targets a function of them: there is something to learn."""
    rng = np.random.default_rng(0)
    source = torch.from_numpy(rng.integers(0, 256, (rows, *PROBLEM.source.sizes), dtype=np.uint8))
    mean = source.float().mean(1, keepdim=True)
    target = torch.cat([mean / 50 - 2, torch.cos(mean / 20)], dim=1)
    return flow.make_store(folder, PROBLEM, TensorDataset(source, target), {"toy": 1})


@lru_cache
def build(method: str, batch: int, **options: object) -> Arm:
    """The arm at step 0; matching its size takes a second, so it is done once."""
    return build_arm(METHODS[method], PROBLEM, "toy", seed=0, batch=batch, options=options)


def make_trainer(
    folder: Path,
    method: str = "crossflow",
    budget: Budget | None = None,
    options: dict[str, object] | None = None,
    log_every: int = 1,
    **settings: object,
) -> Trainer:
    """An arm in `folder`/METHOD on the store in `folder`/store; 10 steps unless told."""
    training = Training(**{"batch": 8, "lr": 1e-3, "cooldown": 0.2, **settings})
    arm = copy.deepcopy(build(method, training.batch, **(options or {})))
    stored = (folder / "store").is_dir()
    store = Store(folder / "store") if stored else make_store(folder / "store")
    place, limit = folder / method, budget or Budget(steps=10)
    return Trainer(arm, store, limit, training, place, log_every=log_every)


if __name__ == "__main__":
    torch.set_num_threads(1)
    name, steps, place = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    trainer = make_trainer(place, name, Budget(samples=8 * steps), checkpoint_seconds=0.05)
    train_match([trainer], lambda t: print(t.spent.steps, flush=True))
