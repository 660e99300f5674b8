"""What commands show on the screen when they end: tables that fit it, all jobs in one summary, and
what to type next. The files of `report` hold the rest."""

from __future__ import annotations

import shlex
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from tabulate import tabulate

from benchmarks.config.schema import Config
from benchmarks.records.keys import exact
from benchmarks.records.record import Record
from benchmarks.report.answer import score_of
from benchmarks.report.tables import ABSENT, QUICK, SLOW, Table, build, paper_columns

COSTS = ("seeds", "seconds", "FLOPs", "NFE")  # come before scores other than the primary one
MORE = "more columns in CSV and Markdown: python -m benchmarks.report tables"
GAP = 2  # spaces between columns


def comparison_table(records: Sequence[Record]) -> str:
    """The records of one match, or of many, no wider than the terminal."""
    width, texts = shutil.get_terminal_size().columns, []
    for table in build(records):
        places = _that_fit(table, width)
        rows = [[row[place] for place in places] for row in table.rows]
        left, above = len(table.header) - len(places), [table.title, *table.notes]
        below = [f"{left} {MORE}"] * (left > 0) + table.footnotes
        body = _grid(rows, [table.header[place] for place in places])
        texts.append("\n".join([_folded(above, width), "", body, _folded(below, width)]).rstrip())
    return "\n\n".join(texts)


def _that_fit(table: Table, width: int) -> list[int]:
    """Columns: the row's name and the primary score, then of COSTS and of the paper's columns those
    that have room."""
    names = [name.rpartition(" ")[0] or name for name in table.header]
    scores = paper_columns(table.metrics, table.board.first.primary if table.board else "")
    chosen, room = [0], width - _wide(table, 0)
    for name in dict.fromkeys([*scores[:1], *COSTS, *scores[1:]]):
        place = names.index(name) if name in names else 0
        needed = GAP + _wide(table, place)
        told = place and any(row[place] != ABSENT for row in table.rows)
        if told and (needed <= room or name in scores[:1]):
            chosen.append(place)
            room -= needed
    return sorted(chosen)


def _wide(table: Table, place: int) -> int:
    """Of a column on the screen: tabulate keeps two more spaces than a head needs."""
    return max(len(table.header[place]) + 2, *(len(row[place]) for row in table.rows))


def summary(records: Sequence[Record]) -> str:
    """All jobs of one command, seeds together: a line a row, beside what its table is about."""
    lines, below = [], list[str]()
    for table in build(records):
        board, seconds = table.board, table.header.index("seconds")
        if board is None:
            continue
        primary = board.first.primary
        rows = []
        for row, cells in zip(board.rows, table.rows, strict=True):
            value = cells[1 + table.metrics.index(primary)] if primary in table.metrics else ABSENT
            failed = sum(run.status == "failed" for run in row.records)
            value += f" ({failed} of {len(row.records)} failed)" * (failed > 0)
            rows.append([cells[0], value, cells[seconds]])
        budget = board.first.budget
        facts = [f"{board.first.task}, {board.first.fair.score['split']}", score_of(board)]
        facts += [f"{exact(budget.limit)} {budget.kind} an arm"] if budget else []
        facts += [f"{len(board.seeds)} seeds"] * (len(board.seeds) > 1)
        facts += [QUICK] * board.quick
        pairs = zip_longest(facts, rows)
        lines += [[fact or "", *(row or [""] * 3)] for fact, row in pairs] + [[""] * 4]
        below += [f"{note}, {board.first.task}" for note in table.footnotes if note[0] == SLOW]
    body = _grid(lines[:-1], ["task", "row", "primary score", "seconds"])
    return "\n".join([body, *dict.fromkeys(below)])


def closing(done: Sequence[Record], statuses: Sequence[int], out: str) -> list[str]:
    """The last lines of `run`: of several jobs one summary, and what to type next."""
    bad, failed = sum(map(bool, statuses)), any(record.status == "failed" for record in done)
    lines = ["", f"{len(statuses)} jobs, {bad} of them failed or were refused", "", summary(done)]
    again = "next: the same command again; it keeps what is completed"
    following = again if failed or 2 in statuses else next_command("html", out)
    return [*lines * (len(statuses) > 1), "", following]


def next_command(report: str, out: str) -> str:
    """The line that says what to type next."""
    where = "" if out == Config.out else f" --out {shlex.quote(out)}"
    return f"next: python -m benchmarks.report {report}{where}"


def _grid(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    return tabulate(rows, header, tablefmt="simple", disable_numparse=True)


def _folded(texts: Iterable[str], width: int) -> str:
    return "\n".join(textwrap.fill(text, width, subsequent_indent="  ") for text in texts)
