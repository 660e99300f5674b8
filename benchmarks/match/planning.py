"""What an arm costs before it is spent: its step is done on tensors without content.

Memory is what a step's tensors need, each storage counted once while it lives. Nothing is known of
what torch.compile saves: its step may take less.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.config import registry
from benchmarks.match.calibration import Machine
from benchmarks.match.device import PEAKS
from benchmarks.records.record import write_items
from crossflow import layers
from crossflow.arm import Arm, build_arm, example_pair
from crossflow.draws import StepDraws
from crossflow.errors import InputError
from crossflow.method import Ends, training_loss
from crossflow.problem import Pair, TokenShape
from crossflow.solver import STAGES, Grid

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.tasks.task import Task

Plan = dict[str, Any]
SCALES = {"GiB": 2**30, "M": 1e6, "G": 1e9, "T": 1e12, "ms": 1e-3}
UNITS = dict.fromkeys("params params_without_encoder params_trained".split(), "M")
UNITS |= dict.fromkeys("train_flops_a_sample flops_an_item_sampled".split(), "G")
UNITS |= dict.fromkeys("weights gradients optimizer average activations peak".split(), "GiB")
UNITS |= {"train_flops": "T", "step_seconds": "ms", "store": "GiB", "checkpoint": "GiB"}
# What a CPU process holds a byte that lives: its allocator keeps what is freed. Measured with
# glibc, model T, batches of 64 and 256: 1.06 to 1.20 in fp32, 1.28 to 1.35 in bf16.
RESIDENT = {"fp32": 1.12, "bf16": 1.3}


class Alive(TorchDispatchMode):
    """Bytes of the storages that operators made and that live: now, and at most."""

    def __init__(self, there: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.now, self.most, self._known = 0, 0, set[int]()
        for tensor in there:
            self._note(tensor)
        self.now = self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor)
        return made

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:  # not a view of one that is known
            self._known.add(key)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def plans(config: Config) -> tuple[list[Plan], list[str]]:
    """A plan for each arm of a job that applies, and notes on what is assumed, or not known."""
    task = registry.task_of(config)(replace(config, device="cpu"))
    problem, machine = task.problem, Machine(config.device, Path(config.work))
    found, notes, name = list[Plan](), list[str](), config.task.name
    settings: Any = {"seed": config.seed, "batch": config.training.batch}
    for arm in config.methods:
        module, options = registry.method_of(config, arm), registry.arm_options(config, arm)
        if (reason := module.applies(problem)) is not None:
            notes.append(f"{name}: no arm {arm}: {reason}")
            continue
        named = {**settings, "options": options, "name": arm}
        try:
            built = build_arm(module, problem, config.model, **named, device="meta")
        except Exception:  # of a method that cannot run there (scipy); a true mistake raises again
            built = build_arm(module, problem, config.model, **named)
        if config.calibrate:
            machine.measure(build_arm(module, problem, config.model, **named), config)
        found.append(_plan(config, task, built, machine))
    if not found:
        raise InputError(f"methods: none of them applies to {name}")
    return found, [*notes, *_notes(config, found, machine)]


def _plan(config: Config, task: Task[Any], arm: Arm, machine: Machine) -> Plan:
    """A row of plan.csv, in bytes, seconds, FLOPs. None: not known, a note says why."""
    batch, cost, budget, weights = config.training.batch, arm.cost, config.budget, _weights(arm)
    seconds, rate = machine.step_seconds(arm, config)
    price = {"steps": 1, "samples": batch, "flops": batch * cost.flops_train}
    price |= {} if seconds is None else {"device_seconds": seconds}
    steps = math.ceil(budget.limit / price[budget.kind]) if budget.kind in price else None
    passes, nfe = 1 + config.task.flip_test, evaluations(config, arm)
    waiting, peak = step_memory(arm, batch, config.training.precision, machine.cpu)
    return {
        **{"task": config.task.name, "arm": arm.name, "model": config.model},
        "params": cost.params_inference,
        "params_without_encoder": cost.params_inference - cost.params_encoder,
        "params_trained": cost.params_trained,
        "train_flops_a_sample": cost.flops_train,
        "flops_an_item_sampled": nfe and passes * arm.flops_sample(nfe),
        "nfe": nfe and passes * nfe,
        "steps": steps,
        "train_flops": steps and steps * batch * cost.flops_train,
        **{"weights": weights, "gradients": weights, "optimizer": 2 * weights, "average": weights},
        **{"activations": waiting, "peak": peak},
        **{"device": machine.name, "rate": rate, "step_seconds": seconds},
        "device_hours": steps and seconds and steps * seconds / 3600,
        "store": store_bytes(task),
        "checkpoint": 5 * weights,  # weights, average, moments; and the average, exported
    }


def _weights(arm: Arm) -> int:
    """Bytes of the weights, as of gradients, of each of two moments, and of the average."""
    return 4 * arm.cost.params_trained


def step_memory(arm: Arm, batch: int, precision: str, cpu: bool = True) -> tuple[int, int]:
    """Bytes that wait for the backward pass, and the peak of a step in the midst of training.

    cpu: of a CPU process, else of a GPU's allocator, whose fused attention is taken.
    """
    pair, draws = (
        example_pair(arm.method.problem, batch, "cpu"),
        StepDraws(0, 0, range(batch), batch),
    )
    if next(arm.parameters()).is_meta:  # given sizes and a device, and still no content
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            arm.to_empty(device="cpu")
            source = replace(pair.source, values=mode.from_tensor(pair.source.values))
            pair = Pair(source, mode.from_tensor(pair.target), pair.groups)
    there = [*arm.parameters(), *arm.buffers(), pair.source.values, pair.target]
    fused = nullcontext() if cpu else patch.object(layers, "WRITTEN_OUT", ())
    with Alive(there) as alive, fused, torch.random.fork_rng(devices=[]):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = training_loss(arm.net, arm.method, pair, draws)
        waiting, forward = alive.now, alive.most
        loss.total.backward()
    for parameter in arm.parameters():
        parameter.grad = None
    weights = _weights(arm)
    # The last step's gradients live until the forward pass is over.
    peak = 4 * weights + max(weights + forward, alive.most)
    return waiting, round(peak * (RESIDENT[precision] if cpu else 1))


class Still(torch.nn.Module):
    """A network whose velocity costs nothing."""

    def forward(self, x: torch.Tensor, *given: object) -> torch.Tensor:
        return x


def evaluations(config: Config, arm: Arm) -> int | None:
    """Network evaluations of an item, both branches; None where the solver decides them."""
    sampling, method = config.sampling, arm.method
    if sampling.solver not in STAGES:
        return None
    x0 = torch.zeros(1, *method.problem.target.sizes)
    null, weight = method.no_nulls(x0), sampling.guidance
    if null is None or not method.guided:
        weight = 1.0
    grid = Grid(sampling.steps, sampling.solver)
    # A weight that is yet to be chosen takes both branches.
    weight = 2.0 if weight is None else weight
    return method.sample(Still(), Ends(x0, None, null=null), grid, weight).nfe


def store_bytes(task: Task[Any]) -> int | None:
    """Of the encoded splits; None where only the data know their rows."""
    given, problem = task.config.task, task.problem
    if "task.root" in task.uses and given.root is None:
        limits = given.train_limit, given.validation_limit, given.limit
        counts = [limit for limit in limits if limit is not None]
        if len(counts) < 3:
            return None
    else:
        counts = [len(items.row_ids) for items in (task.train, task.validation, task.test)]
    kinds, shapes = map(np.dtype, task.stored), (problem.target, problem.source)
    pairs = zip(kinds, shapes, strict=True)
    target, source = (kind.itemsize * math.prod(shape.sizes) for kind, shape in pairs)
    source_rows = target_rows = sum(counts)
    if isinstance(problem.source, TokenShape):
        source += problem.source.length  # the mask
        source_rows += (task.captions - 1) * counts[0]
    else:
        target_rows += (task.captions - 1) * counts[0]
    return target_rows * target + source_rows * source


def _notes(config: Config, found: Sequence[Plan], machine: Machine) -> Iterator[str]:
    """What the numbers of one job assume, and what would tell what they lack."""
    name, sampling, first = config.task.name, config.sampling, found[0]
    if first["nfe"] is None:
        yield f"{name}: {sampling.solver} chooses its steps: what an item costs is not known"
    else:
        weight = "both branches" if sampling.guidance is None else f"weight {sampling.guidance:g}"
        how = f"{sampling.solver}, {sampling.steps} steps, {weight} where guided"
        yield f"{name}: an item is sampled by {how}"
    if first["step_seconds"] is None:
        yield (
            f"{name}: no hours: {machine.name} is not measured; calibrate=true measures it, "
            f"device=NAME takes one of {', '.join(PEAKS)}"
        )
    if first["store"] is None:
        yield f"{name}: no store: give task.root, or task.train_limit, .validation_limit and .limit"
    if config.training.compile:
        yield f"{name}: memory is that without training.compile, which may take less"
    kept = [5 * plan["weights"] for plan in found]
    steps = (plan["peak"] - own for plan, own in zip(found, kept, strict=True))
    together = sum(kept) + max(steps)
    yield f"{name}: all arms stay on the device until the last is trained: {_text(together, 'GiB')}"
    if machine.memory and together > machine.memory:
        yield f"{name}: that is more than the {machine.memory / 1e9:.0f} GB of {machine.name}"


def write(path: Path, done: Sequence[Plan]) -> None:
    """plan.csv: a row an arm."""
    write_items(path, {name: [plan[name] for plan in done] for name in done[0]})


def _text(value: Any, unit: str) -> str:
    if value is None or isinstance(value, str):
        return value or "?"
    return (
        f"{value:,}"
        if isinstance(value, int) and not unit
        else f"{value / SCALES.get(unit, 1):,.4g} {unit}".rstrip()
    )


def table(done: Sequence[Plan]) -> str:
    """The plans for a person, an arm a column: there are more numbers than arms."""
    from tabulate import tabulate

    rows = [[name, *(_text(p[name], UNITS.get(name, "")) for p in done)] for name in done[0]]
    hours = [plan["device_hours"] or 0 for plan in done]
    body = tabulate(rows, tablefmt="plain", disable_numparse=True)
    return f"{body}\n\ndevice hours in all: {_text(sum(hours) or None, '')}"
