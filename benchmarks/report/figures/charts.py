"""Charts: the answer; primary score against what was spent, size, evaluations, guidance; losses.

Every training seed is a mark and a line joins the means. Floor and oracle are lines across.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from benchmarks.report import gates
from benchmarks.report.answer import (
    Question,
    Standing,
    budget_of,
    family_of,
    model_of,
    score_of,
    seeds_of,
)
from benchmarks.report.columns import heading
from benchmarks.report.figures import style
from benchmarks.report.figures.style import Series, look
from benchmarks.report.rows import Board, Row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DODGE = 1.09  # between the arms of one budget, on the logarithmic axis


def answer(questions: Sequence[Question]) -> Figure:
    """A panel a task: primary score against budget, scaled so that 0 is the floor and 1 the oracle.

    Lines join budgets that differ in nothing else.
    """
    columns = 2 if len(questions) == 4 else min(len(questions), 3)
    figure, panels = style.panels(len(questions), 2.7, 2.15, columns)
    scaled: list[Axes] = []
    for axes, question in zip(panels, questions, strict=True):
        _budgets(axes, question)
        alike = [other for other in questions if _unit(other) == _unit(question)]
        limits = [standing.limit for other in alike for standing in other.standings]
        axes.set_xlim(min(limits) / 1.8, max(limits) * 1.8)
        if all(standing.scale() for standing in question.standings):
            for place in (0, 1):
                axes.axhline(place, color="#666666", linewidth=0.9, linestyle=(0, (4, 2)))
            axes.set_yticks([0, 0.5, 1], ["floor", "0.5", "oracle"])
            scaled.append(axes)
    heights = [height for axes in scaled for height in axes.get_ylim()]
    for axes in scaled:
        axes.set_ylim(min(heights), max(heights))
    what = "Every mark is one training seed. Lines join means where only the budget differs."
    style.legend(figure, panels, 2 * columns, what)
    return figure


def _unit(question: Question) -> str:
    return budget_of(question.standings[0].board).rpartition(" ")[2]


def _budgets(axes: Axes, question: Question) -> None:
    arms = {arm.name: arm for standing in question.standings for arm in standing.board.arms}
    places = {name: number - (len(arms) - 1) / 2 for number, name in enumerate(arms)}
    families: dict[tuple[str, str], Series] = {}
    for standing in question.standings:
        for name, values in _scaled(standing).items():
            key = name, family_of(standing.board)
            series = families.setdefault(key, Series(look(arms[name]), name, {}))
            series.values[standing.limit * DODGE ** places[name]] = values
    ticks = {
        one.limit: "\n".join([*budget_of(one.board).split(" ", 1), seeds_of([one.board])])
        for one in question.standings
    }
    style.panel(axes, list(families.values()), log=False)
    style.log_axis(axes.xaxis, ticks)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_title(f"{question.title} ({heading(question.first.primary)[0]})", loc="left")


def _scaled(standing: Standing) -> dict[str, list[float]]:
    """Values of each arm, by seed, from 0 at the floor to 1 at the oracle; as they are without."""
    low, high = standing.scale() or (0.0, 1.0)
    arms = [arm.name for arm in standing.board.arms if gates.of_arm(arm) is None]
    every = {name: values for name in arms for values in standing.values(name)}
    return {name: [(v - low) / (high - low) for v in values] for name, values in every.items()}


def budget(boards: Sequence[Board]) -> Figure:
    """Primary score against samples, FLOPs and seconds. boards: of one family of budgets.

    Seconds only of one kind of device and where no clock was judged invalid: else they are not
    worth the same.
    """
    runs = [run for board in boards for arm in board.arms for run in arm.completed]
    spent = {"training samples": "budget.samples", "training FLOPs": "budget.train_flops"}
    invalid = [str(run.volatile.host.get("clock", "")).startswith("invalid") for run in runs]
    timed = all(run.volatile.device_seconds for run in runs) and not any(invalid)
    if timed and len({run.volatile.device for run in runs}) == 1:
        spent["device seconds of training"] = "volatile.device_seconds"
    unit = budget_of(boards[0]).partition(" ")[2]
    return _against(boards, spent, f"model {model_of(boards[0])}, equal {unit}")


def size(boards: Sequence[Board]) -> Figure:
    """Primary score against parameters. boards: that differ in the model alone."""
    params = {"parameters at inference, encoder included": "model.params"}
    return _against(boards, params, budget_of(boards[0]))


def _against(boards: Sequence[Board], facts: Mapping[str, str], about: str) -> Figure:
    """A panel an entry of `facts`: label -> field of a record. An arm stands at its runs' mean."""
    panels: dict[str, dict[str, Series]] = {label: {} for label in facts}
    for arm, values in _scores(boards):
        runs = [run for run in arm.records if run.status == "completed"]
        for label, fact in facts.items() if runs else ():
            series = panels[label].setdefault(arm.name, Series(look(arm), arm.name, {}))
            series.values[statistics.fmean(map(attrgetter(fact), runs))] = values
    every = {label: list(by_arm.values()) for label, by_arm in panels.items()}
    return _chart(boards, every, about)


def variants(board: Board) -> Figure:
    """Primary scores of the arms beside one another, for boards with variants of a method."""
    scored = list(_scores([board]))
    series = [Series(look(arm), arm.name, {n: values}) for n, (arm, values) in enumerate(scored, 1)]
    figure = _chart([board], {"": series})
    names = [arm.name for arm, _ in scored]
    figure.axes[0].set_xscale("linear")
    figure.axes[0].set_xticks(range(1, 1 + len(names)), names, rotation=20)
    return figure


def sampling(board: Board, curves: pd.DataFrame) -> Figure:
    """Score on validation against network evaluations, and against the weight of guidance.

    curves: rows of `curves.curves` of the board's runs, at least one.
    """
    alone = seeds_of([board]) == "one seed"
    panels: dict[str, list[Series]] = {}
    for sweep, x, label in (
        ("steps", "nfe", "network evaluations a sample"),
        ("guidance", "guidance", "guidance weight (1: none)"),
    ):
        for arm, rows in _by_arm(board, curves[curves["sweep"] == sweep]):
            points = rows.groupby(x)
            errors = dict(points["stderr"].mean()) if alone else {}
            series = Series(look(arm), arm.name, dict(points["value"].apply(list)), errors)
            panels.setdefault(label, []).append(series)
    note = "one seed; bars: ± 1 standard error over items" if alone else ""
    return _chart([board], panels, note=note, split=", validation")


def losses(board: Board, frame: pd.DataFrame) -> Figure:
    """Training loss and its terms, a panel an arm: the losses of two have different targets.

    frame: rows of `curves.losses` of the board's runs, at least one.
    """
    there = _by_arm(board, frame)
    figure, panels = style.panels(len(there), height=2.3)
    terms = sorted(set(frame["term"]) - {"loss"})
    dashes = dict(zip(terms, style.VARIANTS * len(terms), strict=False))
    for axes, (arm, rows) in zip(panels, there, strict=True):
        for (term, _), line in rows.groupby(["term", "run_id"], sort=True):
            whole = term == "loss"
            axes.plot(
                line["samples"],
                line["value"],
                color=look(arm)["color"] if whole else "#777777",
                linestyle=dashes.get(str(term), "-"),
                linewidth=0.9,
                label=arm.name if whole else str(term),
            )
        if (rows["value"] > 0).all():
            style.log_axis(axes.yaxis, rows["value"])
        axes.set(xlabel="training samples", ylabel="weighted loss")
        axes.xaxis.set_major_formatter(style.quantity)
    note = "a line a seed; not to be compared between arms"
    return _finished(figure, panels, [board], note)


def _by_arm(board: Board, frame: pd.DataFrame) -> list[tuple[Row, pd.DataFrame]]:
    """The arms that have rows in the frame, each with its own."""
    runs = [(arm, [run.run_id for run in arm.records]) for arm in board.arms]
    parts = [(arm, frame[frame["run_id"].isin(ids)]) for arm, ids in runs]
    return [(arm, rows) for arm, rows in parts if len(rows)]


def _scores(boards: Sequence[Board], kind: str = "arm") -> Iterator[tuple[Row, list[float]]]:
    """Every row of this kind whose clock was valid, and its primary scores, a seed each."""
    for board in boards:
        for row in board.rows:
            values = board.values(row, board.first.primary)
            if row.kind == kind and values and not any(map(gates.clock_is_invalid, row.records)):
                yield row, list(values.values())


def _chart(
    boards: Sequence[Board],
    series: Mapping[str, list[Series]],
    about: str = "",
    note: str = "",
    split: str = "",
) -> Figure:
    """A panel an entry of `series`, by the label below it; on the test split, between bounds."""
    figure, panels = style.panels(len(series))
    bounds = _scores([] if split else boards, "bound")
    across = {(row.method, values[0]): look(row) for row, values in bounds}
    for axes, (label, of_panel) in zip(panels, series.items(), strict=True):
        style.panel(axes, of_panel)
        for (name, value), shape in across.items():
            axes.axhline(value, label=name, **shape)
        axes.set(xlabel=label, ylabel=score_of(boards[0]) + split)
    note = note or f"{seeds_of(boards)} an arm: marks; lines go through the means"
    return _finished(figure, panels, boards, note, about)


def _finished(
    figure: Figure, panels: Sequence[Axes], boards: Sequence[Board], note: str, about: str = ""
) -> Figure:
    """With a title, what the marks mean, a warning where nothing may be concluded, and a legend."""
    board = boards[0]
    about = about or f"model {model_of(board)}, {budget_of(board)}"
    figure.suptitle(f"{board.first.task}, {about}", x=0.02, ha="left")
    quick = any(board.quick for board in boards)
    color = style.WARNING if quick else style.NOTE
    panels[0].set_title(f"{style.QUICK}\n{note}" if quick else note, loc="left", color=color)
    style.legend(figure, panels, 3 * len(panels))
    return figure
