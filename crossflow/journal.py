"""stats.jsonl: one line of numbers per logged step, and no line of a step that was lost.

Every run folder has it. A line is written every `log_every` (10) steps and after the last one; a
resumed run drops the lines of the steps that it does again, so that `steps` only rises. A run that
failed leaves its lines as stats-failed.jsonl. `FIELDS` says what stands in a line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crossflow.disk import sync

FIELDS = {
    "steps": "optimizer steps done",
    "samples": "training pairs read",
    "flops": "FLOPs spent in training: a multiply-add is 2, encoders and charges included",
    "device_seconds": "seconds on the train ledger, without the work that a killed run lost",
    "fraction": "share of the arm's budget that is spent, from 0 to 1",
    "loss": "training loss of this step's batch: of this arm's own target, never to be compared "
    "with the loss of another arm",
    "terms": "its parts by name before their weights: `flow`, and the charges of the method",
    "lr": "learning rate of this step",
    "grad_norm": "norm of the gradient before clipping",
    "samples_per_second": "since the line before, by the train ledger; null where no time passed",
}


class Journal:
    """Lines of JSON, each with a key `steps`: how many steps were done when it was written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, line: dict[str, Any]) -> None:
        """Adds a line. Numbers must be finite."""
        with self.path.open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def sync(self) -> None:
        """Waits until the lines are on the disk. Before a checkpoint, which they must not miss."""
        if self.path.exists():
            sync(self.path)

    def trim(self, steps: int) -> None:
        """Drops the lines after step `steps`: a resumed run does these steps again."""
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_bytes().splitlines(keepends=True):
            # A line without its end was cut off by a kill, garbage is what a power cut leaves. Both
            # lie after the checkpoint, for `sync` came before it, and so does all that follows.
            done = _steps(line)
            if done is None:
                break
            if done <= steps:
                kept.append(line)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_bytes(b"".join(kept))
        temporary.replace(self.path)

    def put_aside(self) -> None:
        """Keeps the lines of a failed run as stats-failed.jsonl."""
        if self.path.exists():
            self.path.replace(self.path.with_stem(f"{self.path.stem}-failed"))


def _steps(line: bytes) -> int | None:
    """How many steps a line says were done; None for one that is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        return int(json.loads(line)["steps"])
    except (ValueError, KeyError, TypeError):
        return None
