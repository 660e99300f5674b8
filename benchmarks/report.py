"""Everything derived: `python -m benchmarks.report leaderboard|tables|published [--out DIR]`.

`published` needs no record: it shows what papers print, from the package's own published.csv.
Starts without torch, so that tables can be made anywhere. The same records give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks import leaderboard, published, published_tables, tables
from benchmarks.conf.schema import Config
from benchmarks.records import Record, read_all, write_text
from crossflow.errors import InputError


class OneLineParser(argparse.ArgumentParser):
    """Refuses like the other commands: one line, status 2."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def leaderboard_files(records: Sequence[Record]) -> dict[str, str]:
    """Relative path -> text of runs.csv and leaderboard.csv."""
    return {
        "runs.csv": leaderboard.csv_text(leaderboard.RUN_COLUMNS, leaderboard.run_rows(records)),
        "leaderboard.csv": leaderboard.csv_text(
            leaderboard.LEADER_COLUMNS, leaderboard.leader_rows(records)
        ),
    }


def table_files(records: Sequence[Record]) -> dict[str, str]:
    """Relative path -> text of tables/<task>.md and tables/<task>.csv.

    Where papers print numbers on the task's data, they follow below ours, in the CSV case in a file
    of their own. There are none for the embedded tasks.
    """
    files = {}
    for (task,), group in leaderboard.by(records, "task").items():
        of_papers = published.rows(str(task))
        below = published_tables.markdown(of_papers)
        files[f"tables/{task}.md"] = tables.markdown(group) + (f"\n{below}" if below else "")
        files[f"tables/{task}.csv"] = leaderboard.csv_text(*tables.table_rows(group))
        if of_papers:
            files[f"tables/{task}_published.csv"] = leaderboard.csv_text(
                published_tables.CSV_COLUMNS, published_tables.csv_rows(of_papers)
            )
    return files


def published_files() -> dict[str, str]:
    """Relative path -> text of published.md: every published number, no record needed."""
    return {"published.md": published_tables.markdown(published.rows())}


REPORTS: dict[str, tuple[Callable[[Sequence[Record]], dict[str, str]], str]] = {
    "leaderboard": (leaderboard_files, "runs.csv and leaderboard.csv: all scores; ranked arms"),
    "tables": (table_files, "tables/: one Markdown and one CSV file per task"),
}
PUBLISHED = "published.md: what papers print, from published.csv; needs no record"


def main(arguments: list[str] | None = None) -> int:
    """Writes one report; prints the paths written. Returns the exit status."""
    parser = OneLineParser(prog="benchmarks.report", description=__doc__)
    kinds = parser.add_subparsers(dest="report", required=True)
    purposes = {name: purpose for name, (_, purpose) in REPORTS.items()}
    for name, purpose in {**purposes, "published": PUBLISHED}.items():
        kind = kinds.add_parser(name, help=purpose, description=purpose)
        kind.add_argument(
            "--out",
            type=Path,
            default=Path(Config.out),
            help="folder of records/ and of what is written",
        )
    try:
        options = parser.parse_args(arguments)
        out: Path = options.out.expanduser()
        if options.report == "published":
            files = published_files()
        else:
            files = REPORTS[options.report][0](read_all(out))
        for name, text in files.items():
            _write(out / name, text)
            print(out / name)
    except InputError as error:
        print(f"report: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"--out: cannot write {path}: {error.strerror}") from error


if __name__ == "__main__":
    raise SystemExit(main())
