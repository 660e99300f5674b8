"""How fast a device is: published rates under its name, or what was measured on this machine.

A measurement lies at `work`/machine.json: matrix rates, bandwidth, and seconds of a training step
for each arm that was tried (by `Trainer`, on random data of the problem's shapes).
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.config.device import resolve
from benchmarks.config.inputs import is_file, read_json
from benchmarks.match.device import PEAKS
from benchmarks.match.recording import machine as about_machine
from benchmarks.records import keys
from crossflow.arm import Arm, example_pair
from crossflow.budget import Budget
from crossflow.errors import InputError
from crossflow.files import write_atomic
from crossflow.store_writer import write_store

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from crossflow.store import Store

UTILISATION = 0.4  # of the matrix rate, where no step was measured
SIDE, LENGTH = 2048, 2**26  # of the squares that are multiplied, of the row that is copied
SECONDS = 2.0  # that each measurement lasts
# Passes over the weights in a step: gradients for their norm, AdamW reads 4 and writes 3, the
# average reads 2 and writes 1.
PASSES = 11
NO_PART = "lr beta1 beta2 weight_decay warmup cooldown ema_width checkpoint_seconds".split()


class Machine:
    """Rates of a device. path: of their measurement; None for one of the published table."""

    def __init__(self, device: str, work: Path) -> None:
        self.name, self.path, self.cpu = device, None, False
        self.rates: dict[str, Any] = {**PEAKS.get(device, {})}
        if self.rates:
            return
        self.device, self.path = resolve(device, PEAKS), work / "machine.json"
        self._about = {**about_machine(self.device), "torch": torch.__version__}
        self.name = "{device} (threads: {threads})".format(**self._about)
        self.cpu, there = self.device == "cpu", read_json(self.path) if is_file(self.path) else {}
        if isinstance(there, dict) and there.get("about") == self._about:
            self.rates = there

    def measure(self, arm: Arm, config: Config) -> None:
        """Rates, where they are not known, and the arm's step; kept for later plans."""
        if self.path is None:
            raise InputError(f"calibrate=true device={self.name}: only this machine is measured")
        self.rates = self.rates or {"about": self._about, "steps": {}, **_rates(self.device)}
        self.rates["steps"][_key(arm, config)] = _step_seconds(arm, config, self.device)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, json.dumps(self.rates, indent=1))

    def step_seconds(self, arm: Arm, config: Config) -> tuple[float | None, str]:
        """Of a training step, and where that comes from; None on a machine not measured."""
        if not self.rates:
            return None, "not measured"
        rate, share = self.rates[config.training.precision], config.utilisation
        known = self.rates.get("steps", {}).get(_key(arm, config))
        flops, words = config.training.batch * arm.cost.flops_train, f"of {rate / 1e9:,.1f} GFLOP/s"
        if share is None and known:
            return known, f"measured: {flops / known / rate:.0%} {words}"
        flops *= 4 / 3 if config.training.recompute else 1  # the forward pass is done twice
        share, passes = share or UTILISATION, PASSES * 4 * arm.cost.params_trained
        seconds = flops / (share * rate) + passes / self.rates["bandwidth"]
        return seconds, f"{share:.0%} {words}"


def _key(arm: Arm, config: Config) -> str:
    """Names an arm's step: all that its time depends on, beside the machine."""
    training = {k: v for k, v in asdict(config.training).items() if k not in NO_PART}
    parts = type(arm.method).__name__, arm.options, training, arm.cost, arm.method.problem
    return keys.digest([asdict(part) if is_dataclass(part) else part for part in parts])


def _rates(device: str) -> dict[str, float]:
    """FLOP/s of a matrix product by precision, and bytes/s of a copy: the fastest of many."""
    from torch.utils.benchmark import Timer

    def seconds(statement: str, **names: torch.Tensor) -> float:
        timer = Timer(statement, globals=names, num_threads=torch.get_num_threads())
        return min(timer.blocked_autorange(min_run_time=SECONDS).times)

    a, row = torch.randn(SIDE, SIDE, device=device), torch.randn(LENGTH, device=device)
    products = {"fp32": a, "bf16": a.bfloat16()}
    rates = {name: 2 * SIDE**3 / seconds("a @ a", a=each) for name, each in products.items()}
    copying = seconds("copy.copy_(row)", row=row, copy=torch.empty_like(row))
    return rates | {"bandwidth": 2 * 4 * LENGTH / copying}


def _step_seconds(arm: Arm, config: Config, device: str) -> float:
    """Of steps of the last stage as a run does them, reading from a store included."""
    from crossflow.train import Trainer

    with tempfile.TemporaryDirectory() as folder:
        store, place = random_store(arm, config.training.batch, Path(folder, "store")), Path(folder)
        trainer = Trainer(arm, store, Budget(steps=1e12), config.training, place, 0, device)
        trainer.spent.steps = math.ceil(1e12 * arm.method.stages[-1])
        trainer.warm_up()
        trainer.run(SECONDS / 4)
        seconds, steps = trainer.spent.device_seconds, trainer.spent.steps
        trainer.run(2 * SECONDS)
        return (trainer.spent.device_seconds - seconds) / (trainer.spent.steps - steps)


def random_store(arm: Arm, rows: int, folder: Path) -> Store:
    """A store of random pairs of the arm's problem."""
    problem, pair = arm.method.problem, example_pair(arm.method.problem, rows, "cpu")
    part = {"target": pair.target, "source": pair.source.values, "groups": pair.groups}
    part |= {} if pair.source.mask is None else {"mask": pair.source.mask}
    part |= {} if pair.words is None else {"words": pair.words}

    def batches(start: int, stop: int) -> Iterator[dict[str, Any]]:
        ids = [str(row) for row in range(start, stop)]
        yield {"ids": ids, **{name: rows[start:stop].numpy() for name, rows in part.items()}}

    ends = problem.source, problem.target
    return write_store(folder, *ends, {}, rows, batches, words=problem.words)
