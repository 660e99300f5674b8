"""stats.jsonl: one line of numbers per logged step, and no line of a step that was lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Journal:
    """Lines of JSON, each with a key `steps`: how many steps were done when it was written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, line: dict[str, Any]) -> None:
        """Adds a line. Numbers must be finite."""
        with self.path.open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def trim(self, steps: int) -> None:
        """Drops the lines after step `steps`: a resumed run does these steps again."""
        if not self.path.exists():
            return
        # A line without its end was cut off by the kill.
        lines = [line for line in self.path.read_text().splitlines(True) if line.endswith("\n")]
        kept = [line for line in lines if json.loads(line)["steps"] <= steps]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(kept))
        temporary.replace(self.path)

    def put_aside(self) -> None:
        """Keeps the lines of a failed run as stats-failed.jsonl."""
        if self.path.exists():
            self.path.replace(self.path.with_stem(f"{self.path.stem}-failed"))
