"""Charts: the answer; primary score against size, evaluations and guidance; losses.

Every training seed is a mark and a line joins the means. A method has one colour and marker
wherever it appears. Colours are those of Okabe and Ito (Color Universal Design, 2008), which any
common colour blindness tells apart; markers repeat the distinction for print without colour.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zlib import crc32

from benchmarks.report import answer, gates
from benchmarks.report.answer import Question
from benchmarks.report.rows import Board, Row, shared_cells
from benchmarks.report.tables import QUICK

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.3  # inches: a column of a paper, without scaling
DODGE = 1.09  # between the arms of one budget, on the logarithmic axis
COLOURS = {  # fixed: a method keeps its look whichever others are in a figure
    "crossflow": ("#0072B2", "o"),
    "crossflow_paper": ("#882255", "p"),
    "flow_matching": ("#D55E00", "s"),
    "regression": ("#009E73", "^"),
    "noised_source": ("#CC79A7", "D"),
    "ot_flow_matching": ("#E69F00", "v"),
    "conditional_source": ("#56B4E9", "P"),
    "joint_attention": ("#7A4FBF", "X"),
    "data_dependent": ("#A6761D", "*"),
    "bridge": ("#000000", "h"),
    "autoregressive": ("#8A8A2B", "d"),
}
OTHERS = [(c, m) for c in ("#56B4E9", "#000000", "#A6761D", "#7A4FBF") for m in "PXhp*<>d"]
VARIANTS = ["--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2))]  # dashes


@dataclass(frozen=True)
class Series:
    """What an arm reached, by x."""

    look: dict[str, Any]
    label: str
    values: dict[float, list[float]] = field(default_factory=dict)  # of all training seeds
    errors: Mapping[float, float] = field(default_factory=dict)  # around the means


def look(arm: Row) -> dict[str, Any]:
    """How an arm is drawn: in the colour of its method, its variants by dashes.

    Unknown methods get one of 32 looks by a checksum of their name.
    """
    options = shared_cells(arm.records[0])["options"]
    method = str(options.get("method", arm.method)) if isinstance(options, dict) else arm.method
    colour, marker = COLOURS.get(method) or OTHERS[crc32(method.encode()) % len(OTHERS)]
    dashes = "-" if arm.name == method else VARIANTS[crc32(arm.name.encode()) % len(VARIANTS)]
    return {"color": colour, "marker": marker, "linestyle": dashes}


def overview(questions: Sequence[Question]) -> Figure:
    """The answer, a panel a task: primary score against budget, 0 the floor and 1 the oracle."""
    columns = 2 if len(questions) == 4 else min(len(questions), 3)
    figure = _panels(len(questions), 2.7, 2.15, columns)
    scaled: list[Axes] = []
    for axes, question in zip(figure.axes, questions, strict=True):
        whole = all(standing.scale() for standing in question.standings)
        if whole and scaled:
            axes.sharey(scaled[0])
        _budgets(axes, question)
        alike = [other for other in questions if other.kind == question.kind]
        limits = [standing.limit for other in alike for standing in other.standings]
        axes.set_xlim(min(limits) / 1.8, max(limits) * 1.8)
        if whole:
            for place in (0, 1):
                axes.axhline(place, color="#666666", linewidth=0.9, linestyle=(0, (4, 2)))
            axes.set_yticks([0, 0.5, 1], ["floor", "0.5", "oracle"])
            scaled.append(axes)
    what = "Every mark is one training seed. Lines join means where only the budget differs."
    _legend(figure, 2 * columns, what)
    return figure


def _budgets(axes: Axes, question: Question) -> None:
    boards = [standing.board for standing in question.standings]
    names = list(dict.fromkeys(arm.name for board in boards for arm in board.arms))
    lines: dict[tuple[str, str], Series] = {}
    for standing in question.standings:
        low, high = standing.scale() or (0.0, 1.0)
        for arm, values in _scores(standing.board):
            key = arm.name, answer.family_of(standing.board)
            series = lines.setdefault(key, Series(look(arm), arm.name))
            place = names.index(arm.name) - (len(names) - 1) / 2
            shares = [(value - low) / (high - low) for value in values]
            series.values[standing.limit * DODGE**place] = shares
    _draw(axes, lines.values())
    limits = [standing.limit for standing in question.standings]
    _log(axes.xaxis, limits)
    ticks = [
        "\n".join([*answer.budget_of(one).split(" ", 1), answer.seeds_of([one])]) for one in boards
    ]
    axes.set_xticks(limits, ticks)
    axes.set_title(f"{question.title} ({question.first.primary})", loc="left")


def size(boards: Sequence[Board]) -> Figure:
    """Primary score against parameters. boards: that differ in the model alone."""
    lines: dict[str, Series] = {}
    for board in boards:
        for arm, values in _scores(board):
            params = [run.model.params for run in arm.completed if run.model]
            if params:
                series = lines.setdefault(arm.name, Series(look(arm), arm.name))
                series.values[statistics.fmean(params)] = values
    panels = {"parameters at inference, encoder included": list(lines.values())}
    note = f"{answer.seeds_of(boards)} an arm; marks, lines go through the means"
    return _chart(boards, panels, note, answer.score_of(boards[0]))


def sampling(board: Board, sweeps: Iterable[tuple[Row, pd.DataFrame]]) -> Figure:
    """Score on validation against network evaluations, and against the weight of guidance.

    sweeps: of `arm_curves`, at least one.
    """
    alone = answer.seeds_of([board]) == "one seed"
    panels: dict[str, list[Series]] = {}
    for sweep, x, label in (
        ("steps", "nfe", "network evaluations a sample"),
        ("guidance", "guidance", "guidance weight (1: none)"),
    ):
        for arm, rows in sweeps:
            points = rows[rows["sweep"] == sweep].groupby(x)
            if len(points):
                errors = dict(points["stderr"].mean()) if alone else {}
                series = Series(look(arm), arm.name, dict(points["value"].apply(list)), errors)
                panels.setdefault(label, []).append(series)
    note = "bars: ± 1 standard error over items" if alone else "marks, lines go through the means"
    note = f"{answer.seeds_of([board])} an arm; {note}"
    return _chart([board], panels, note, f"{answer.score_of(board)}, validation")


def losses(board: Board, logs: Iterable[tuple[Row, pd.DataFrame]]) -> Figure:
    """Training loss, a panel an arm: the losses of two have different targets.

    logs: of `arm_curves`, at least one.
    """
    panels: dict[str, list[Series]] = {}
    for arm, rows in logs:
        shape = look(arm) | {"marker": "", "linewidth": 0.9}
        for _, line in rows.groupby("run_id"):
            values = {x: [y] for x, y in zip(line["samples"], line["loss"], strict=True)}
            series = Series(shape, arm.name, values)
            panels.setdefault(f"training samples of {arm.name}", []).append(series)
    note = "a line a seed; not to be compared between arms"
    figure = _chart([board], panels, note, "weighted loss")
    for axes in figure.axes:
        axes.set_xscale("linear")
        if axes.dataLim.y0 > 0:
            _log(axes.yaxis)
    return figure


def _scores(board: Board) -> Iterator[tuple[Row, list[float]]]:
    """Every arm whose clock was valid, and its primary scores, a seed each."""
    for arm in board.arms:
        values = board.values(arm, board.first.primary)
        if values and not any(map(gates.clock_is_invalid, arm.records)):
            yield arm, list(values.values())


def _chart(
    boards: Sequence[Board], series: Mapping[str, list[Series]], note: str, ylabel: str
) -> Figure:
    """A panel an entry of `series`, by the label below it, with a warning where runs were quick."""
    figure = _panels(len(series))
    for axes, (label, of_panel) in zip(figure.axes, series.items(), strict=True):
        _draw(axes, of_panel)
        _log(axes.xaxis, [x for line in of_panel for x in line.values])
        axes.set(xlabel=label, ylabel=ylabel)
    models = " and ".join(map(answer.model_of, boards))
    title = f"{boards[0].first.task}, model {models}, {answer.budget_of(boards[0])}"
    figure.suptitle(title, x=0.02, ha="left")
    text, colour = warned(note, any(board.quick for board in boards))
    figure.axes[0].set_title(text, loc="left", color=colour)
    _legend(figure, 3 * len(series))
    return figure


def warned(note: str, quick: bool) -> tuple[str, str]:
    """What stands below a title, and its colour."""
    return (f"{QUICK}\n{note}", "#B22222") if quick else (note, "#555555")


def _panels(count: int, width: float = WIDTH, height: float = 2.5, columns: int = 3) -> Figure:
    """A figure of `count` pairs of axes, each of this width and height in inches."""
    from matplotlib.figure import Figure

    across = min(count, columns)
    down = -(-count // across)
    figure = Figure(figsize=(width * across, height * down), layout="constrained")
    for place in range(count):
        figure.add_subplot(down, across, 1 + place)
    return figure


def _draw(axes: Axes, series: Iterable[Series]) -> None:
    """Every seed a mark, a line through the means of each series."""
    for one in series:
        marks = [(x, value) for x, values in one.values.items() for value in values]
        means = {x: statistics.fmean(values) for x, values in sorted(one.values.items())}
        alpha = 0.9 if len(marks) == len(means) else 0.5
        axes.plot(*zip(*marks, strict=True), alpha=alpha, **one.look | {"linestyle": ""})
        axes.plot(list(means), list(means.values()), **one.look | {"marker": ""})
        for x, half in one.errors.items():
            axes.errorbar(x, means[x], yerr=half, color=one.look["color"], elinewidth=0.8)
        axes.plot([], [], label=one.label, **one.look)  # for the legend


def _log(axis: Any, values: Iterable[float] = ()) -> None:
    """A log scale; at most six values, far enough apart, are its only numbers."""
    from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    shown = sorted({float(f"{value:.2g}") for value in values})
    few = 0 < len(shown) <= 6 and all(b / a > 1.3 for a, b in pairwise(shown))
    axis.set_major_locator(FixedLocator(shown) if few else LogLocator(subs=(1, 2, 5), numticks=8))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: answer.powers(f"{value:.4g}"))


def _legend(figure: Figure, columns: int, title: str = "") -> None:
    """One entry per label, below the axes, with a line above them."""
    drawn = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in figure.axes]
    entries = {label: handle for pairs in drawn for handle, label in pairs}
    handles, labels = list(entries.values()), list(entries)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=title)
