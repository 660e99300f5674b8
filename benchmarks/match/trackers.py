"""TensorBoard, W&B or trackio beside a run, where `tracker` asks for one: a mirror, never a source.

Each arm is a run of its own in the tracker, named by its run_id: the configuration, every line of
stats.jsonl, the final scores. Trackers draw equal names of several runs on one axis, and losses of
two arms have different targets: `loss`, its terms and `grad_norm` therefore carry the method in
their names, so that no chart ever holds two arms' losses.

What is missing is told before the first step. What breaks later is told once and loudly, on stderr
and in `report watch`; training goes on, for stats.jsonl and the records hold everything.
"""

from __future__ import annotations

import contextvars
import importlib
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.records.record import Record
    from crossflow.trainer import Trainer

PACKAGES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb", "trackio": "trackio"}
EXTRA = "pip install 'crossflow-bench[trackers]'"
PROJECT = "crossflow-bench"
OF_THE_ARM = ("loss", "grad_norm")  # beside the terms: what only one arm's chart may hold

Numbers = Mapping[str, float]


class Tracker(Protocol):
    """One run of a tracker. step: optimizer steps done. scores: the last call before `close`."""

    def log(self, step: int, numbers: Numbers) -> None: ...
    def scores(self, step: int, numbers: Numbers) -> None: ...
    def close(self) -> None: ...


class TensorBoard:
    """Event files in `<run folder>/tensorboard`.

    Steps that a killed run did after its checkpoint come again: the new file hides the old events
    from its own first step on (TensorBoard's purge), so that each step is shown once.
    """

    def __init__(self, folder: Path, run_id: str, match: str, config: Mapping[str, Any]) -> None:
        self.folder, self.config = folder / "tensorboard", config
        self.writer: Any = None

    def _open(self, purge: int) -> Any:
        """The writer, made at its first use, when the first step is known."""
        from torch.utils.tensorboard import SummaryWriter

        if self.writer is None:
            self.writer = SummaryWriter(str(self.folder), purge_step=purge)
            rows = "\n".join(f"    {name}: {value}" for name, value in flat(self.config).items())
            self.writer.add_text("config", rows, purge)  # indented: shown as it is, not as Markdown
        return self.writer

    def log(self, step: int, numbers: Numbers) -> None:
        writer = self._open(step)
        for name, value in numbers.items():
            writer.add_scalar(name, value, step)

    def scores(self, step: int, numbers: Numbers) -> None:
        writer = self._open(step + 1)
        for name, value in numbers.items():
            writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


class WandB:
    """A run of Weights & Biases; WANDB_MODE=offline keeps it on this machine, in the run folder.

    Its id belongs to one training: a run that goes on from a checkpoint keeps it, one that starts
    again gets another, else W&B would keep the old numbers of equal steps and drop the new ones.
    """

    def __init__(self, folder: Path, run_id: str, match: str, config: Mapping[str, Any]) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "wandb.id"
        if not (goes_on(folder) and kept.exists()):
            kept.write_text(uuid.uuid4().hex)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run_id,
            group=match,
            id=kept.read_text().strip(),
            resume="allow",
            # Arms take turns under device_seconds: several runs are open at once.
            reinit="create_new",
            dir=str(folder),
            config=dict(config),
            # Nothing but the mirror: no copy of the terminal, no watching of the machine.
            settings=wandb.Settings(console="off", x_disable_stats=True),
        )

    def log(self, step: int, numbers: Numbers) -> None:
        self.run.log(dict(numbers), step=step)

    def scores(self, step: int, numbers: Numbers) -> None:
        self.run.summary.update(dict(numbers))

    def close(self) -> None:
        self.run.finish()


class Trackio:
    """A run of trackio, in the folder that TRACKIO_DIR names. It keeps a repeated step twice."""

    def __init__(self, folder: Path, run_id: str, match: str, config: Mapping[str, Any]) -> None:
        import trackio

        def begin() -> Any:
            return trackio.init(
                project=os.environ.get("TRACKIO_PROJECT", PROJECT),
                name=run_id,
                group=match,
                config=dict(config),
                resume="allow" if goes_on(folder) else "never",
                auto_log_cpu=False,
                auto_log_gpu=False,
            )

        # trackio ends the run that this context opened before; each arm has a context of its own.
        self.run = contextvars.copy_context().run(begin)

    def log(self, step: int, numbers: Numbers) -> None:
        self.run.log(dict(numbers), step=step)

    def scores(self, step: int, numbers: Numbers) -> None:
        self.run.log(dict(numbers), step=step)

    def close(self) -> None:
        self.run.finish()


KINDS: dict[str, Callable[..., Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "trackio": Trackio,
}


def require(kind: str) -> None:
    """InputError, before anything is computed, where the tracker's package cannot be imported."""
    if kind == "none":
        return
    try:
        with redirect_stdout(sys.stderr):
            importlib.import_module(PACKAGES[kind])
    except ImportError as error:
        raise InputError(f"tracker={kind}: {error}; {EXTRA}, or leave tracker out") from error


class Mirror:
    """The trackers of one match's arms; does nothing where none was chosen.

    kind: a name of `KINDS`, or none. told: called with each failure, beside the line on stderr.
    """

    def __init__(self, kind: str, told: Callable[[str], None] = lambda text: None) -> None:
        self.kind, self._told = kind, told
        self._trackers: dict[str, Tracker] = {}
        self._seen: dict[str, Any] = {}

    def open(self, trainer: Trainer, run_id: str, match: str, config: Mapping[str, Any]) -> None:
        """Begins an arm's run. InputError where that fails: its user waits for it in vain."""
        if self.kind == "none":
            return
        try:
            with redirect_stdout(sys.stderr):  # stdout is for records and tables
                about = {**config, "run_id": run_id, "method": trainer.name}
                self._trackers[trainer.name] = KINDS[self.kind](
                    trainer.folder, run_id, match, about
                )
        except Exception as error:
            raise InputError(f"tracker={self.kind}: {type(error).__name__}: {error}") from error

    def line(self, trainer: Trainer) -> None:
        """Mirrors the last line of stats.jsonl where it is a new one. Call after each step."""
        tracker, line = self._trackers.get(trainer.name), trainer.last
        if tracker is None or not line or self._seen.get(trainer.name) is line:
            return
        self._seen[trainer.name] = line
        with self._guarded(trainer.name):
            tracker.log(int(line["steps"]), stats_numbers(trainer.name, line))

    def record(self, record: Record) -> None:
        """Mirrors the scores of a record, and ends the arm's run."""
        tracker = self._trackers.get(record.method)
        if tracker is None:
            return
        with self._guarded(record.method):
            steps = 0 if record.budget is None else record.budget.steps
            tracker.scores(steps, score_numbers(record))
            tracker.close()
        self._trackers.pop(record.method, None)

    def close(self) -> None:
        """Ends the runs of arms that left no record, as after an interrupt."""
        for name in list(self._trackers):
            with self._guarded(name):
                self._trackers[name].close()
            self._trackers.pop(name, None)

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """A tracker's failure costs its arm the mirror and never the training; it is told once."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except Exception as error:  # whatever a network, a disk or another's package may raise
            del self._trackers[name]
            why = " ".join(f"{type(error).__name__}: {error}".split())
            text = f"tracker={self.kind} of {name} gave up ({why})"
            print(
                f"WARNING: {text}: nothing more goes there. The run goes on; stats.jsonl and the "
                "record will hold everything",
                file=sys.stderr,
            )
            self._told(text)


def goes_on(folder: Path) -> bool:
    """Whether a run folder has a checkpoint to go on from."""
    return (folder / "checkpoints" / "last.safetensors").exists()


def stats_numbers(method: str, line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of stats.jsonl by the names that trackers show; no null.

    `train/<field>`, but `<method>/loss`, `<method>/grad_norm` and `<method>/terms/<name>`.
    """
    numbers = {
        (f"{method}/{name}" if name in OF_THE_ARM else f"train/{name}"): float(value)
        for name, value in line.items()
        if name not in ("terms", "steps") and value is not None
    }
    return numbers | {f"{method}/terms/{name}": float(v) for name, v in line["terms"].items()}


def score_numbers(record: Record) -> dict[str, float]:
    """The scores of a record as `scores/<metric>`; they may stand beside those of other arms."""
    return {f"scores/{name}": score.value for name, score in record.scores.items()}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
