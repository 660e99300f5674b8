"""Everything derived: `python -m benchmarks.report REPORT [--out DIR]`, one of DERIVED or ACTIONS.

`published` needs no record: it shows what papers print, from the package's own published.csv.
Starts without torch, so that tables can be made anywhere. The same records give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from benchmarks.config.schema import Config
from benchmarks.records.record import Record, read_all
from benchmarks.report import (
    check_command,
    latex,
    leaderboard,
    overview,
    page,
    published,
    published_tables,
    rows,
    tables,
)
from benchmarks.report.figures.files import files as figure_files
from benchmarks.report.options import path
from crossflow.errors import InputError
from crossflow.files import write_atomic

Files = dict[str, str | bytes]


class OneLineParser(argparse.ArgumentParser):
    """Refuses like the other commands: one line, status 2."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


@dataclass(frozen=True)
class Derived:
    """A report that is made of the records, and of the items, curves and samples beside them.

    files(records, out): relative path -> text or bytes of every file of the report. The same
    records give the same bytes. out is only read.
    """

    purpose: str
    files: Callable[[Sequence[Record], Path], Files]


@dataclass(frozen=True)
class Action:
    """A report that does more than derive files: it has options and an exit status of its own.

    options(parser) adds to what every report has (--out); run(options) returns the exit status.
    records: whether it reads records; one that does not refuses --out, and its help is silent.
    """

    purpose: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    records: bool = True


def leaderboard_files(records: Sequence[Record], out: Path) -> Files:
    """runs.csv and leaderboard.csv."""
    return {
        "runs.csv": rows.rows(records)[rows.RUN_COLUMNS].to_csv(index=False, lineterminator="\n"),
        "leaderboard.csv": leaderboard.csv_text(
            leaderboard.LEADER_COLUMNS, leaderboard.leader_rows(records)
        ),
    }


def table_files(records: Sequence[Record], out: Path) -> Files:
    """tables/<task>.md, .csv and .tex, all.tex that shows the latter, and overview.md.

    Where papers print numbers on the task's data, they follow below ours, in the CSV case in a file
    of their own. There are none for the embedded tasks.
    """
    built = {str(task): tables.build(group) for (task,), group in rows.by(records, "task").items()}
    every = [table for of_task in built.values() for table in of_task]
    files: Files = {"tables/overview.md": overview.markdown(every)}
    for task, of_task in built.items():
        of_papers = published.rows(task)
        below = published_tables.markdown(of_papers)
        files[f"tables/{task}.md"] = tables.markdown(of_task) + (f"\n{below}" if below else "")
        files[f"tables/{task}.csv"] = leaderboard.csv_text(*tables.table_rows(of_task))
        files[f"tables/{task}.tex"] = latex.task_file(of_task, of_papers)
        if of_papers:
            files[f"tables/{task}_published.csv"] = leaderboard.csv_text(
                published_tables.CSV_COLUMNS, published_tables.csv_rows(of_papers)
            )
    files["tables/all.tex"] = latex.all_file(list(built), len(every))
    return files


def published_files() -> Files:
    """published.md: every published number, no record needed."""
    return {"published.md": published_tables.markdown(published.rows())}


def _write_published(options: argparse.Namespace) -> int:
    write(published_files(), options.out)
    return 0


DERIVED = {
    "leaderboard": Derived(
        "runs.csv and leaderboard.csv: all scores; ranked arms", leaderboard_files
    ),
    "tables": Derived(
        "tables/: Markdown, LaTeX and CSV for each task; overview.md; all.tex", table_files
    ),
    "figures": Derived("figures/: PDF and PNG of what there is to show", figure_files),
    "html": Derived("index.html: one page with everything, opens from disk", page.files),
}
ACTIONS = {
    "published": Action(
        "published.md: what papers print, from published.csv; needs no record",
        lambda parser: None,
        _write_published,
    ),
    "check": Action(
        "compares records with the references of expected.csv; status 1 on a regression",
        check_command.options,
        check_command.run,
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Writes one report; prints the paths written. Returns the exit status."""
    parser = OneLineParser(prog="benchmarks.report", description=__doc__)
    kinds = parser.add_subparsers(dest="report", required=True)
    reports: dict[str, Derived | Action] = {**DERIVED, **ACTIONS}
    for name, report in reports.items():
        kind = kinds.add_parser(name, help=report.purpose, description=report.purpose)
        reads = not isinstance(report, Action) or report.records
        kind.add_argument(
            "--out",
            type=path,
            default=Path(Config.out),
            help="folder of records/ and of what is written" if reads else argparse.SUPPRESS,
        )
        if isinstance(report, Action):
            report.options(kind)
    try:
        options = parser.parse_args(arguments)
        if options.report in ACTIONS:
            return ACTIONS[options.report].run(options)
        write(DERIVED[options.report].files(read_all(options.out), options.out), options.out)
    except InputError as error:
        print(f"report: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def write(files: Files, out: Path) -> None:
    """Writes each file below `out`, whole or not at all, and prints its path."""
    for name, content in files.items():
        path = out / name
        try:
            write_atomic(path, content)
        except OSError as error:
            raise InputError(f"--out: cannot write {path}: {error.strerror}") from error
        print(path)
