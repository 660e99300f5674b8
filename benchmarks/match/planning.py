"""What an arm costs before it is spent: its step is done on tensors without content.

Memory is what the step's tensors need, each storage counted once while it lives.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from benchmarks.config import registry
from benchmarks.match.calibration import Machine
from benchmarks.match.device import PEAKS
from benchmarks.match.job import refuse_guidance_without_effect
from benchmarks.match.outside import alone
from benchmarks.records.record import write_items
from crossflow.arm import Arm, build_arm, example_pair
from crossflow.draws import StepDraws
from crossflow.errors import InputError
from crossflow.method import Ends
from crossflow.network import parameters_of
from crossflow.problem import TokenShape
from crossflow.solver import STAGES, Grid

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.tasks.task import Task
    from crossflow.budget import Budget

# By name: a value (None: not known), its unit (None: it is printed as it is), and what it is.
Plan = dict[str, tuple[Any, str | None, str]]
# A CPU process holds more than lives. glibc keeps what is freed, of the activations these shares;
# a checkpoint is two more copies of its four parts. Both shares were chosen on eleven cases.
FREED = {"fp32": 0.25, "bf16": 0.4}


class Alive(TorchDispatchMode):
    """Bytes of storages that operators made and that live, now and at most; not of those given."""

    def __init__(self, given: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known = WeakIdKeyDictionary({each.untyped_storage(): None for each in given})

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in filter(torch.is_tensor, tree_leaves(made)):
            storage = tensor.untyped_storage()
            if storage not in self._known:  # no view of one that is
                self._known[storage] = None
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return made

    def _add(self, size: int) -> None:
        self.now += size
        self.most = max(self.most, self.now)


def plans(config: Config) -> tuple[list[Plan], list[str]]:
    """A plan for each arm of a job that applies, and notes."""
    alone("plan")
    task = registry.task_of(config)(replace(config, device="cpu"))
    notes, planned = task.assume(), list[Plan]()
    problem, machine = task.problem, Machine(config.device, Path(config.work))
    refuse_guidance_without_effect(config, problem)
    for arm in config.methods:
        module, options = registry.method_of(config, arm), registry.arm_options(config, arm)
        if (reason := module.applies(problem)) is not None:
            notes.append(f"no arm {arm}: {reason}")
            continue
        named: dict[str, Any] = {"options": options, "name": arm, "batch": config.training.batch}
        try:
            built = build_arm(module, problem, config.model, **named, device="meta")
        except Exception:  # of a method that cannot run there (scipy); a true mistake raises again
            built = build_arm(module, problem, config.model, **named)
        built.net.recompute = config.training.recompute
        built.net.accumulate = config.training.accumulate
        if config.calibrate:
            machine.measure(build_arm(module, problem, config.model, **named), config)
        planned.append(_plan(config, task, built, machine))
    if not planned:
        raise InputError(f"methods: none of them applies to {config.task.name}")
    kept = [4 * plan["weights"][0] + plan["average"][0] for plan in planned]
    together = sum(kept) + max(p["peak"][0] - own for p, own in zip(planned, kept, strict=True))
    notes.append(f"all arms stay on the device until the last is trained: {_text(together, 'B')}")
    if together > machine.rates.get("memory", math.inf):
        notes[-1] += f", more than the {_text(machine.rates['memory'], 'B')} of {machine.name}"
    return planned, notes


def _plan(config: Config, task: Task[Any], arm: Arm, machine: Machine) -> Plan:
    training, cost, budget, sampling = config.training, arm.cost, config.budget, config.sampling
    solver = arm.method.solver_name(Grid(sampling.steps, sampling.solver))
    batch, weights = training.batch, 4 * cost.params_trained
    seconds, rate = machine.step_seconds(arm, config)
    price = {"steps": 1, "samples": batch, "flops": batch * cost.flops_train}
    price |= {} if seconds is None else {"device_seconds": seconds}
    counts = steps_of_stages(arm, budget, price[budget.kind]) if budget.kind in price else []
    steps = sum(counts) or None
    full = sum(n * f / cost.flops_train for n, f in zip(counts, arm.flops_stages, strict=False))
    weak = 4 * parameters_of(arm.net) * (arm.method.weak_at < 1)
    disk = 5 * weights + 3 * weak
    activations, peak = step_memory(arm, batch, training.precision, machine.cpu)
    peak += weak * (1 + 4 * machine.cpu)  # there a checkpoint has it in weights and average
    nfe, passes, store = evaluations(config, arm), 1 + config.task.flip_test, store_bytes(task)
    limits = "give task.root, or task.train_limit, .validation_limit and .limit"
    guided = "both branches" if sampling.guidance is None else f"guidance {sampling.guidance:g}"
    by = f"by {solver}, {f'steps={sampling.steps}, {guided}' if nfe else 'which decides'}"
    return {
        "task": (config.task.name, None, f"batch {batch}, {training.precision}"),
        "arm": (arm.name, None, ""),
        "model": (config.model, None, "size of the backbone"),
        "params": (cost.params_inference, "", "that sample: network and encoder"),
        "params_without_encoder": (cost.params_inference - cost.params_encoder, "", "the network"),
        "params_trained": (cost.params_trained, "", "with what only training uses"),
        "train_flops_a_sample": (cost.flops_train, "FLOP", "forward and backward"),
        "flops_an_item_sampled": (nfe and passes * arm.flops_sample(nfe), "FLOP", by),
        "nfe": (nfe and passes * nfe, None, "network evaluations of an item"),
        "steps": (steps, None, f"of training, for {budget.limit:g} {budget.kind}"),
        "train_flops": (steps and full * batch * cost.flops_train, "FLOP", "of these steps"),
        "weights": (weights, "B", "memory"),
        "gradients": (weights, "B", "memory"),
        "optimizer": (2 * weights, "B", "memory: two moments"),
        "average": (weights + weak, "B", "memory: averaged weights, and the weak copy if any"),
        "activations": (activations, "B", "memory: what waits for the backward pass"),
        "peak": (peak, "B", "memory: the most at any time, not compiled"),
        "device": (machine.name, None, "one, and one process: none of parallel, torchrun"),
        "rate": (rate, None, f"known are {', '.join(PEAKS)}; calibrate=true measures others"),
        "step_seconds": (seconds, "s", "by this rate"),
        "device_hours": (steps and seconds and full * seconds / 3600, None, "of training"),
        "store": (store, "B", "disk: encoded data, of all arms" if store else limits),
        "checkpoint": (disk, "B", "disk: weights, moments, average; average exported"),
    }


def steps_of_stages(arm: Arm, budget: Budget, price: float) -> list[int]:
    """Training steps of each stage. price: of one of the last, in the budget's unit."""
    ends, steps = (*arm.method.stages[1:], 1.0), list[int]()
    for start, end, flops in zip(arm.method.stages, ends, arm.flops_stages, strict=True):
        worth = flops / arm.cost.flops_train if budget.kind in ("flops", "device_seconds") else 1
        steps.append(math.ceil(budget.limit * (end - start) / (price * worth)))
    return steps


def step_memory(arm: Arm, batch: int, precision: str, cpu: bool) -> tuple[int, int]:
    """Bytes that wait for the backward pass, and the peak: of a CPU process or a GPU's tensors."""
    pair = example_pair(arm.method.problem, batch, "cpu")
    if next(arm.parameters()).is_meta:  # given sizes and a device, and still no content
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            arm.to_empty(device="cpu")
            source = replace(pair.source, values=mode.from_tensor(pair.source.values))
            words = None if pair.words is None else mode.from_tensor(pair.words)
            pair = replace(pair, source=source, target=mode.from_tensor(pair.target), words=words)
    # Both are of one size. On a CPU attention in bfloat16 is written out, on a GPU it is fused.
    half = torch.bfloat16 if cpu else torch.float16
    given = [*arm.parameters(), *arm.buffers(), pair.source.values, pair.target]
    with Alive(given) as alive, torch.random.fork_rng(devices=[]):
        with torch.autocast("cpu", half, enabled=precision == "bf16"):
            draws = StepDraws(0, 0, range(batch), batch)
            loss = arm.method.loss(arm.net, pair, draws)
        waiting = alive.now
        loss.total.backward()
    for parameter in arm.parameters():
        parameter.grad = None
    weights = 4 * arm.cost.params_trained
    peak = 4 * weights + alive.most
    return waiting, peak + cpu * (round(FREED[precision] * waiting) + 8 * weights)


def evaluations(config: Config, arm: Arm) -> int | None:
    """Network evaluations of an item; both branches where the weight is yet to be chosen. None:
    the solver decides."""
    if config.sampling.solver not in STAGES:
        return None
    x0 = torch.zeros(1, *arm.method.problem.target.sizes)
    null, weight = arm.method.no_nulls(x0), config.sampling.guidance
    still: Any = torch.nn.Module()
    still.forward = lambda x, *given: x
    if arm.method.weak_at < 1:
        arm.method.weak = still
    unguided = not arm.method.guided or null is arm.method.weak is None
    weight = 1.0 if unguided else 2.0 if weight is None else weight
    grid = Grid(config.sampling.steps, config.sampling.solver)
    return arm.method.sample(still, Ends(x0, None, null=null), grid, weight).nfe


def store_bytes(task: Task[Any]) -> int | None:
    """Of the encoded splits; None where only the data know their rows."""
    given, problem = task.config.task, task.problem
    counts: list[Any] = [given.train_limit, given.validation_limit, given.limit]
    if "task.root" not in task.uses or given.root is not None:
        counts = [len(items.row_ids) for items in (task.train, task.validation, task.test)]
    if None in counts:
        return None
    pairs = zip(map(np.dtype, task.stored), (problem.target, problem.source), strict=True)
    target, source = (kind.itemsize * math.prod(shape.sizes) for kind, shape in pairs)
    rows, all_captions = sum(counts), sum(counts) + (task.captions - 1) * counts[0]
    if isinstance(problem.source, TokenShape):
        return rows * target + all_captions * (source + problem.source.length)  # and the mask
    words = 0 if problem.words is None else 2 * problem.words.length
    return all_captions * (target + words) + rows * source


def table(planned: Sequence[Plan]) -> str:
    """The plans of a job for a person, an arm a column: there are more numbers than arms."""
    from tabulate import tabulate

    names = planned[0].items()
    rows = [[n, *(_text(*p[n][:2]) for p in planned), what] for n, (_, _, what) in names]
    return tabulate(rows, tablefmt="plain", disable_numparse=True)


def write(path: Path, done: Sequence[Plan]) -> str:
    """plan.csv, a row an arm; says so, and what all of them take."""
    write_items(path, {name: [plan[name][0] for plan in done] for name in done[0]})
    hours = sum(plan["device_hours"][0] or 0 for plan in done)
    return f"{path}: {len(done)} arms, {_text(hours or None, None)} device hours"


def _text(value: Any, unit: str | None) -> str:
    if value is None or isinstance(value, str):
        return value or "?"
    if unit is None:
        return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
    power = math.floor(math.log10(value) / 3)
    prefix = ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "n", "µ", "m")[power]
    return f"{value / 1000**power:.4g} {prefix}{unit}"
