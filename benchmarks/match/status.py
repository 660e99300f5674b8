"""status.json of a match: what its process is doing, for `report watch`. No result depends on it.

stats.jsonl tells how far an arm has come, but not its limit, nor that it is being sampled, nor
whether a process works on it at all. That stands here, in `<work>/<task>/<match>/status.json`:
written whole when an arm's state changes, and every `BEAT_SECONDS` by a thread, so that a long
evaluation does not look like a killed run. A file that grows old belongs to a process that is gone.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field, ValidationError

from benchmarks.config.schema import Config
from benchmarks.records.record import Strict
from crossflow.errors import InputError

FILE = "status.json"
BEAT_SECONDS = 5.0

State = Literal["waiting", "training", "trained", "evaluating", "done", "failed"]


class Show(Protocol):
    """How a stage is shown: a `Progress`, or one that also tells the status."""

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None: ...


class Watched(Protocol):
    """What a status reads of a match, whose own file imports torch."""

    config: Config
    modules: dict[str, Any]
    ids: dict[str, str]

    @property
    def name(self) -> str: ...
    @property
    def shared(self) -> Path: ...


class ArmStatus(Strict):
    """One arm. since: when it came into its state (Unix time). error: why it failed."""

    method: str
    run_id: str
    state: State
    since: float
    error: str | None = None


class MatchStatus(Strict):
    """One match as its process sees it; all times are Unix times of the machine that runs it.

    stage, share: what is being done now, and how much of it. beat: when the process last wrote.
    ended: when it left the match, None while it is in it. error: why it left before the end. note:
    what else a person should know, such as a tracker that gave up.
    """

    schema_: Literal[1] = Field(alias="schema", default=1)
    task: str
    match: str
    seed: int
    budget_kind: Literal["device_seconds", "flops", "samples", "steps"]
    budget_limit: float
    host: str
    pid: int
    started: float
    beat: float
    ended: float | None = None
    error: str | None = None
    note: str | None = None
    stage: str | None = None
    share: float = 0.0
    arms: list[ArmStatus]


def read(path: Path) -> MatchStatus:
    """The status in a file. InputError, which names the file and the first wrong field."""
    try:
        return MatchStatus.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "status"
        raise InputError(f"{path}: {where}: {first['msg']}") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


class Status:
    """Keeps the status of one match; silent until `kept` is entered.

    Called from the training loop, so calls only note what changed: but for a change of state, the
    thread writes. Files that cannot be written are reported once, and never stop a run.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._facts: dict[str, Any] = {}
        self._arms: dict[str, dict[str, Any]] = {}
        self._complained = False

    @contextmanager
    def kept(self, match: Watched, done: Container[str]) -> Iterator[None]:
        """Writes the match's file until the block ends, however it ends.

        done: methods whose record is there already.
        """
        started = self._now()
        self._path = match.shared / FILE
        self._facts = {
            "task": match.config.task.name,
            "match": match.name,
            "seed": match.config.seed,
            "budget_kind": match.config.budget.kind,
            "budget_limit": match.config.budget.limit,
            "host": platform.node(),
            "pid": os.getpid(),
            "started": started,
        }
        for method in match.modules:
            state = "done" if method in done else "waiting"
            self._arms[method] = {"run_id": match.ids[method], "state": state, "since": started}
        leave = threading.Event()
        thread = threading.Thread(target=self._beat, args=(leave,), name="status", daemon=True)
        self.write()
        thread.start()
        try:
            yield
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            said = "interrupted" if interrupted else f"{type(error).__name__}: {error}"
            self._facts["error"] = said
            raise
        finally:
            leave.set()
            thread.join()
            self._facts |= {"ended": self._now(), "stage": None, "share": 0.0}
            self.write()

    def arm(self, method: str, state: State, error: str | None = None) -> None:
        """An arm comes into a state; nothing happens where it is in it already."""
        arm = self._arms.get(method)
        if arm is None or arm["state"] == state:
            return
        with self._lock:
            arm |= {"state": state, "since": self._now(), "error": error}
        self.write()

    def note(self, text: str) -> None:
        """Something a person who watches should know; after other notes."""
        with self._lock:
            before = self._facts.get("note")
            self._facts["note"] = text if before is None else f"{before}; {text}"
        self.write()

    def stage(self, text: str, share: float = 0.0) -> None:
        """What is being done now, and how much of it is done, from 0 to 1."""
        with self._lock:
            self._facts |= {"stage": text, "share": share}

    def relay(self, show: Show) -> Show:
        """`show` (a Progress), which also tells the stage and how much of it is done."""

        def relayed(stage: str, done: float, total: float, note: str = "") -> None:
            self.stage(stage, min(1.0, done / total) if total else 1.0)
            show(stage, done, total, note)

        return relayed

    def write(self) -> None:
        """Renews the file whole. Without fsync: after a power cut nobody watches this process."""
        if self._path is None:
            return
        with self._lock:
            self._facts["beat"] = self._now()
            arms = [ArmStatus(method=method, **arm) for method, arm in self._arms.items()]
            status = MatchStatus(**self._facts, arms=arms)
            try:
                _replace(self._path, status.model_dump_json(indent=1, by_alias=True))
            except OSError as error:
                if not self._complained:
                    print(
                        f"{self._path}: cannot be written ({error.strerror}): `report watch` does "
                        "not see this match, which goes on",
                        file=sys.stderr,
                    )
                self._complained = True

    def _beat(self, leave: threading.Event) -> None:
        while not leave.wait(BEAT_SECONDS):
            self.write()


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)
