"""What a run would cost, an arm a line: no data, no GPU, nothing is trained. Fields are `run`'s.

python -m benchmarks.plan +experiment=tabletop
python -m benchmarks.plan calibrate=true task=t2i_tabletop
python -m benchmarks.plan task=sr_imagenet model=L budget.samples=1e8 device=H100 utilisation=0.5

The table is also OUT/plan.csv, in plain numbers (bytes, FLOPs, seconds). Method: docs/plan.md.
"""

from pathlib import Path
from typing import Any

from benchmarks.config import command
from benchmarks.config.output import say
from benchmarks.config.schema import Config


def main(arguments: list[str] | None = None) -> int:
    """Plans all jobs, then one table and one file of them. Returns the exit status."""
    done, out = list[Any](), [Config.out]

    def end(statuses: list[int]) -> None:
        from benchmarks.match.planning import table, write

        if done:
            write(Path(out[-1], "plan.csv"), done)
            say(["", table(done), "", f"plan: {Path(out[-1], 'plan.csv')}"])

    def noted(config: Config) -> int:
        out.append(config.out)
        return job(config, done)

    return command.run(noted, arguments, command="plan", end=end)


def job(config: Config, done: list[Any]) -> int:
    """The plans of one job's arms, which are added to `done`."""
    from benchmarks.match.planning import plans

    found, notes = plans(config)
    done += found
    say(notes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
