"""What a person watches while a match runs: lines on stderr, and a tracker where one is chosen."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data.files import optional
from benchmarks.metrics.score import Score
from crossflow.errors import InputError
from crossflow.files import write_atomic

LOG_SECONDS = 15.0  # between the lines of a log file, which has no cursor
LIVE_SECONDS = 0.2  # between two states of the one line on a terminal


@dataclass
class Progress:
    """`report(stage, done, total, note)`: one renewed line on a terminal, a few in a log file. Time
    left counts from the stage's first report: an earlier process had its own speed."""

    quiet: bool = False  # of a process that another speaks for
    _stage: str = ""
    _first: tuple[float, float] = (0.0, 0.0)  # time of the stage's first report, what was done then
    _shown: float = -math.inf  # time of the last line; infinite after the stage's end

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        if self.quiet:
            return
        now, live, ends = time.monotonic(), sys.stderr.isatty(), done >= total
        if stage != self._stage:
            self.close()
            self._stage, self._first, self._shown = stage, (now, done), -math.inf
        if now - self._shown < (0 if ends else LIVE_SECONDS if live else LOG_SECONDS):
            return
        self._shown = math.inf if ends else now
        elapsed = now - self._first[0]
        share, new = min(1.0, done / total) if total else 1.0, done - self._first[1]
        timed = new > 0 and elapsed > 1 and not ends
        left = f", {_clock((total - done) * elapsed / new)} left" if timed else ""
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
    """Event files in `<run folder>/tensorboard`; a step that comes again hides the old events."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder = folder / "tensorboard"
        self.writer: Any = None

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = self.writer or SummaryWriter(str(self.folder), purge_step=step)
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def finish(self) -> None:
        if self.writer is not None:
            self.writer.close()


def weights_and_biases(folder: Path, about: Mapping[str, Any]) -> Any:
    """A run there; WANDB_MODE=offline keeps it on this machine, in the run folder. Its id is kept
    where a checkpoint goes on: W&B has one number a step and keeps the oldest."""
    import wandb

    kept = folder / "wandb.id"
    if not (kept.exists() and (folder / "checkpoints" / "last.safetensors").exists()):
        write_atomic(kept, uuid.uuid4().hex)
    return wandb.init(
        project=os.environ.get("WANDB_PROJECT", "crossflow-bench"),
        name=about["run_id"],
        group=about["match"],
        id=kept.read_text(),
        resume="allow",
        reinit="create_new",  # arms take turns under device_seconds: several runs are open
        dir=str(folder),
        config=dict(about),
        # No copy of the terminal, no watching of the machine.
        settings=wandb.Settings(console="off", x_disable_stats=True),
    )


# By the name of the package; each opens a run that has log(numbers, step) and finish().
KINDS: dict[str, Callable[..., Any]] = {"tensorboard": TensorBoard, "wandb": weights_and_biases}


class Tracker:
    """Mirrors each arm of a match as a run of its own, named by its run_id; nothing for "none".

    InputError where a tracker cannot be imported or begun. What fails later costs the arm its
    mirror and never the training; it is told once.
    """

    def __init__(self, kind: str) -> None:
        self.kind, self._runs = kind, dict[str, Any]()
        if kind != "none":
            optional(kind, f"tracker={kind}", "trackers")

    def open(self, arm: str, folder: Path, about: Mapping[str, Any]) -> None:
        if self.kind == "none":
            return
        try:
            with redirect_stdout(sys.stderr):  # stdout is for records and tables
                self._runs[arm] = KINDS[self.kind](folder, about)
        except Exception as error:
            raise InputError(f"tracker={self.kind}: {type(error).__name__}: {error}") from error

    def line(self, arm: str, line: Mapping[str, Any]) -> None:
        """Mirrors a line of stats.jsonl, without nulls.

        Losses of two arms have different targets and must share no axis: they carry the arm's name.
        """
        own = {"loss": line["loss"], "grad_norm": line["grad_norm"]}
        own |= {f"terms/{name}": value for name, value in line["terms"].items()}
        shared = {f"train/{n}": x for n, x in line.items() if n not in (*own, "terms", "steps")}
        numbers = shared | {f"{arm}/{name}": value for name, value in own.items()}
        known = {name: float(value) for name, value in numbers.items() if value is not None}
        self._tell(arm, "log", known, line["steps"])

    def scores(self, arm: str, scores: Mapping[str, Score], steps: int) -> None:
        """Mirrors the scores of an arm, one step after its last."""
        numbers = {f"scores/{name}": score.value for name, score in scores.items()}
        self._tell(arm, "log", numbers, steps + 1)

    def close(self) -> None:
        """Ends the runs."""
        for arm in list(self._runs):
            self._tell(arm, "finish")

    def _tell(self, arm: str, what: str, *given: Any) -> None:
        try:
            if arm in self._runs:
                with redirect_stdout(sys.stderr):
                    getattr(self._runs[arm], what)(*given)
        except Exception as error:  # whatever a network, a disk or another's package may raise
            del self._runs[arm]
            why = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"WARNING: tracker={self.kind} of {arm} gave up ({why})", file=sys.stderr)
