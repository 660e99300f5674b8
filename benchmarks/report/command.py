"""Everything derived: `python -m benchmarks.report REPORT [--out DIR]`.

Starts without torch, so that tables can be made anywhere. The same records give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks.config.output import lasting_stderr, say
from benchmarks.config.schema import Config
from benchmarks.records.record import Record, read_all
from benchmarks.report import (
    answer,
    check,
    evaluations,
    latex,
    leaderboard,
    page,
    published,
    rows,
    tables,
)
from benchmarks.report.figures import files as figure_files
from benchmarks.report.files import Files, csv_text, path, write
from crossflow.errors import InputError


class OneLineParser(argparse.ArgumentParser):
    """Refuses like the other commands: one line, status 2."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def leaderboard_files(records: Sequence[Record], out: Path) -> Files:
    """runs.csv, leaderboard.csv, evaluations.csv: all scores; ranked arms; others' predictions."""
    leaders, outside = leaderboard.leader_rows(records), evaluations.evaluation_rows(records, out)
    return {
        "runs.csv": csv_text(rows.RUN_COLUMNS, rows.run_rows(records)),
        "leaderboard.csv": csv_text(leaderboard.LEADER_COLUMNS, leaders),
        "evaluations.csv": csv_text(evaluations.COLUMNS, outside),
    }


def table_files(records: Sequence[Record], out: Path) -> Files:
    """tables/: Markdown, LaTeX and CSV for each task, papers' numbers below ours; overview.md."""
    files: Files = {"tables/overview.md": tables.overview(tables.build(records))}
    for (task,), group in rows.by(records, "task").items():
        built, of_papers = tables.build(group), published.rows(task)
        outside = evaluations.build(evaluations.evaluation_rows(group, out))
        ours = tables.markdown([*built, *(table for _, table in outside)])
        below = published.markdown(of_papers)
        files[f"tables/{task}.md"] = ours + (f"\n{below}" if below else "")
        files[f"tables/{task}.csv"] = csv_text(rows.TABLE_COLUMNS, rows.table_rows(group))
        files[f"tables/{task}.tex"] = latex.task_file(built, of_papers)
        if len(of_papers):
            lines = of_papers.assign(status=published.STATUS).to_dict("records")
            files[f"tables/{task}_published.csv"] = csv_text(["status", *of_papers], lines)
    return files


def result_files(records: Sequence[Record], out: Path) -> Files:
    """results.md: who is ahead, in sentences and a table; summary.md: the table."""
    summary = answer.summary_table(records)
    return {"results.md": answer.results_page(records), "summary.md": summary}


def published_files() -> Files:
    """published.md: what papers print, from published.csv; needs no record."""
    return {"published.md": published.markdown(published.rows())}


DERIVED: dict[str, Callable[[Sequence[Record], Path], Files]] = {
    "leaderboard": leaderboard_files,
    "results": result_files,
    "tables": table_files,
    "figures": figure_files,
    "html": page.files,
}


@lasting_stderr()
def main(arguments: list[str] | None = None) -> int:
    """Writes one report, then prints the paths written. Returns the exit status."""
    parser = OneLineParser(prog="benchmarks.report", description=__doc__)
    kinds = parser.add_subparsers(dest="report", required=True)
    for name, report in {**DERIVED, "published": published_files, "check": check.run}.items():
        purpose = str(report.__doc__).partition("\n")[0]
        kind = kinds.add_parser(name, help=purpose, description=purpose)
        kind.add_argument("--out", type=path, default=Path(Config.out), help="records, and results")
        if name == "check":
            kind.add_argument("--against", type=path, help="else results/public/expected.csv")
            kind.add_argument("--junit", type=path, help="also write JUnit XML to this file")
            kind.add_argument("--accept", action="store_true", help="make these the references")
            kind.add_argument("--github", action="store_true", help="also print annotations")
    try:
        options = parser.parse_args(arguments)
        if options.report == "check":
            return check.run(options)
        if options.report == "published":
            files = published_files()
        else:
            files = DERIVED[options.report](read_all(options.out), options.out)
        say(write(files, options.out))
    except InputError as error:
        print(f"report: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0
