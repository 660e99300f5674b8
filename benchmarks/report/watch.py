"""`report watch`: running matches in the terminal, from the files of a work folder alone.

On a terminal a live table; without one plain lines, as for a log file. Ends with Ctrl-C, status 0:
that is how watching ends. A work folder without a match is no mistake, the first may come.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.config.schema import Config
from benchmarks.match.status import FILE
from benchmarks.records.digits import exact
from benchmarks.report.options import path
from benchmarks.report.watching import ArmView, MatchView, WorkView, look
from crossflow.errors import InputError

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

PURPOSE = "running matches in the terminal: budget spent, loss, speed, time left; Ctrl-C ends it"
LIVE_SECONDS, PLAIN_SECONDS = 2.0, 30.0
LONGEST_SECONDS = 86_400.0  # nobody waits longer, and the clock of a system has a limit
BAR = 10  # characters
ENDED_SHOWN = 5
LEGEND = (
    "own loss: arms have different targets, losses of different arms cannot be compared. "
    "left: training alone, at the recent speed."
)
COLUMNS = ("arm", "state", "budget", "own loss", "samples/s", "left", "updated")
COLOURS = {"training": "green", "evaluating": "green", "failed": "red", "stale": "red"}
ABSENT = "–"


def options(parser: argparse.ArgumentParser) -> None:
    """What `watch` understands; it has no --out, for it reads no record."""
    parser.set_defaults(out=None)
    parser.add_argument(
        "--work",
        type=path,
        default=Path(Config.work),
        help="the work folder of the runs",
    )
    parser.add_argument("--once", action="store_true", help="show the state once, and end")
    parser.add_argument("--all", action="store_true", help="all matches that ended, not the latest")
    parser.add_argument(
        "--interval",
        type=float,
        metavar="SECONDS",
        help=f"between two looks: {LIVE_SECONDS:g}, and {PLAIN_SECONDS:g} without a terminal",
    )


def run(given: argparse.Namespace) -> int:
    """Shows until Ctrl-C, or once. Returns the exit status, 0. InputError: no such folder."""
    if given.out is not None:
        raise InputError("--out: watch reads run folders, not records; give --work DIR")
    live = sys.stdout.isatty() and not given.once
    usual = LIVE_SECONDS if live else PLAIN_SECONDS
    interval = usual if given.interval is None else given.interval
    if not 0 < interval <= LONGEST_SECONDS:  # NaN is refused too
        raise InputError(
            f"--interval {interval:g}: must be a positive number of seconds, at most "
            f"{LONGEST_SECONDS:g}"
        )
    try:
        if live:
            _show(given, interval)
        while not live:
            view = look(given.work, time.time())
            print("\n".join(plain(view, given.work, given.all)), flush=True)
            if given.once:
                break
            time.sleep(interval)
    except KeyboardInterrupt:
        pass
    return 0


def _show(given: argparse.Namespace, interval: float) -> None:
    """The live table, until an interrupt."""
    from rich.live import Live

    first = screen(look(given.work, time.time()), given.work, given.all)
    with Live(first, auto_refresh=False) as display:
        while True:
            time.sleep(interval)
            view = look(given.work, time.time())
            display.update(screen(view, given.work, given.all), refresh=True)


def plain(view: WorkView, work: Path, every: bool = False) -> list[str]:
    """The view as lines of text, no escape sequence in them."""
    lines = [f"[{datetime.now():%H:%M:%S}] {printable(str(work))}: {LEGEND}"]
    for match in chosen(view, every):
        lines += title(match)
        for arm in match.arms:
            cells = zip(COLUMNS[1:], row(arm)[1:], strict=True)
            said = ", ".join(f"{name} {cell}" for name, cell in cells if cell != ABSENT)
            lines.append(f"  {printable(arm.method)}: {said}")
        lines += [f"    {problem}" for problem in problems(match)]
    return [*lines, *remarks(view, work, every)]


def screen(view: WorkView, work: Path, every: bool = False) -> Group:
    """The view as rich shows it. Names are `Text`: brackets in them are no markup."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Text | Table] = [Text(LEGEND, style="dim")]
    for match in chosen(view, every):
        first, *more = title(match)
        parts += [Text(""), Text(first, style="bold"), *map(Text, more), _table(match)]
        parts += [Text(problem, style="red") for problem in problems(match)]
    return Group(*parts, *map(Text, remarks(view, work, every)))


def _table(match: MatchView) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for name in COLUMNS:
        left = name in ("arm", "state", "budget")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "arm")
    for arm in match.arms:
        cells = row(arm)
        table.add_row(
            Text(cells[0]), Text(cells[1], style=COLOURS.get(arm.state, "")), *map(Text, cells[2:])
        )
    return table


def chosen(view: WorkView, every: bool) -> list[MatchView]:
    """Running matches, and of the others the latest or `every`."""
    running = [match for match in view.matches if match.state == "running"]
    others = [match for match in view.matches if match.state != "running"]
    return running + (others if every else others[:ENDED_SHOWN])


def title(match: MatchView) -> list[str]:
    """What a match is, its budget, how it stands; what it does now."""
    status = match.status
    known, complete = match.left
    if match.state == "running":
        state = f"training left {'' if complete else 'at least '}{clock(known)}"
        if known == 0:
            state = "training is over" if complete else "training left not known yet"
    elif match.state == "stale":
        state = (
            f"STALE: no heartbeat for {clock(match.said)}; killed, or its machine stands still; "
            "the same command continues"
        )
    else:
        state = "ended" if status.error is None else "STOPPED; the same command continues"
    limit = f"{exact(status.budget_limit)} {status.budget_kind} an arm"
    lines = [f"{printable(status.match)}: budget {limit}; {state}"]
    if match.state == "running":
        process = f"process {status.pid} on {printable(status.host)}"
        doing = printable(status.stage) if status.stage else "starting"
        share = f" {status.share:.0%}" if status.share else ""
        lines.append(f"  now {doing}{share} ({process})")
    return lines


def row(arm: ArmView) -> tuple[str, ...]:
    """The cells of an arm, as text that is safe to print, in the order of COLUMNS."""
    speed, training = arm.speed, arm.state == "training"
    return (
        printable(arm.method),
        arm.state,
        bar(speed.fraction),
        ABSENT if speed.loss is None else f"{speed.loss:.4g}",
        f"{speed.samples_per_second:.0f}" if training and speed.samples_per_second else ABSENT,
        clock(speed.left) if training and speed.left is not None else ABSENT,
        f"{clock(arm.updated)} ago",
    )


def problems(match: MatchView) -> Iterator[str]:
    """What went wrong in a match, a line each."""
    for arm in match.arms:
        if arm.problem is not None:
            yield f"{printable(arm.method)}: {printable(arm.problem)}"
    if match.status.error is not None:
        yield printable(match.status.error)
    if match.status.note is not None:
        yield printable(match.status.note)


def remarks(view: WorkView, work: Path, every: bool) -> list[str]:
    """What is not shown, and why."""
    lines = [printable(line) for line in view.unread]
    if view.silent:
        lines.append(f"{view.silent} without {FILE}: begun by an earlier version")
    hidden = len(view.matches) - len(chosen(view, every))
    if hidden:
        lines.append(f"{hidden} more that ended: --all shows them")
    if not view.matches:
        lines.append(f"no match in {printable(str(work))}: one appears when its data are ready")
    return lines


def bar(fraction: float) -> str:
    """`█████░░░░░  52 %`; full only where nothing is left."""
    full = math.floor(fraction * BAR)
    return f"{'█' * full}{'░' * (BAR - full)} {math.floor(fraction * 100):3d} %"


def clock(seconds: float) -> str:
    """0:07, 12:30, 3:05:00, 2 d 3:05:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    short = f"{hours}:{minutes:02d}:{rest:02d}" if hours or days else f"{minutes}:{rest:02d}"
    return f"{days} d {short}" if days else short


def printable(text: str) -> str:
    """One line that moves no cursor: control characters are shown as a replacement character."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
