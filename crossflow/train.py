"""The training loop of every arm, which never asks for the method."""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from crossflow import checkpoint, world, world_checks
from crossflow.arm import Arm
from crossflow.batches import Batches
from crossflow.budget import Budget, Spent, Training
from crossflow.checkpoint import repeatable
from crossflow.clock import Clock, Throughput
from crossflow.draws import StepDraws
from crossflow.errors import ArmError, InputError, differences
from crossflow.files import sync
from crossflow.method import Loss
from crossflow.optimizer import Finite, PowerEMA, adamw, rate_factor
from crossflow.order import Chain, Order
from crossflow.problem import Pair
from crossflow.store import Store

Progress = Callable[["Trainer"], object]
NO_BITS = ("checkpoint_seconds", "recompute")  # settings that change none of a step


class TrainingError(ArmError):
    """Numbers are not finite; the message names the arm, the step and the numbers."""


class Trainer:
    """One arm under its budget, in one process or in the same one of several (`crossflow.world`).

    folder: of the run; holds checkpoints/, clock.json, stats.jsonl, a line each `log_every` steps,
    and after `finish` weights.safetensors, the average. The first of several processes writes it.
    parallel: of `world.PARALLEL`. InputError where the batch cannot be divided.
    """

    def __init__(
        self,
        arm: Arm,
        store: Store,
        budget: Budget,
        training: Training,
        folder: Path,
        seed: int = 0,
        device: str | torch.device = "cpu",
        log_every: int = 10,
        parallel: str = "ddp",
    ) -> None:
        self._limit = f"{budget.limit!r} {budget.kind}"  # raises for a wrong budget
        self.device = torch.device(device)
        gpu = self.device.type == "cuda"
        if gpu:
            # Deterministic cuBLAS needs a fixed workspace; read when its first handle is made.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self.arm, self.store = arm.to(self.device), store
        self.arm.net.recompute = training.recompute
        self.arm.net.accumulate, self.arm.method.weak = training.accumulate, None
        self.budget, self.training = budget, training
        self.name, self.seed, self.folder, self.log_every = arm.name, seed, Path(folder), log_every
        self.first, self._rows = world.rank() == 0, world.divided(training, parallel)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.journal = self.folder / "stats.jsonl"  # a line of JSON for each logged step
        self.journal.touch()
        self._checkpoint = self.folder / "checkpoints" / "last.safetensors"
        wait = partial(torch.cuda.synchronize, self.device) if gpu else lambda: None
        self.clock = Clock(self.folder / "clock.json" if self.first else None, wait)
        self.order = Order(seed, len(store), training.batch, store.captions)
        self._batches = Batches(store, self.order, self._rows, next(arm.parameters()).device)
        average = copy.deepcopy(self.arm).eval().requires_grad_(False)
        self.sharded = parallel == "fsdp" and world.size() > 1
        # Whole in every process, and in memory for a while only, once training is finished.
        self.average = copy.deepcopy(average).cpu() if self.sharded else average
        self._called = world.spread(self.arm, parallel, self.device)  # for the loss of a batch
        if self.sharded:
            world.spread(average, parallel, self.device)
        self.ema = PowerEMA(self.arm, training.ema_width, average)
        self.lr: float = arm.options.get("lr", training.lr)
        self.optimizer = self._optimizer(self.arm)
        self.spent, self.chain, self.throughput = Spent(), Chain(), Throughput()
        self.last: dict[str, Any] = {}  # numbers of the last logged step
        self._finite = Finite(self.device)
        self.failure: Exception | None = None  # why training stopped
        self._ids, self._saved = store.ids, 0.0
        self._earlier = 0.0  # device seconds beyond its ledger: of more processes, or fewer
        if training.compile:
            self.arm.net.compile()

    def _optimizer(self, module: nn.Module) -> torch.optim.AdamW:
        decay = self.arm.options.get("weight_decay", self.training.weight_decay)
        return adamw(module, self.lr, (self.training.beta1, self.training.beta2), decay)

    @property
    def fraction(self) -> float:
        """Share of the budget that is spent, at most 1."""
        return min(1.0, self.budget.progress(self.spent))

    @property
    def done(self) -> bool:
        """Whether the budget is spent."""
        return self.budget.progress(self.spent) >= 1

    def step(self) -> None:
        """One training step. TrainingError: numbers are not finite; a GPU is asked at each log."""
        step, timed = self.spent.steps, self.budget.kind == "device_seconds"
        with self.clock("train", wait=timed), repeatable(self.seed, step, self.device):
            before, settings = self.budget.progress(self.spent), self.training
            rows, captions = self.order.step(step)
            stage, share = self.arm.method.stage(self.fraction)
            rate = self.lr * rate_factor(share, settings.warmup, settings.cooldown)
            with self._batches.reading(step) as pair:
                loss, norm = self._update(self._called, self.optimizer, pair, step, rate, stage)
            self.chain.update([self._ids[row] for row in rows], captions.tolist())
            self.spent.steps += 1
            self.spent.samples += len(rows)
            self.spent.flops += len(rows) * self.arm.flops_stages[stage]
            if timed:
                self._check()  # the average goes by the time of the whole step
            self._spend_time()
            self.ema.update(before, progress := self.budget.progress(self.spent))
            if self.arm.method.weak is None and progress >= self.arm.method.weak_at:
                self._keep_weak()
            if self._logs:
                self._check()
        self._spend_time()
        self.throughput.update(self.spent.samples, self.spent.device_seconds)
        if self._logs:
            self._log(loss, norm, rate)

    def _keep_weak(self) -> None:
        """Keeps the averaged network as it is now, one copy, whole in every process."""
        weak = copy.deepcopy(self.average.net)
        weak.load_state_dict(world.whole_state(self.ema.module.net.state_dict()))
        for arm in (self.arm, self.ema.module, self.average):
            arm.method.weak = weak

    @property
    def _logs(self) -> bool:
        """Whether the step that is done has a line: one of so many, and the last."""
        return self.spent.steps % self.log_every == 0 or self.done

    def _spend_time(self) -> None:
        seconds = self.clock.seconds("train")
        if self.budget.kind == "device_seconds":  # one clock: all end at the same step
            seconds = world.decided(seconds)
        self.spent.device_seconds = self._earlier + seconds * world.size()

    def _update(
        self,
        arm: nn.Module,
        optimizer: torch.optim.AdamW,
        pair: Pair,
        step: int,
        rate: float,
        stage: int,
    ) -> tuple[Loss, Tensor]:
        """Loss, gradient and optimizer step; gives the loss and the gradient's norm."""
        optimizer.zero_grad(set_to_none=True)  # before, as gradients may take all that is left
        loss = self._loss(arm, pair, step, stage)
        loss.total.backward()
        parameters = list(arm.parameters())
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        loss = Loss(*world.mean_terms(loss.total.detach(), loss.terms))
        total_norm = world.whole(norm)
        self._finite.note(step, loss.total, loss.terms | {"gradient norm": total_norm})
        if self.device.type == "cpu":
            self._check()  # costs nothing there
        if self.training.clip is not None:
            clip_grads_with_norm_(parameters, self.training.clip, norm)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        return loss, total_norm

    def _loss(self, arm: nn.Module, pair: Pair, step: int, stage: int) -> Loss:
        """Of a step's batch, in the precision of training."""
        draws = StepDraws(self.seed, step, self._rows, self.training.batch, stage)
        enabled = self.training.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
            return arm(pair, draws)

    def _check(self) -> None:
        """Waits for the device. TrainingError: names the first step that was not finite."""
        if broken := self._finite.broken():
            raise TrainingError(f"{self.name}: loss or gradient is not finite at step {broken}")

    def _log(self, loss: Loss, norm: Tensor, rate: float) -> None:
        """Adds a line to stats.jsonl, of this step's batch."""
        samples = self.spent.samples - self.last.get("samples", 0)
        seconds = self.spent.device_seconds - self.last.get("device_seconds", 0.0)
        self.last = {
            **asdict(self.spent),  # without the work that a killed run lost
            "fraction": self.fraction,  # of the budget
            "loss": float(loss.total),  # of this arm's own target: no arms are compared
            "terms": {name: float(value) for name, value in loss.terms.items()},  # unweighted
            "lr": rate,
            "grad_norm": float(norm),  # before clipping
            "samples_per_second": samples / seconds if seconds > 0 else None,  # since the last line
        }
        if self.first:
            with self.journal.open("a") as file:
                file.write(json.dumps(self.last, allow_nan=False) + "\n")

    def warm_up(self) -> None:
        """Runs a step of each stage on a copy (compilation, caches, clocks): leaves no trace here.
        ArmError: several processes would train another arm than one does."""
        with self.clock("warmup"), repeatable(self.seed, 0, self.device):
            world_checks.require_same_loss(
                self.average, self.arm, self.store, self.order, self.device
            )
            pair, stages = self._batches.read(0), range(len(self.arm.method.stages))
            if self.sharded:  # no copy can be made: all but the optimizer's step
                for stage in stages:
                    self._loss(self._called, pair, 0, stage).total.backward()
                world_checks.require_gradients(self.name, self.arm)
                self.optimizer.zero_grad(set_to_none=True)
                return
            arm = copy.deepcopy(self.arm)
            if self.training.compile:
                arm.net.compile()
            optimizer = self._optimizer(arm)
            for stage in stages:
                self._update(arm, optimizer, pair, 0, self.lr, stage)
            world_checks.require_gradients(self.name, arm, optimizer.state)

    def _identity(self) -> dict[str, Any]:
        """All that the bits of the next step depend on, beside what the checkpoint holds."""
        several = self.budget.kind == "device_seconds" and world.size() > 1  # another race
        training = asdict(self.training)
        if self.training.accumulate == 1:  # younger than the first checkpoints, which lack it
            del training["accumulate"]
        limit = self._limit + f" of {world.size()} processes" * several
        return {
            **{k: v for k, v in training.items() if k not in NO_BITS},
            **{f"option {name}": value for name, value in self.arm.options.items()},
            **{f"backbone {name}": value for name, value in asdict(self.arm.size).items()},
            **{f"problem {name}": value for name, value in asdict(self.arm.method.problem).items()},
            **{"arm": self.name, "method": type(self.arm.method).__name__},
            **{"seed": self.seed, "budget": limit, "data": self.store.digest},
            **checkpoint.machine(self.device),
        }

    def save(self) -> None:
        """Writes the checkpoint, on its own ledger, whole: any number of processes continues it."""
        with self.clock("train", wait=False):  # for what a GPU has in flight: that is its ledger
            self._check()
        self._spend_time()
        with self.clock("checkpoint"):
            sync(self.journal)  # before the checkpoint, which these lines must not miss
            groups = {"arm": self.arm.state_dict(), "ema": self.ema.module.state_dict()}
            moments = self.optimizer.state_dict()["state"].items()
            groups |= {f"optimizer/{index}": values for index, values in moments}
            groups = {group: world.whole_state(values) for group, values in groups.items()}
            state = {
                "identity": self._identity(),
                **{name: asdict(getattr(self, name)) for name in ("spent", "chain", "throughput")},
                "last": self.last,
                "ledgers": self.clock.state(),
            }
            if self.first:
                checkpoint.write(self._checkpoint, groups, state)
            self._saved = self.clock.wall
        self.clock.beat()

    def resume(self) -> bool:
        """Goes on from the folder's checkpoint, if any; whether so. InputError: of another run."""
        ledgers: dict[str, float] = {}
        exists = world.from_first(self._checkpoint.exists())
        with self.clock("checkpoint"):
            if exists:
                tensors, state = checkpoint.read(self._checkpoint, self.device)
                if differ := differences(state["identity"], self._identity()):
                    hint = "Use the old values, resume=false, or another folder"
                    raise InputError(f"cannot resume from {self._checkpoint}: {differ}. {hint}")
                if any(name.startswith("method.weak.") for name in tensors["arm"]):
                    self._keep_weak()
                for name, module in (("arm", self.arm), ("ema", self.ema.module)):
                    module.load_state_dict(world.state_like(tensors.pop(name), module.state_dict()))
                moments = world.moments_like(tensors, self.optimizer)
                self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
                self.spent, self.chain = Spent(**state["spent"]), Chain(**state["chain"])
                self.throughput = Throughput(**state["throughput"])
                self.last, ledgers = state["last"], state["ledgers"]
                self._earlier = self.spent.device_seconds - ledgers["train"] * world.size()
            self.clock.restore(ledgers)
            if self.first:
                checkpoint.trim(self.journal, self.last.get("steps", 0))
        self._saved = self.clock.wall
        return exists

    def run(self, seconds: float = math.inf, progress: Progress = lambda _: None) -> None:
        """Steps, and `progress` after each, until the budget or `seconds` of training are over."""
        end = self.spent.device_seconds + seconds * world.size()
        with self.clock("other"):
            while not self.done and self.spent.device_seconds < end:
                self.step()
                progress(self)
                if world.decided(self.clock.wall - self._saved >= self.training.checkpoint_seconds):
                    self.save()

    def finish(self) -> None:
        """Last checkpoint, and the averaged weights, as `average` and as weights.safetensors."""
        self._batches.drop()
        self.save()
        with self.clock("checkpoint"):
            about = {"method": self.name, "steps": self.spent.steps, "weights": "average"}
            weights = world.whole_state(self.ema.module.state_dict())
            if self.sharded:
                self.average.load_state_dict(weights)
                self.average.to(self.device)
            if self.first:
                checkpoint.write(self.folder / "weights.safetensors", {"": weights}, about)

    def abandon(self, error: TrainingError) -> None:
        """Notes a failure after which the next run of this folder starts again."""
        self.failure = error
        if self.first:
            self._checkpoint.unlink(missing_ok=True)
            (self.folder / "clock.json").unlink(missing_ok=True)
