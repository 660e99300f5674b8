"""Share of the wall time outside training, by the ledgers of records: a line a task, arm, budget.

python -m benchmarks.perf.outside_training --out results/public --flops 2e14

Of a record with another budget of FLOPs the seconds of training are scaled to that of --flops;
those of evaluation do not depend on it.
"""

from collections import defaultdict
from pathlib import Path
from statistics import median

from benchmarks.perf import turns
from benchmarks.records.record import read_all

COLUMNS = "eval", "tuning", "checkpoint", "warmup", "other"


def main() -> None:
    parser = turns.options(__doc__, out="results/public", flops=2e14)
    given = parser.parse_args()
    turns.checkout(parser, "out", given.out, "records")
    shares = defaultdict[str, list[list[float]]](list)
    for record in read_all(Path(given.out)):
        ledgers, budget = record.volatile.ledgers, record.budget
        if ledgers and budget and budget.kind == "flops" and not record.config["quick"]:
            scaled = ledgers | {"train": ledgers["train"] * given.flops / budget.limit}
            parts = [scaled[name] / sum(scaled.values()) for name in ("train", *COLUMNS)]
            row = f"{record.task} {record.method} of {budget.limit:g}"
            shares[row].append([1 - parts[0], *parts[1:]])
    print(f"{f'at {given.flops:g} FLOPs':48}outside", *(f"{name:>10}" for name in COLUMNS))
    for arm, rows in sorted(shares.items()):
        print(f"{arm:48}", *(f"{median(part):>9.1%}" for part in zip(*rows, strict=True)))


if __name__ == "__main__":
    turns.command(main)
