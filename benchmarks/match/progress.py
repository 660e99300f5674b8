"""What a person may watch while a match runs: lines on stderr, and a tracker where one is chosen.

A tracker mirrors the run and is no source: each arm is a run of its own there, named by its run_id,
with the configuration, every line of stats.jsonl and the final scores.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import shutil
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.records.record import Record
    from crossflow.train import Trainer

LOG_SECONDS = 15.0  # between the lines of a log file, which has no cursor
LIVE_SECONDS = 0.2  # between two states of the one line on a terminal
PACKAGES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}


@dataclass
class Progress:
    """`report(stage, done, total, note)`: one renewed line on a terminal, a few in a log file.

    `total` may be any unit: its share is shown, and with `rates` how many a second. Rate and time
    left count from the stage's first report: what an earlier process did is not this one's speed.
    """

    rates: bool = False
    _stage: str = ""
    _started: float = 0.0
    _before: float = 0.0  # what was done at the stage's first report
    _shown: float = -math.inf
    _ended: set[str] = field(default_factory=set)

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        now, live, ends = time.monotonic(), sys.stderr.isatty(), done >= total
        if stage != self._stage:
            self.close()
            self._stage, self._started, self._before, self._shown = stage, now, done, -math.inf
        early = not ends and now - self._shown < (LIVE_SECONDS if live else LOG_SECONDS)
        if early or (ends and stage in self._ended):
            return
        if ends:
            self._ended.add(stage)
        self._shown, elapsed = now, now - self._started
        speed = (done - self._before) / max(elapsed, 1e-9)
        share = min(1.0, done / total) if total else 1.0
        timed = speed > 0 and elapsed > 1 and not ends
        left = f", {_clock((total - done) / speed)} left" if timed else ""
        if self.rates and speed > 0:
            note = f"{speed:{',.0f' if speed >= 100 else '.2g'}}/s  {note}"
        line = f"[{_clock(elapsed)}] {stage}: {share:4.0%}{left}  {note}".rstrip()
        if live:
            line = f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}"
        print(line, end="" if live else "\n", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leaves the live line, so that what is printed next starts on a clean one."""
        if self._stage and sys.stderr.isatty():
            print(file=sys.stderr)
        self._stage = ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class TensorBoard:
    """Event files in `<run folder>/tensorboard`.

    Steps that a killed run did after its checkpoint come again; purge_step hides the old events.
    """

    def __init__(self, trainer: Trainer, match: str, about: Mapping[str, Any]) -> None:
        self.folder, self.about = trainer.folder / "tensorboard", about
        self.writer: Any = None  # made at the first line, which says where the old ones end

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self._write(step, step, numbers)

    def _write(self, first: int, step: int, numbers: Mapping[str, float]) -> None:
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder), purge_step=first)
            config = json.dumps(self.about, indent=1, default=str)
            self.writer.add_text("config", textwrap.indent(config, "    "), first)
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def end(self, step: int, scores: Mapping[str, float]) -> None:
        if scores:
            self._write(step + 1, step, scores)  # the last step's own numbers are there already
        if self.writer is not None:
            self.writer.close()


class WandB:
    """A run of Weights & Biases; WANDB_MODE=offline keeps it on this machine, in the run folder.

    A run that goes on from a checkpoint keeps its id. One that starts again gets another: W&B would
    keep the old numbers of equal steps.
    """

    def __init__(self, trainer: Trainer, match: str, about: Mapping[str, Any]) -> None:
        import wandb

        folder = trainer.folder
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "wandb.id"
        if not (kept.exists() and (folder / "checkpoints" / "last.safetensors").exists()):
            kept.write_text(uuid.uuid4().hex)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "crossflow-bench"),
            name=about["run_id"],
            group=match,
            id=kept.read_text().strip(),
            resume="allow",
            reinit="create_new",  # arms take turns under device_seconds: several runs are open
            dir=str(folder),
            config=dict(about),
            # Nothing but the mirror: no copy of the terminal, no watching of the machine.
            settings=wandb.Settings(console="off", x_disable_stats=True),
        )

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self.run.log(dict(numbers), step=step)

    def end(self, step: int, scores: Mapping[str, float]) -> None:
        self.run.summary.update(dict(scores))
        self.run.finish()


KINDS: dict[str, Callable[..., Any]] = {"tensorboard": TensorBoard, "wandb": WandB}


class Tracker:
    """The tracker runs of one match's arms; does nothing where kind is "none".

    InputError where a tracker cannot be imported or begun: its user would wait for it in vain.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._runs: dict[str, Any] = {}
        if kind != "none":
            try:
                importlib.import_module(PACKAGES[kind])
            except ImportError as error:
                raise InputError(
                    f"tracker={kind}: {error}; pip install 'crossflow-bench[trackers]'"
                ) from error

    def open(self, trainer: Trainer, run_id: str, match: str, config: Mapping[str, Any]) -> None:
        if self.kind == "none":
            return
        about = {**config, "run_id": run_id, "method": trainer.name}
        try:
            with redirect_stdout(sys.stderr):  # stdout is for records and tables
                self._runs[trainer.name] = KINDS[self.kind](trainer, match, about)
        except Exception as error:
            raise InputError(f"tracker={self.kind}: {type(error).__name__}: {error}") from error

    def line(self, trainer: Trainer) -> None:
        """Mirrors the line that the arm's last step wrote to stats.jsonl, if it wrote one."""
        name, line = trainer.name, trainer.last
        if line.get("steps") == trainer.spent.steps:
            self._mirror(name, lambda run: run.log(line["steps"], stats_numbers(name, line)))

    def record(self, record: Record) -> None:
        """Mirrors the scores of a record, and ends the arm's run."""
        steps = 0 if record.budget is None else record.budget.steps
        scores = {f"scores/{name}": score.value for name, score in record.scores.items()}
        self._mirror(record.method, lambda run: run.end(steps, scores))
        self._runs.pop(record.method, None)

    def close(self) -> None:
        """Ends the runs of arms that left no record, as after an interrupt."""
        for name in list(self._runs):
            self._mirror(name, lambda run: run.end(0, {}))
        self._runs.clear()

    def _mirror(self, name: str, action: Callable[[Any], None]) -> None:
        """A tracker's failure costs its arm the mirror and never the training; it is told once."""
        if name not in self._runs:
            return
        try:
            with redirect_stdout(sys.stderr):
                action(self._runs[name])
        except Exception as error:  # whatever a network, a disk or another's package may raise
            del self._runs[name]
            why = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"WARNING: tracker={self.kind} of {name} gave up ({why})", file=sys.stderr)


def stats_numbers(arm: str, line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of stats.jsonl by the names that trackers show; no null.

    Losses of two arms have different targets and must not share an axis: they carry the arm's name.
    """
    numbers = {
        (f"{arm}/{name}" if name in ("loss", "grad_norm") else f"train/{name}"): float(value)
        for name, value in line.items()
        if name not in ("terms", "steps") and value is not None
    }
    return numbers | {f"{arm}/terms/{name}": float(value) for name, value in line["terms"].items()}
