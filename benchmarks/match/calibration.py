"""How fast a device is: published rates under its name, or what was measured on this machine.

A measurement lies at `work`/machine.json: matrix rates, bandwidth, and seconds of a training step
for each arm that was tried (by `Trainer`, on random data of the problem's shapes).
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
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
from crossflow.store import Store
from crossflow.store_writer import write_store

if TYPE_CHECKING:
    from benchmarks.config.schema import Config

UTILISATION = 0.4  # of the matrix rate, where no step was measured
SIDE, LENGTH = 2048, 2**26  # of the squares that are multiplied, of the row that is copied
SECONDS = 2.0  # that each measurement lasts
# Passes over the weights in a step: gradients for their norm, AdamW reads 4 and writes 3, the
# average reads 2 and writes 1.
PASSES = 11
NO_PART = "lr beta1 beta2 weight_decay warmup cooldown ema_width checkpoint_seconds".split()


class Machine:
    """Rates of a device. path: of its measurement; None for one of the published table."""

    memory: float | None = None  # bytes, where published

    def __init__(self, device: str, work: Path) -> None:
        self.name, self.path, self.rates = device, None, dict[str, Any]()
        self.cpu = device not in PEAKS and resolve(device, PEAKS) == "cpu"
        if device in PEAKS:
            self.rates, self.memory = {**PEAKS[device], "steps": {}}, PEAKS[device]["memory"]
            return
        self.device, self.path = resolve(device), work / "machine.json"
        about = {**about_machine(self.device), "torch": torch.__version__}
        self.name, self._about = f"{about['device']} (threads: {about['threads']})", about
        there = read_json(self.path) if is_file(self.path) else {}
        if isinstance(there, dict) and there.get("about") == about:
            self.rates = there

    def measure(self, arm: Arm, config: Config) -> None:
        """Rates, where they are not known, and the arm's step; kept for later plans."""
        if self.path is None:
            raise InputError(f"calibrate=true device={self.name}: only this machine is measured")
        if not self.rates:
            self.rates = {"about": self._about, "steps": {}, **_rates(self.device)}
        self.rates["steps"][_key(arm, config)] = _step_seconds(arm, config, self.device)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, json.dumps(self.rates, indent=1))

    def step_seconds(self, arm: Arm, config: Config) -> tuple[float | None, str]:
        """Of a training step, and where that comes from; None on a machine not measured."""
        share, precision = config.utilisation, config.training.precision
        if not self.rates:
            return None, "not measured"
        if share is None and (known := self.rates["steps"].get(_key(arm, config))):
            flops = config.training.batch * arm.cost.flops_train
            reached = flops / known / self.rates[precision]
            return known, f"steps measured, {reached:.0%} of {precision}"
        share, rate = share or UTILISATION, self.rates[precision]
        products = config.training.batch * arm.cost.flops_train / (share * rate)
        passes = PASSES * 4 * arm.cost.params_trained / self.rates["bandwidth"]
        source = "measured" if self.path else "published"
        return products + passes, f"{share:.0%} of {source} {rate / 1e12:.4g} TFLOP/s"


def _key(arm: Arm, config: Config) -> str:
    """Names an arm's step: all that its time depends on, beside the machine."""
    training = {k: v for k, v in asdict(config.training).items() if k not in NO_PART}
    parts = {"method": type(arm.method).__name__, "options": arm.options, "training": training}
    problem = asdict(arm.method.problem)
    return keys.digest({**parts, "cost": asdict(arm.cost), "problem": problem})


def _rates(device: str) -> dict[str, float]:
    """FLOP/s of a matrix product by precision, and bytes/s of a copy."""
    rates = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.randn(SIDE, SIDE, device=device).to(kind)
        rates[name] = 2 * SIDE**3 / _fastest(lambda a=a: a @ a, device)  # type: ignore[misc]
    row = torch.randn(LENGTH, device=device)
    copy = torch.empty_like(row)
    return rates | {"bandwidth": 2 * 4 * LENGTH / _fastest(lambda: copy.copy_(row), device)}


def _fastest(work: Callable[[], object], device: str) -> float:
    """Seconds of the fastest of many rounds; the first ones warm up."""
    rounds, end = list[float](), time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(rounds) < 3:
        start = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize(device)
        rounds.append(time.perf_counter() - start)
    return min(rounds)


def _step_seconds(arm: Arm, config: Config, device: str) -> float:
    """Of steps as a run does them, reading from a store included."""
    from crossflow.train import Trainer

    with tempfile.TemporaryDirectory() as folder:
        store = _random_store(arm, config.training.batch, Path(folder, "store"))
        place = Path(folder, "run"), 0, device
        trainer = Trainer(arm, store, Budget(steps=1e12), config.training, *place)
        trainer.warm_up()
        trainer.run(SECONDS / 4)
        seconds, steps = trainer.spent.device_seconds, trainer.spent.steps
        trainer.run(2 * SECONDS)
        return (trainer.spent.device_seconds - seconds) / (trainer.spent.steps - steps)


def _random_store(arm: Arm, rows: int, folder: Path) -> Store:
    """A store of random pairs of the arm's problem."""
    problem, pair = arm.method.problem, example_pair(arm.method.problem, rows, "cpu")
    part = {"target": pair.target, "source": pair.source.values, "groups": pair.groups}
    part |= {} if pair.source.mask is None else {"mask": pair.source.mask}

    def batches(start: int, stop: int) -> Iterator[dict[str, Any]]:
        ids = [str(row) for row in range(start, stop)]
        yield {"ids": ids, **{name: rows[start:stop].numpy() for name, rows in part.items()}}

    return write_store(folder, problem.source, problem.target, {}, rows, batches)
