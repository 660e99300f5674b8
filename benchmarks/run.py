"""Trains the arms of a task under one budget, scores and records them, and prints their table.

python -m benchmarks.run task=depth_tabletop
python -m benchmarks.run task=depth_nyu task.root=DIR methods=crossflow seed=1
python -m benchmarks.run -m task=depth_tabletop,sr_tabletop seed=0,1,2
python -m benchmarks.run methods=crossflow+sin arm.sin.method=crossflow arm.sin.path=sin_cos
python -m benchmarks.run +experiment=tabletop_quick
"""

from typing import Any

from benchmarks.config import command
from benchmarks.config.output import say
from benchmarks.config.schema import Config


def job(config: Config, done: list[Any] | None = None) -> int:
    """One match; 0 when every arm is completed, 1 when one failed. done: gets its records."""
    from benchmarks.match.match import run_match

    return run_match(config, [] if done is None else done)


def main(arguments: list[str] | None = None) -> int:
    """All jobs, then what they come to and what to type next. Returns the exit status."""
    done, out = list[Any](), [Config.out]

    def noted(config: Config) -> int:
        out.append(config.out)
        return job(config, done)

    def end(statuses: list[int]) -> None:
        from benchmarks.report.screen import closing

        if done:
            say(closing(done, statuses, out[-1]))

    return command.run(noted, arguments, command="run", end=end)


if __name__ == "__main__":
    raise SystemExit(main())
