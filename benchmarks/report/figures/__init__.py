"""`report figures`: every figure that the records under `out` have something to show for.

Charts are written as PDF and SVG, pictures as PDF and PNG, the answer as all three.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.records import samples
from benchmarks.records.keys import exact
from benchmarks.records.record import Record
from benchmarks.report import curves
from benchmarks.report.answer import budget_of, current, family_of, questions
from benchmarks.report.figures import charts, pictures, style
from benchmarks.report.files import Files
from benchmarks.report.rows import Board, Row, boards

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plan:
    """A figure that may be drawn, and the boards that it is of."""

    name: str  # of its files, without an ending
    title: str
    boards: Sequence[Board]
    draw: Callable[[], Figure | None]  # None where there is nothing to show after all
    picture: bool = False

    @property
    def endings(self) -> list[str]:
        if self.name == "answer":
            return ["pdf", "png", "svg"]
        return ["pdf", "png"] if self.picture else ["pdf", "svg"]


def files(records: Sequence[Record], out: Path) -> Files:
    """figures/<name>.<ending>; what is not drawn is named on stderr."""
    written: Files = {}
    for plan in [*chart_plans(records, out), *picture_plans(records, out)]:
        with style.styled():
            figure = plan.draw()
            if figure is None:
                print(f"not drawn: {plan.name}: no items in common", file=sys.stderr)
                continue
            for ending in plan.endings:
                name = f"figures/{plan.name}.{ending}"
                written[name] = style.drawn(figure, ending, plan.title)
    return written


def chart_plans(records: Sequence[Record], out: Path) -> list[Plan]:
    """The answer, then the charts of several budgets or models, then those of each board."""
    plans = []
    asked = questions(records)
    if asked:
        shown = [standing.board for question in asked for standing in question.standings]
        title = "Primary score against budget, a panel a task"
        plans.append(Plan("answer", title, shown, partial(charts.answer, asked)))
    trained = [board for board in current(boards(records)) if board.arms]
    for field, draw in (("budget_limit", charts.budget), ("model", charts.size)):
        for family in _families(trained, field):
            first = family[0].first
            rest = str((first.fair.fair or {})["model"]) if field != "model" else _limit(family[0])
            title = f"{first.task}: {first.primary} against {draw.__name__}"
            name = f"{first.task}-{rest}-{draw.__name__}"
            plans.append(Plan(name, title, family, partial(draw, family)))
    for board in trained:
        plans += _charts_of(board, out)
    return _named_apart(plans)


def _charts_of(board: Board, out: Path) -> Iterator[Plan]:
    where = f"{board.first.task}, {budget_of(board)}"
    runs = [run for arm in board.arms for run in arm.records]
    labels = charts.variants(board)
    if labels:
        draw = partial(charts.ablation, board, labels)
        yield Plan(_name(board, "ablation"), f"{where}: variants of a method", [board], draw)
    swept = curves.curves(runs, out).dropna(subset=["value"])
    if len(swept):
        title = f"{where}: score on validation against evaluations and guidance"
        draw = partial(charts.sampling, board, swept)
        yield Plan(_name(board, "sampling"), title, [board], draw)
    lost = curves.losses(runs, out)
    if len(lost):
        title = f"{where}: training losses"
        yield Plan(_name(board, "losses"), title, [board], partial(charts.losses, board, lost))


def picture_plans(records: Sequence[Record], out: Path) -> list[Plan]:
    """Grids, strips and sums. A file of samples that is missing is named on stderr."""
    plans = []
    for board in current(boards(records)):
        where, task, quick = (
            f"{board.first.task}, {budget_of(board)}",
            board.first.task,
            board.quick,
        )
        runs = lowest_seeds(board.arms)
        rows = {end: f"{end}-{board.first.score_key}" for end in samples.ENDS}
        kept = kept_samples(out, task, rows | {name: run.run_id for name, run in runs.items()})
        if not kept.keys() >= rows.keys() or len(kept) < 3:
            continue
        draw = partial(pictures.grid, where, kept, quick)
        plans.append(Plan(_name(board, "samples"), where, [board], draw, True))
        for arm, run in runs.items():
            for kind in samples.BLENDS:
                path = samples.path_of(out, task, f"{run.run_id}-{kind}")
                if path is not None:
                    title = f"{where}, {arm}"
                    draw = partial(pictures.BLENDS[kind], title, path, kept["source"], quick)
                    plans.append(Plan(_name(board, f"{kind}-{arm}"), title, [board], draw, True))
    return _named_apart(plans)


def lowest_seeds(arms: Iterable[Row]) -> dict[str, Record]:
    """Name -> the completed run with the lowest seed, of each arm that has one."""
    done = {arm.name: [run for run in arm.records if run.status == "completed"] for arm in arms}
    return {n: min(runs, key=lambda r: (r.seed, r.run_id)) for n, runs in done.items() if runs}


def kept_samples(out: Path, task: str, files: dict[str, str]) -> dict[str, samples.Samples]:
    """Samples by name. files: name -> row; those without a file are named on stderr."""
    paths = {name: samples.path_of(out, task, row) for name, row in files.items()}
    missing = [files[name] for name, path in paths.items() if path is None]
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


def _name(board: Board, kind: str) -> str:
    quick = "-quick" if board.quick else ""
    model = str((board.first.fair.fair or {})["model"])
    return f"{board.first.task}-{model}-{_limit(board)}{quick}-{kind.replace('#', '-')}"


def _limit(board: Board) -> str:
    budget = board.first.budget
    return f"{exact(budget.limit).replace('+', '')}-{budget.kind}" if budget else "none"


def _named_apart(plans: Sequence[Plan]) -> list[Plan]:
    """Where words do not tell two figures apart, the fair_key does."""
    counts = Counter(plan.name for plan in plans)
    return [
        plan
        if counts[plan.name] == 1
        else replace(plan, name=f"{plan.name}-{plan.boards[0].fair_key}")
        for plan in plans
    ]
