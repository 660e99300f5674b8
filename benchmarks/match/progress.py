"""What a person may watch while a match runs: lines on stderr, and a tracker where one is chosen.

A tracker mirrors the run and is no source: each arm is a run of its own there, named by its run_id,
with the configuration, every line of stats.jsonl and the final scores. What is missing is told
before the first step. What breaks later is told once, on stderr; training goes on.
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
from pathlib import Path
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
    """`report(stage, done, total, note)`: stages follow one another; `note` is free text.

    A terminal has one line that is renewed; a log file gets a line when a stage starts, every
    `LOG_SECONDS`, and when it ends. `total` may be any unit (items, FLOPs, seconds): only its share
    is shown, and with `rates` how many a second. Rate and time left count from the stage's first
    report: what an earlier, killed process did is none of this one's speed.
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
        left = ""
        if speed > 0 and elapsed > 1 and not ends:
            left = f", {_clock((total - done) / speed)} left"
        if self.rates and speed > 0:
            rate = f"{speed:,.0f}" if speed >= 100 else f"{speed:.2g}"
            note = f"{rate}/s  {note}".rstrip()
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

    Steps that a killed run did after its checkpoint come again: the new file hides the old events
    from its own first step on (TensorBoard's purge), so that each step is shown once.
    """

    def __init__(self, folder: Path, match: str, about: Mapping[str, Any]) -> None:
        self.folder, self.about = folder / "tensorboard", about
        self.writer: Any = None

    def log(self, step: int, numbers: Mapping[str, float], last: bool = False) -> None:
        """last: scores after the last step, whose own numbers are there already."""
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            first = step + 1 if last else step
            self.writer = SummaryWriter(str(self.folder), purge_step=first)
            config = json.dumps(self.about, indent=1, default=str)
            self.writer.add_text("config", textwrap.indent(config, "    "), first)
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


class WandB:
    """A run of Weights & Biases; WANDB_MODE=offline keeps it on this machine, in the run folder.

    Its id belongs to one training: a run that goes on from a checkpoint keeps it, one that starts
    again gets another, else W&B would keep the old numbers of equal steps and drop the new ones.
    """

    def __init__(self, folder: Path, match: str, about: Mapping[str, Any]) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "wandb.id"
        goes_on = (folder / "checkpoints" / "last.safetensors").exists()
        if not (goes_on and kept.exists()):
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

    def log(self, step: int, numbers: Mapping[str, float], last: bool = False) -> None:
        if last:
            self.run.summary.update(dict(numbers))
        else:
            self.run.log(dict(numbers), step=step)

    def close(self) -> None:
        self.run.finish()


KINDS: dict[str, Callable[..., Any]] = {"tensorboard": TensorBoard, "wandb": WandB}


class Tracker:
    """The tracker runs of one match's arms; does nothing where kind is "none".

    InputError where the package of `kind` cannot be imported.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._runs: dict[str, Any] = {}
        if kind != "none":
            try:
                with redirect_stdout(sys.stderr):
                    importlib.import_module(PACKAGES[kind])
            except ImportError as error:
                raise InputError(
                    f"tracker={kind}: {error}; pip install 'crossflow-bench[trackers]', or leave "
                    "tracker out"
                ) from error

    def open(self, trainer: Trainer, run_id: str, match: str, config: Mapping[str, Any]) -> None:
        """Begins an arm's run. InputError where that fails: its user waits for it in vain."""
        if self.kind == "none":
            return
        about = {**config, "run_id": run_id, "method": trainer.name}
        try:
            with redirect_stdout(sys.stderr):  # stdout is for records and tables
                self._runs[trainer.name] = KINDS[self.kind](trainer.folder, match, about)
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
        self._mirror(record.method, lambda run: run.log(steps, scores, last=True))
        self._mirror(record.method, lambda run: run.close())
        self._runs.pop(record.method, None)

    def close(self) -> None:
        """Ends the runs of arms that left no record, as after an interrupt."""
        for name in list(self._runs):
            self._mirror(name, lambda run: run.close())
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
            print(
                f"WARNING: tracker={self.kind} of {name} gave up ({why}): nothing more goes there. "
                "The run goes on; stats.jsonl and the record will hold everything",
                file=sys.stderr,
            )


def stats_numbers(arm: str, line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of stats.jsonl by the names that trackers show; no null.

    Trackers draw equal names of several runs on one axis, and losses of two arms have different
    targets: `<arm>/loss`, `<arm>/grad_norm` and `<arm>/terms/<name>` carry the arm, so that no
    chart holds two arms' losses; all else is `train/<field>`.
    """
    numbers = {
        (f"{arm}/{name}" if name in ("loss", "grad_norm") else f"train/{name}"): float(value)
        for name, value in line.items()
        if name not in ("terms", "steps") and value is not None
    }
    return numbers | {f"{arm}/terms/{name}": float(value) for name, value in line["terms"].items()}
