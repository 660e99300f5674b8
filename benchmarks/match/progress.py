"""Progress on stderr: one live bar on a terminal, one plain line now and then in a log file.

A log file has no cursor, so a bar there would leave thousands of torn lines. Without a terminal a
stage prints when it starts, every `LOG_SECONDS`, and when it ends.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

LOG_SECONDS = 15.0
STEPS = 1_000_000  # of a live bar


@dataclass
class Progress:
    """`report(stage, done, total, note)`: stages follow one another; `note` is free text.

    `total` may be any unit (items, FLOPs, seconds): only its share is shown, and with `rates` how
    many a second. Rate and time left count from the stage's first report: what an earlier, killed
    process did is none of this one's speed. Close with `close()`.
    """

    rates: bool = False
    _bars: Bars | None = None
    _bar: TaskID | None = None
    _stage: str = ""
    _started: float = 0.0
    _before: float = 0.0  # what was done at the first report
    _logged: float = 0.0
    _seen: set[str] = field(default_factory=set)

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        share = min(1.0, done / total) if total else 1.0
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._before = stage, now, done
            self._logged, self._bar = -LOG_SECONDS, None
        speed = (done - self._before) / max(now - self._started, 1e-9)
        if self.rates and speed > 0:
            note = f"{_number(speed)}/s  {note}".rstrip()
        if sys.stderr.isatty():
            self._show(stage, share, note)
        elif now - self._logged >= LOG_SECONDS or share >= 1.0:
            left = (total - done) / speed if speed > 0 else None
            self._log(stage, share, note, now, left)

    def _log(self, stage: str, share: float, note: str, now: float, left: float | None) -> None:
        if share >= 1.0 and stage in self._seen:
            return
        if share >= 1.0:
            self._seen.add(stage)
        self._logged = now
        elapsed = now - self._started
        ahead = f", {_clock(left)} left" if left is not None and elapsed > 1 and share < 1 else ""
        tail = f"  {note}" if note else ""
        line = f"[{_clock(elapsed)}] {stage}: {share:4.0%}{ahead}{tail}"
        print(line, file=sys.stderr, flush=True)

    def _show(self, stage: str, share: float, note: str) -> None:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=Console(stderr=True),
            )
            self._bars.start()
        if self._bar is None:
            # What is there already is no speed of ours: the bar starts with it.
            there = int(share * STEPS)
            self._bar = self._bars.add_task(stage, total=STEPS, completed=there, note=note)
        self._bars.update(self._bar, completed=share * STEPS, note=note)

    def close(self) -> None:
        """Stops the live display, so that what is printed next starts on a clean line."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = self._bar = None
        self._stage = ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _number(speed: float) -> str:
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:.2g}"
