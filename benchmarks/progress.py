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


@dataclass
class Progress:
    """`report(stage, done, total, note)`: stages follow one another; `note` is free text.

    `total` may be any unit (items, FLOPs, seconds): only its share is shown. Close with `close()`.
    """

    _bars: Bars | None = None
    _bar: TaskID | None = None
    _stage: str = ""
    _started: float = 0.0
    _logged: float = 0.0
    _seen: set[str] = field(default_factory=set)

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        share = min(1.0, done / total) if total else 1.0
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._logged = stage, now, -LOG_SECONDS
            self._bar = None
        if sys.stderr.isatty():
            self._show(stage, share, note)
        elif now - self._logged >= LOG_SECONDS or share >= 1.0:
            self._log(stage, share, note, now)

    def _log(self, stage: str, share: float, note: str, now: float) -> None:
        if share >= 1.0 and stage in self._seen:
            return
        if share >= 1.0:
            self._seen.add(stage)
        self._logged = now
        elapsed = now - self._started
        left = f", {_clock(elapsed * (1 - share) / share)} left" if 0.02 < share < 1 else ""
        tail = f"  {note}" if note else ""
        print(f"[{_clock(elapsed)}] {stage}: {share:4.0%}{left}{tail}", file=sys.stderr, flush=True)

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
            self._bar = self._bars.add_task(stage, total=1.0, note=note)
        self._bars.update(self._bar, completed=share, note=note)

    def close(self) -> None:
        """Stops the live display, so that what is printed next starts on a clean line."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = self._bar = None
        self._stage = ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
