"""Trains and scores the arms of a task under one budget, and prints their table.

python -m benchmarks.run task=depth_nyu task.root=DIR
"""

from __future__ import annotations

from benchmarks.config import command
from benchmarks.config.schema import Config


def job(config: Config) -> int:
    """One match; 0 when every arm is completed, 1 when one failed."""
    from benchmarks.match.match import run_match

    return run_match(config)


if __name__ == "__main__":
    raise SystemExit(command.run(job, command="run"))
