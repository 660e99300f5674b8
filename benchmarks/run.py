"""Trains the arms of a task under one budget, scores and records them, and prints their table.

python -m benchmarks.run task=depth_tabletop
python -m benchmarks.run task=depth_nyu task.root=DIR methods=crossflow seed=1
python -m benchmarks.run -m task=depth_tabletop,sr_tabletop seed=0,1,2
python -m benchmarks.run methods=crossflow+sin arm.sin.method=crossflow arm.sin.path=sin_cos
python -m benchmarks.run +experiment=tabletop_quick
"""

from benchmarks.config import command
from benchmarks.config.schema import Config


def job(config: Config) -> int:
    """One match; 0 when every arm is completed, 1 when one failed."""
    from benchmarks.match.match import run_match

    return run_match(config)


if __name__ == "__main__":
    raise SystemExit(command.run(job, command="run"))
