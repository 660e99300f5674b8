"""What a run would cost, an arm a column: no data, no GPU, nothing is trained. Fields are `run`'s.

python -m benchmarks.plan +experiment=tabletop
python -m benchmarks.plan calibrate=true task=t2i_tabletop
python -m benchmarks.plan task=sr_imagenet model=L budget.samples=1e8 device=H100 utilisation=0.5

All is also in OUT/plan.csv, an arm a row, in bytes, FLOPs and seconds. Method: docs/plan.md.
"""

from pathlib import Path
from typing import Any

from benchmarks.config import command
from benchmarks.config.output import say
from benchmarks.config.schema import Config


def main(arguments: list[str] | None = None) -> int:
    """A table a job, and one file of all jobs. Returns the exit status."""
    done = list[Any]()

    def job(config: Config) -> int:
        from benchmarks.match.planning import plans, table, write

        planned, notes = plans(config)
        done.extend(planned)
        say([table(planned), *notes, write(Path(config.out, "plan.csv"), done), ""])
        return 0

    return command.run(job, arguments, command="plan")


if __name__ == "__main__":
    raise SystemExit(main())
