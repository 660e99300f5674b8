"""Share of the wall time outside training, from the ledgers of records: a line a task and arm.

python -m benchmarks.perf.outside_training --out results/public --flops 2e14
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
        if ledgers and budget and (budget.kind, budget.limit) == ("flops", given.flops):
            wall = sum(ledgers.values())
            parts = [ledgers[name] / wall for name in COLUMNS]
            shares[f"{record.task} {record.method}"].append([1 - ledgers["train"] / wall, *parts])
    print(f"{'':32}outside", *(f"{name:>10}" for name in COLUMNS))
    for arm, rows in sorted(shares.items()):
        print(f"{arm:32}", *(f"{median(part):>9.1%}" for part in zip(*rows, strict=True)))


if __name__ == "__main__":
    turns.command(main)
