"""What the files of a work folder tell about its matches: read here, shown by `watch`.

Reads status.json of each match (see `benchmarks.match.status`) and the last lines of each arm's
stats.jsonl (see `crossflow.journal`). Both may be renewed, cut short or removed while they are
read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.match.status import FILE, ArmStatus, MatchStatus, read
from crossflow.errors import InputError

STALE_SECONDS = 60.0  # a dozen heartbeats: a process that is there has written meanwhile
TAIL_BYTES = 65_536  # some hundred lines
RECENT = 20  # lines over which speed is measured
OVER = ("done", "failed", "stopped")


@dataclass(frozen=True)
class Speed:
    """The end of stats.jsonl, and how fast it moved there, by the train ledger.

    fraction: of the budget. loss: the arm's own. samples_per_second: over the recent lines. left:
    seconds of training that are left at that speed. None: cannot be said.
    """

    fraction: float = 0.0
    loss: float | None = None
    samples_per_second: float | None = None
    left: float | None = None


@dataclass(frozen=True)
class ArmView:
    """One arm. state: of status.json, or `stopped` or `stale` where no process works on it.

    updated: seconds since its last line or change of state. problem: one line, or None.
    """

    method: str
    state: str
    speed: Speed
    updated: float
    problem: str | None


@dataclass(frozen=True)
class MatchView:
    """One match. state: running, stale, or ended. said: seconds since the last heartbeat."""

    status: MatchStatus
    state: str
    said: float
    arms: Sequence[ArmView]

    @property
    def left(self) -> tuple[float, bool]:
        """Seconds of training that are left in all, and whether that of every arm is known."""
        coming = [arm for arm in self.arms if arm.state in ("waiting", "training")]
        known = [arm.speed.left for arm in coming if arm.speed.left is not None]
        return sum(known), len(known) == len(coming)


@dataclass(frozen=True)
class WorkView:
    """A work folder. matches: running first, then the latest. unread: why a match is not among
    them, a line each. silent: matches without a status file, made by an earlier version."""

    matches: Sequence[MatchView]
    unread: Sequence[str]
    silent: int


def look(work: Path, now: float) -> WorkView:
    """All matches below `work`. InputError where there is no such folder. now: Unix time."""
    if not work.is_dir():
        raise InputError(f"--work {work}: no such folder; give the `work` of a run")
    matches, unread = [], []
    for path in sorted(work.glob(f"*/*/{FILE}")):
        try:
            matches.append(_match(path, now))
        except InputError as error:
            unread.append(str(error))
    locks = sorted(work.glob("*/*/lock"))
    silent = sum(not lock.with_name(FILE).exists() for lock in locks)
    matches.sort(
        key=lambda view: (view.state != "running", -view.status.started, view.status.match)
    )
    return WorkView(matches, unread, silent)


def _match(path: Path, now: float) -> MatchView:
    status = read(path)
    said = max(0.0, now - status.beat)
    state = "ended" if status.ended is not None else "running" if said < STALE_SECONDS else "stale"
    task_folder = path.parent.parent
    arms = [
        _arm(task_folder / Path(arm.run_id).name, arm, status, state, now) for arm in status.arms
    ]
    return MatchView(status, state, said, arms)


def _arm(folder: Path, arm: ArmStatus, match: MatchStatus, running: str, now: float) -> ArmView:
    state: str = arm.state
    if state not in OVER and running != "running":
        state = "stale" if running == "stale" else "stopped"
    name = "stats-failed.jsonl" if arm.state == "failed" else "stats.jsonl"
    problem = arm.error
    lines: list[dict[str, Any]] = []
    try:
        lines, written = tail(folder / name)
    except InputError as error:
        problem, written = str(error), 0.0
    updated = max(0.0, now - max(arm.since, written))
    return ArmView(arm.method, state, _speed(lines, match), updated, problem)


def tail(path: Path) -> tuple[list[dict[str, Any]], float]:
    """The last whole lines of a stats.jsonl, and when it was written; none where there is no file.

    A last line without its end is being written, or was cut off by a kill: it is left out.
    InputError for a whole line that is not one of numbers.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = max(0, size - TAIL_BYTES)
            file.seek(start)
            content = file.read()
        written = path.stat().st_mtime
    except FileNotFoundError:
        return [], 0.0
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    whole = content.split(b"\n")[:-1]
    lines = [_line(line, path) for line in (whole[1:] if start else whole)]
    return lines[-RECENT:], written


NUMBERS = ("fraction", "loss", "samples", "device_seconds")


def _line(text: bytes, path: Path) -> dict[str, Any]:
    try:
        line = json.loads(text)
        if all(math.isfinite(float(line[name])) for name in NUMBERS):
            return dict(line)
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{path}: holds a line that is none of a run's")


def _speed(lines: Sequence[dict[str, Any]], match: MatchStatus) -> Speed:
    """Speed over the lines given; of a single line, since the start."""
    if not lines:
        # Seconds need no measuring.
        timed = match.budget_kind == "device_seconds"
        return Speed(left=match.budget_limit if timed else None)
    last = lines[-1]
    first = lines[0] if len(lines) > 1 else dict.fromkeys(NUMBERS, 0.0)
    samples, seconds, share = (
        float(last[name]) - float(first[name]) for name in ("samples", "device_seconds", "fraction")
    )
    fraction = min(1.0, max(0.0, float(last["fraction"])))
    return Speed(
        fraction=fraction,
        loss=float(last["loss"]),
        samples_per_second=samples / seconds if seconds > 0 else None,
        left=(1 - fraction) * seconds / share if share > 0 else None,
    )
