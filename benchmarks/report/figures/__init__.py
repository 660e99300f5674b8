"""`report figures`: every figure that the records under `out` have something to show for.

Charts are written as PDF and SVG, pictures as PDF and PNG, the answer as all three.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.records import samples
from benchmarks.records.keys import exact
from benchmarks.records.record import Record
from benchmarks.report import curves
from benchmarks.report.answer import budget_of, current, family_of, model_of, questions
from benchmarks.report.figures import charts, pictures, style
from benchmarks.report.files import Files
from benchmarks.report.rows import Board, Row, boards

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawn:
    """A figure and what it is of."""

    name: str  # of its files, without an ending
    board: Board  # the first, of several
    title: str
    figure: Figure
    endings: tuple[str, ...] = ("pdf", "svg")


def files(records: Sequence[Record], out: Path) -> Files:
    """figures/<name>.<ending>. Of two figures of one name the later has its fair_key in it too."""
    written: Files = {}
    with style.styled():
        for draw in (chart_figures, picture_figures):
            for drawn in draw(records, out):
                name = f"figures/{drawn.name}"
                if f"{name}.pdf" in written:
                    name += f"-{drawn.board.fair_key}"
                for ending in drawn.endings:
                    written[f"{name}.{ending}"] = style.drawn(drawn.figure, ending)
    return written


def chart_figures(records: Sequence[Record], out: Path) -> Iterator[Drawn]:
    """The answer, then the charts of several budgets or models, then those of each board.

    Draw within `style.styled()`, as for the pictures.
    """
    asked = questions(records)
    if asked:
        title = "Primary score against budget, a panel a task"
        board, endings = asked[0].standings[0].board, ("pdf", "png", "svg")
        yield Drawn("answer", board, title, charts.answer(asked), endings)
    trained = [board for board in current(boards(records)) if board.arms]
    for field, draw in (("budget_limit", charts.budget), ("model", charts.size)):
        for family in _families(trained, field):
            first = family[0]
            same = model_of(first) if field == "budget_limit" else _limit(first)
            title = f"{first.first.task}: {first.first.primary} against {draw.__name__}"
            name = f"{first.first.task}-{same}-{draw.__name__}"
            yield Drawn(name, first, title, draw(family))
    for board in trained:
        runs = [run for arm in board.arms for run in arm.records]
        if len({style.method_of(arm) for arm in board.arms}) < len(board.arms):
            yield _drawn(board, "ablation", charts.variants(board))
        swept = curves.curves(runs, out).dropna(subset=["value"])
        if len(swept):
            yield _drawn(board, "sampling", charts.sampling(board, swept))
        lost = curves.losses(runs, out)
        if len(lost):
            yield _drawn(board, "losses", charts.losses(board, lost))


def picture_figures(records: Sequence[Record], out: Path) -> Iterator[Drawn]:
    """Grids, strips and sums. A file of samples that is missing is named on stderr."""
    for board in current(boards(records)):
        task, title = board.first.task, f"{board.first.task}, {budget_of(board)}"
        runs = lowest_seeds(board.arms)
        rows = {end: f"{end}-{board.first.score_key}" for end in samples.ENDS}
        kept = kept_samples(out, task, rows | runs)
        if not kept.keys() >= rows.keys() or len(kept) < 3:
            continue
        made = {"samples": pictures.grid(title, kept, board.quick)}
        for kind, draw in pictures.BLENDS.items():
            for arm, run in runs.items():
                path = samples.path_of(out, task, f"{run}-{kind}")
                if path is not None:
                    of_arm = samples.read(path), kept["source"], board.quick
                    made[f"{kind}-{arm}"] = draw(f"{title}, {arm}", *of_arm)
        for kind, figure in made.items():
            if figure is None:
                print(f"{title}: no {kind}: no items in common", file=sys.stderr)
            else:
                yield _drawn(board, kind, figure, ("pdf", "png"))


def lowest_seeds(arms: Iterable[Row]) -> dict[str, str]:
    """Name -> run_id of the completed run with the lowest seed, of each arm that has one."""
    done = {arm.name: [run for run in arm.records if run.status == "completed"] for arm in arms}
    lowest = {n: min(runs, key=lambda r: (r.seed, r.run_id)) for n, runs in done.items() if runs}
    return {name: run.run_id for name, run in lowest.items()}


def kept_samples(out: Path, task: str, rows: dict[str, str]) -> dict[str, samples.Samples]:
    """Samples by name. rows: name -> row of a file; missing ones go to stderr."""
    paths = {name: samples.path_of(out, task, row) for name, row in rows.items()}
    missing = [rows[name] for name, path in paths.items() if path is None]
    if missing:
        print(f"{task}: no samples of {', '.join(missing)}", file=sys.stderr)
    return {name: samples.read(path) for name, path in paths.items() if path is not None}


def _families(trained: Sequence[Board], field: str) -> list[list[Board]]:
    """Boards with a score that differ in this one field of fairness, two or more."""
    families: dict[str, dict[str, Board]] = defaultdict(dict)
    for board in trained:
        if any(board.values(arm, board.first.primary) for arm in board.arms):
            value = (board.first.fair.fair or {})[field]
            families[family_of(board, field)][str(value)] = board
    return [list(family.values()) for family in families.values() if len(family) > 1]


def _drawn(
    board: Board, kind: str, figure: Figure, endings: tuple[str, ...] = ("pdf", "svg")
) -> Drawn:
    parts = [board.first.task, model_of(board), _limit(board), *["quick"] * board.quick, kind]
    title = f"{board.first.task}, {budget_of(board)}: {kind}"
    return Drawn("-".join(parts).replace("#", "-"), board, title, figure, endings)


def _limit(board: Board) -> str:
    budget = board.first.budget
    return f"{exact(budget.limit).replace('+', '')}-{budget.kind}" if budget else "none"
