"""Everything derived: `python -m benchmarks.report REPORT [--out DIR]`.

Starts without torch, so that tables can be made anywhere. The same records give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from benchmarks.config.schema import Config
from benchmarks.records.record import Record, read_all
from benchmarks.report import (
    answer,
    check,
    latex,
    leaderboard,
    page,
    published,
    rows,
    tables,
)
from benchmarks.report.figures import files as figure_files
from benchmarks.report.files import Files, path, say, write
from crossflow.errors import InputError


class OneLineParser(argparse.ArgumentParser):
    """Refuses like the other commands: one line, status 2."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


class Derived(NamedTuple):
    """A report: files(records, out) gives its files by relative path; out is only read."""

    purpose: str
    files: Callable[[Sequence[Record], Path], Files]


def leaderboard_files(records: Sequence[Record], out: Path) -> Files:
    """runs.csv and leaderboard.csv."""
    leaders = leaderboard.leader_rows(records)
    return {
        "runs.csv": leaderboard.csv_text(rows.RUN_COLUMNS, rows.run_rows(records)),
        "leaderboard.csv": leaderboard.csv_text(leaderboard.LEADER_COLUMNS, leaders),
    }


def table_files(records: Sequence[Record], out: Path) -> Files:
    """tables/<task>.md, .csv and .tex, all.tex that shows the latter, and overview.md.

    Where papers print numbers on the task's data, they follow below ours, in the CSV case in a file
    of their own. There are none for the embedded tasks.
    """
    files: Files = {"tables/overview.md": tables.overview(tables.build(records))}
    tex: dict[str, str] = {}
    for (task,), group in rows.by(records, "task").items():
        built, of_papers = tables.build(group), published.rows(task)
        below = published.markdown(of_papers)
        tex[task] = latex.task_file(built, of_papers)
        files[f"tables/{task}.md"] = tables.markdown(built) + (f"\n{below}" if below else "")
        files[f"tables/{task}.csv"] = leaderboard.csv_text(*tables.table_rows(built))
        files[f"tables/{task}.tex"] = tex[task]
        if of_papers:
            lines = leaderboard.csv_text(published.CSV_COLUMNS, published.csv_rows(of_papers))
            files[f"tables/{task}_published.csv"] = lines
    return files | {"tables/all.tex": latex.all_file(tex)}


def result_files(records: Sequence[Record], out: Path) -> Files:
    """results.md and the table of it alone, which README shows."""
    summary = answer.summary_table(records)
    return {"results.md": answer.results_page(records), "summary.md": summary}


def published_files() -> Files:
    """published.md: every published number, no record needed."""
    return {"published.md": published.markdown(published.rows())}


DERIVED = {
    "leaderboard": Derived(
        "runs.csv and leaderboard.csv: all scores; ranked arms", leaderboard_files
    ),
    "results": Derived(
        "results.md: who is ahead, in sentences and a table; summary.md: the table", result_files
    ),
    "tables": Derived(
        "tables/: Markdown, LaTeX and CSV for each task; overview.md; all.tex", table_files
    ),
    "figures": Derived("figures/: PDF and PNG of what there is to show", figure_files),
    "html": Derived("index.html: one page with everything, opens from disk", page.files),
}
OTHERS = {
    "published": "published.md: what papers print, from published.csv; needs no record",
    "check": "compares records with the references of expected.csv; status 1 on a regression",
}


def main(arguments: list[str] | None = None) -> int:
    """Writes one report, then prints the paths written. Returns the exit status."""
    parser = OneLineParser(prog="benchmarks.report", description=__doc__)
    kinds = parser.add_subparsers(dest="report", required=True)
    for name, purpose in {**{n: d.purpose for n, d in DERIVED.items()}, **OTHERS}.items():
        kind = kinds.add_parser(name, help=purpose, description=purpose)
        text = "folder of records/ and of what is written"
        kind.add_argument("--out", type=path, default=Path(Config.out), help=text)
        if name == "check":
            check.options(kind)
    try:
        options = parser.parse_args(arguments)
        if options.report == "check":
            return check.run(options)
        if options.report == "published":
            files = published_files()
        else:
            files = DERIVED[options.report].files(read_all(options.out), options.out)
        say(write(files, options.out))
    except InputError as error:
        print(f"report: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0
