"""Ranks chosen runs on the screen, or says why they may not be ranked: `report rank NAME...`.

leaderboard.csv never ranks across fair keys; asked to, this names the fields that differ. Values,
verdicts and Holm's families are those of the whole leaderboard: a choice of runs corrects nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarks.records.keys import differing
from benchmarks.records.record import Record, read_all
from benchmarks.report.arms import arms
from benchmarks.report.leaderboard import leader_rows
from crossflow.errors import InputError

SHOWN = "rank method seeds metric mean sd difference diff_low diff_high verdict note".split()


def options(parser: argparse.ArgumentParser) -> None:
    """Adds the names to rank."""
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="a run_id, or a match for all its arms"
    )


def run(options: argparse.Namespace) -> int:
    """Prints the rows of the arms that the named runs belong to, best first."""
    from tabulate import tabulate

    records = read_all(options.out)
    chosen = choose(records, options.names)
    refuse_mixed(chosen)
    key = chosen[0].fair_key
    ids = {record.run_id for record in chosen}
    field = arms(record for record in records if record.fair_key == key)
    names = {arm.name for arm in field if any(record.run_id in ids for record in arm.records)}
    rows = [
        row for row in leader_rows(records) if row["fair_key"] == key and row["method"] in names
    ]
    cells = [[row.get(column) for column in SHOWN] for row in rows]
    print(f"{chosen[0].task}, fair_key {key}\n")
    print(tabulate(cells, SHOWN, floatfmt=".4g", missingval=""))
    return 0


def choose(records: Sequence[Record], names: Sequence[str]) -> list[Record]:
    """The arms' records among `records` by run_id or match. InputError for a name of neither.

    A match's floor and oracle are left out; named by themselves they are refused.
    """
    chosen: list[Record] = []
    for name in names:
        found = [one for one in records if one.match == name and one.fair_key is not None]
        found += [one for one in records if one.run_id == name]
        if not found:
            raise InputError(f"{name}: neither a run_id nor a match of these records")
        chosen += found
    return chosen


def refuse_mixed(chosen: Sequence[Record]) -> None:
    """InputError that names the differing fields, where runs have no fair_key or not the same."""
    first = chosen[0]
    for record in chosen:
        if record.fair_key is None:
            raise InputError(
                f"{record.run_id} has no fair_key and is never ranked: it trained under no budget"
            )
        # The keys decide; the fields only say why.
        if (record.score_key, record.fair_key) != (first.score_key, first.fair_key):
            fields = differing(first.fair.score, record.fair.score)
            fields = fields or differing(first.fair.fair or {}, record.fair.fair or {})
            fields = fields or [f"fair_key: {first.fair_key} / {record.fair_key}"]
            raise InputError(
                f"{first.run_id} and {record.run_id} may not be ranked together, they differ in "
                f"{'; '.join(fields)}"
            )
