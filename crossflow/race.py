"""Several arms trained to the end of their budgets, in turns where the budget is time."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from crossflow import world
from crossflow.clock import WINDOW_SECONDS
from crossflow.errors import ArmError, InputError, guard
from crossflow.train import Progress, Trainer, TrainingError


def train_match(trainers: Sequence[Trainer], progress: Progress = lambda _: None) -> None:
    """Trains every arm to the end of its budget, going on from checkpoints.

    Under device_seconds the arms take turns of WINDOW_SECONDS, forwards and backwards (A B B A),
    so that a slow drift of the device costs every arm the same; else they run one after another.
    An arm that fails leaves the match with the reason in `trainer.failure`; the others go on.
    Raises ValueError when arms differ in budget or data, InputError when a checkpoint does not fit.
    """
    for trainer in trainers:
        for what in ("budget", "training", "seed", "device", "store.digest"):
            if attrgetter(what)(trainer) != attrgetter(what)(trainers[0]):
                raise ValueError(f"{what} of {trainer.name} is not that of {trainers[0].name}")
        with world.alike(trainer.device, trainer.name, "resume"):
            trainer.resume()
    timed = bool(trainers) and trainers[0].budget.kind == "device_seconds"
    if timed:
        with world.alike(trainers[0].device, "store"):
            trainers[0].store.check()  # now: the arm that reads a block first would pay for it
    seconds = WINDOW_SECONDS if timed else math.inf
    racing = [trainer for trainer in trainers if not trainer.done]
    for trainer in racing:
        _attempt(trainer, "warm_up")
    while racing := [t for t in racing if not t.done and t.failure is None]:
        for trainer in racing:
            _attempt(trainer, "run", seconds, progress)
        racing.reverse()
    for trainer in trainers:
        _attempt(trainer, "finish")


def _attempt(trainer: Trainer, work: str, *given: Any) -> None:
    """Calls a method unless the arm has failed; if it fails now, and so everywhere, keeps why."""
    if trainer.failure is None:
        module = sys.modules[type(trainer.arm.method).__module__]
        try:
            file = getattr(module, "__file__", None)  # none in a notebook
            with world.alike(trainer.device, trainer.name, work), guard(trainer.name, file):
                getattr(trainer, work)(*given)
        except TrainingError as error:  # would be so again; after others the same command goes on
            trainer.abandon(error)
        except (ArmError, InputError) as error:
            trainer.failure = error
