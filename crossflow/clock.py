"""Where the wall time of an arm goes: one clock, seven ledgers; and how fast it trains.

Only `train` counts against a budget in seconds, waiting for data included. Ledgers follow
big_vision's Chrono and live in the checkpoint; a heartbeat file tells what a killed run lost.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from crossflow.files import Damaged, whole, write_atomic

WORK = ("train", "eval", "tuning")  # what has to be done again when it was not saved
LEDGERS = ("train", "eval", "tuning", "warmup", "checkpoint", "lost", "other")
BEAT_SECONDS = 1.0
WINDOW_SECONDS = 30.0
STEADY = 0.05  # largest interquartile range over the median


class Clock:
    """`with clock(ledger)` charges time to the innermost open ledger; one moment is charged once.

    Stands still while no ledger is open: arms of one process have one clock each.
    heartbeat: file that holds all ledgers, renewed about once a second; None: there is none.
    synchronize: called before each reading, to wait for the kernels that a GPU has in flight.
    """

    def __init__(
        self,
        heartbeat: Path | None,
        synchronize: Callable[[], object] = lambda: None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._seconds = dict.fromkeys(LEDGERS, 0.0)
        self._open: list[str] = []
        self._heartbeat, self._synchronize, self._now = heartbeat, synchronize, now
        self._since, self._beaten = 0.0, -BEAT_SECONDS
        # Read before this process overwrites it. A power cut may have torn it: that costs `lost`
        # its seconds, and stops no resume.
        self._survived = (heartbeat and whole(heartbeat, partial(self._read, heartbeat))) or {}

    def _read(self, heartbeat: Path) -> dict[str, float]:
        """What an earlier process left."""
        try:
            seconds = json.loads(heartbeat.read_bytes())
            survived = {ledger: float(seconds[ledger]) for ledger in LEDGERS}
            if not all(map(math.isfinite, survived.values())):
                raise ValueError("not finite")
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(heartbeat, "not the seconds of all ledgers") from error
        return survived

    @contextmanager
    def __call__(self, ledger: str, wait: bool = True) -> Iterator[None]:
        """Charges the time inside to `ledger`, also when the body raises.

        wait: for the kernels in flight, at both ends. Without it their time is charged to the
        ledger on which somebody waits next: it must be the same."""
        self._settle(wait)
        self._open.append(ledger)
        try:
            yield
        finally:
            self._settle(wait)
            self._open.pop()

    def _settle(self, wait: bool) -> None:
        """Charges the time since the last settling to the innermost open ledger."""
        if wait:
            self._synchronize()
        now = self._now()
        if self._open:
            self._seconds[self._open[-1]] += now - self._since
        self._since = now
        if now - self._beaten >= BEAT_SECONDS:
            self.beat()

    def beat(self) -> None:
        """Renews the heartbeat file. No fsync: losing a second of it costs a second of `lost`."""
        self._beaten = self._now()
        if self._heartbeat is not None:
            write_atomic(self._heartbeat, json.dumps(self.state()), durable=False)

    def seconds(self, ledger: str) -> float:
        """Seconds on `ledger` so far, the running stretch included."""
        running = self._open[-1:] == [ledger]
        return self._seconds[ledger] + (self._now() - self._since if running else 0.0)

    def state(self) -> dict[str, float]:
        """Seconds of each ledger, for the checkpoint and the record."""
        return {ledger: self.seconds(ledger) for ledger in LEDGERS}

    @property
    def wall(self) -> float:
        """Every second of this arm, over all processes that worked on it."""
        return sum(self.state().values())

    def restore(self, state: Mapping[str, float]) -> None:
        """Goes on from a checkpoint's ledgers, or from none ({}) where there is no checkpoint.

        What the heartbeat saw beyond them was lost: work moves to the ledger `lost`, the rest
        (writing the checkpoint itself, say) stays on its own.
        """
        for ledger in LEDGERS:
            saved = state.get(ledger, 0.0)
            beyond = max(0.0, self._survived.get(ledger, 0.0) - saved)
            self._seconds[ledger] += saved
            self._seconds["lost" if ledger in WORK else ledger] += beyond
        self._survived = {}


@dataclass
class Throughput:
    """Samples a second of the train ledger, window by window; a shorter rest is not judged."""

    windows: list[float] = field(default_factory=list)  # samples/s of each full window
    samples: int = 0  # at the start of the open window
    seconds: float = 0.0  # the same

    def update(self, samples: int, seconds: float) -> None:
        """Call after each step with the totals so far; closes the window when it is full."""
        if (elapsed := seconds - self.seconds) >= WINDOW_SECONDS:
            self.windows.append((samples - self.samples) / elapsed)
            self.samples, self.seconds = samples, seconds

    @property
    def verdict(self) -> str:
        """`valid`, `invalid: clock` (seconds are no fair budget), or why it is not judged."""
        if len(self.windows) < 2:
            return f"not judged: {len(self.windows)} windows of {WINDOW_SECONDS:g} s"
        lower, median, upper = statistics.quantiles(self.windows, n=4, method="inclusive")
        return "valid" if upper - lower <= STEADY * median else "invalid: clock"
