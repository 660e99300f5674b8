"""A match: several arms, one budget each of the same size, the same data in the same order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

from crossflow.order import replay
from crossflow.throughput import WINDOW_SECONDS
from crossflow.trainer import Progress, Trainer, TrainingError, silent


def train_match(
    trainers: Sequence[Trainer],
    progress: Progress = silent,
    slice_seconds: float = WINDOW_SECONDS,
) -> None:
    """Trains every arm to the end of its budget, going on from checkpoints where there are some.

    Under flops, samples or steps the arms run one after another. Under device_seconds they take
    turns of `slice_seconds`, forwards and backwards (A B B A), so that a slow drift of the device
    (heat, clocks, neighbours) costs every arm the same.

    An arm that fails, in whatever way, leaves the match with the reason in `trainer.failure` (the
    original exception is its cause); the others go on. Raises ValueError when arms differ in
    budget or data, InputError when a checkpoint does not fit.
    """
    _check_equal(trainers)
    for trainer in trainers:
        trainer.resume()
    for trainer in trainers:
        if not trainer.done:
            _attempt(trainer, trainer.warm_up)
    if trainers and trainers[0].budget.kind == "device_seconds":
        for turn in itertools.count():
            racing = [t for t in trainers if not t.done and t.failure is None]
            if not racing:
                break
            for trainer in racing if turn % 2 == 0 else reversed(racing):
                _attempt(trainer, partial(trainer.run, slice_seconds, progress))
    else:
        for trainer in trainers:
            _attempt(trainer, partial(trainer.run, progress=progress))
    for trainer in trainers:
        if trainer.failure is None:
            trainer.finish()


def _attempt(trainer: Trainer, work: Callable[[], None]) -> None:
    """Runs `work` unless the arm has failed; keeps the reason if it fails now."""
    if trainer.failure is None:
        try:
            work()
        except TrainingError as error:
            trainer.abandon(error)
        except Exception as error:  # a method's own mistake, memory, disk: not the others' fault
            failure = TrainingError(f"{trainer.name}: {type(error).__name__}: {error}")
            failure.__cause__ = error
            trainer.abandon(failure)


def _check_equal(trainers: Sequence[Trainer]) -> None:
    for trainer in trainers[1:]:
        first = trainers[0]
        for what in ("budget", "training", "seed", "device"):
            if getattr(trainer, what) != getattr(first, what):
                raise ValueError(f"{what} of {trainer.name} differs from that of {first.name}")
        if trainer.store.digest != first.store.digest:
            raise ValueError(f"{trainer.name} and {first.name} have different training data")


def proof_of_order(
    trainers: Sequence[Trainer], other_ends: Sequence[int] = ()
) -> dict[str, dict[str, object]]:
    """By arm, the hash chain of what it read, with the value at the end of every other arm.

    other_ends: last steps of arms that were trained by an earlier process.

    The values at the others' ends are replayed from the order, and taken only where the replay
    also gives the arm's own last value: then `order.is_prefix` decides from two records.
    """
    proofs: dict[str, dict[str, object]] = {}
    for trainer in trainers:
        own = trainer.chain.steps
        every = [*(t.chain.steps for t in trainers), *other_ends]
        ends = [steps for steps in every if steps <= own]
        values = replay(trainer.order, trainer.store.ids, ends)
        if own and values[own] != trainer.chain.value:
            raise ValueError(f"{trainer.name} did not read what its order says")
        state = trainer.chain.state()
        marks = {**trainer.chain.marks, **{s: v for s, v in values.items() if s}}
        state["marks"] = {str(step): marks[step] for step in sorted(marks)}
        proofs[trainer.name] = state
    return proofs
