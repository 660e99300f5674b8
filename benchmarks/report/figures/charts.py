"""Charts: the answer; primary score against what was spent, size, evaluations, guidance; losses.

Every training seed is a mark and a line joins the means. Floor and oracle are lines across.
"""

from __future__ import annotations

import statistics
import textwrap
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.records.record import Record
from benchmarks.report import gates
from benchmarks.report.answer import Question, Standing, budget_of, family_of, score_of, seeds_of
from benchmarks.report.columns import heading
from benchmarks.report.figures import style
from benchmarks.report.rows import Board, Row, arm_config

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

X = Callable[[Row], float | None]
DODGE = 1.09  # between the arms of one budget, on the logarithmic axis


def answer(questions: Sequence[Question]) -> Figure:
    """A panel a task: primary score against budget, scaled so that 0 is the floor and 1 the oracle.

    Lines join budgets that differ in nothing else.
    """
    columns = len(questions) if len(questions) < 3 else 2 if len(questions) == 4 else 3
    figure, panels = style.panels(len(questions), 2.7, 2.15, columns)
    limits: dict[str, list[float]] = defaultdict(list)
    scaled = [0.0, 1.0]
    for question in questions:
        limits[_unit(question)] += [standing.limit for standing in question.standings]
        scaled += [
            y for standing in question.standings for ys in _scaled(standing).values() for y in ys
        ]
    low, high = min(scaled), max(scaled)
    room = 0.06 * (high - low)
    for axes, question in zip(panels, questions, strict=True):
        _panel(axes, question)
        budgets = limits[_unit(question)]
        axes.set_xlim(min(budgets) / 1.8, max(budgets) * 1.8)
        if all(standing.scale() for standing in question.standings):
            axes.set_ylim(low - room, high + room)
            axes.set_yticks([0, 0.5, 1], ["floor", "0.5", "oracle"])
            for place in (0, 1):
                axes.axhline(place, color="#666666", linewidth=0.9, linestyle=(0, (4, 2)))
    what = "Every mark is one training seed. Lines join means where only the budget differs."
    style.legend(figure, panels, 2 * columns, what)
    return figure


def _unit(question: Question) -> str:
    return question.standings[0].budget.rpartition(" ")[2]


def _panel(axes: Axes, question: Question) -> None:
    arms = {arm.name: arm for standing in question.standings for arm in standing.board.arms}
    places = {name: number - (len(arms) - 1) / 2 for number, name in enumerate(arms)}
    families: dict[tuple[str, str], dict[float, list[float]]] = defaultdict(dict)
    for standing in question.standings:
        for name, values in _scaled(standing).items():
            families[name, family_of(standing.board)][standing.limit * DODGE ** places[name]] = (
                values
            )
    for (name, _), by_limit in families.items():
        style.series(axes, _look(arms[name]), name, by_limit)
    limits = [standing.limit for standing in question.standings]
    budgets = [[*standing.budget.split(" ", 1), standing.seeds] for standing in question.standings]
    style.log_axis(axes, limits)
    axes.set_xticks(limits, ["\n".join(lines) for lines in budgets])
    axes.set_title(f"{question.title} ({heading(question.first.primary)[0]})", loc="left")


def _scaled(standing: Standing) -> dict[str, list[float]]:
    """Values of each arm, by seed, from 0 at the floor to 1 at the oracle; as they are without."""
    low, high = standing.scale() or (0.0, 1.0)
    arms = [arm for arm in standing.board.arms if gates.of_arm(arm) is None]
    values = {arm.name: standing.board.values(arm, standing.metric) or {} for arm in arms}
    return {
        name: [(value - low) / (high - low) for value in of_seed.values()]
        for name, of_seed in values.items()
        if of_seed
    }


def budget(boards: Sequence[Board]) -> Figure:
    """Primary score against samples, FLOPs and device hours. boards: of one family of budgets.

    Hours only of one kind of device and where no clock was judged invalid: else they are not worth
    the same.
    """
    runs = [run for board in boards for arm in board.arms for run in arm.completed]
    spent: dict[str, X] = {
        "training samples": _mean_of(lambda run: run.budget.samples if run.budget else None),
        "training FLOPs": _mean_of(lambda run: run.budget.train_flops if run.budget else None),
    }
    devices = {run.volatile.device for run in runs}
    clocks = [str(run.volatile.host.get("clock", "")) for run in runs]
    timed = all(run.volatile.device_seconds is not None for run in runs)
    if timed and len(devices) == 1 and not any(clock.startswith("invalid") for clock in clocks):
        spent["device hours of training"] = _mean_of(
            lambda run: (run.volatile.device_seconds or 0) / 3600
        )
    unit = budget_of(boards[0]).partition(" ")[2]
    return _against(boards, spent, f"model {_model(boards[0])}, equal {unit}")


def size(boards: Sequence[Board]) -> Figure:
    """Primary score against parameters. boards: that differ in the model alone."""
    params = _mean_of(lambda run: run.model.params if run.model else None)
    label = "parameters at inference, encoder included"
    return _against(boards, {label: params}, budget_of(boards[0]))


def _against(boards: Sequence[Board], xs: Mapping[str, X], about: str) -> Figure:
    """A panel an entry of `xs`: label -> x of an arm."""
    figure, panels = style.panels(len(xs))
    for axes, (label, x) in zip(panels, xs.items(), strict=True):
        _scores(axes, boards, x)
        axes.set_xlabel(label)
    _finish(figure, panels, boards, f"{boards[0].first.task}, {about}", _note(boards))
    return figure


def variants(board: Board) -> dict[str, str]:
    """A label for each arm with the settings in which variants of its method differ.

    Empty where no method ran in several variants.
    """
    import pandas as pd

    methods = [_method(arm) for arm in board.arms]
    settings = pd.json_normalize([arm_config(arm.records[0]) for arm in board.arms]).astype(str)
    labels = {}
    for place, (arm, method) in enumerate(zip(board.arms, methods, strict=True)):
        same = settings[[other == method for other in methods]]
        differ = [field for field in same if same[field].nunique() > 1]
        choices = ", ".join(f"{f.split('.')[-1]}={same.loc[place, f]}"[:40] for f in differ)
        label = f"{arm.name.partition('#')[0]}: {choices}" if choices else arm.name
        labels[arm.name] = "\n".join(textwrap.wrap(label, 22))
    return labels if len(set(methods)) < len(methods) else {}


def ablation(board: Board, labels: Mapping[str, str]) -> Figure:
    """A bar an arm with its seeds as marks. labels: of `variants`."""
    arms = [arm for arm in reversed(board.arms) if board.values(arm, board.first.primary)]
    figure, (axes,) = style.panels(1, height=1.2 + 0.32 * len(arms))
    for place, arm in enumerate(arms):
        values = list((board.values(arm, board.first.primary) or {}).values())
        look = _look(arm)
        axes.barh(place, statistics.fmean(values), height=0.6, color=look.colour, alpha=0.3)
        shape: dict[str, Any] = {"color": look.colour, "marker": look.marker}
        axes.plot(
            values, [place] * len(values), linestyle="", alpha=0.7, markeredgewidth=0, **shape
        )
    axes.set_yticks(range(len(arms)), [labels[arm.name] for arm in arms])
    axes.grid(False, axis="y")
    axes.set_xlabel(score_of(board))
    _bounds([board], axes.axvline)
    _finish(figure, [axes], [board], _title(board), _note([board]))
    return figure


def sampling(board: Board, curves: pd.DataFrame) -> Figure:
    """Score on validation against network evaluations, and against the weight of guidance.

    curves: rows of `curves.curves` of the board's runs, at least one.
    """
    sweeps = {
        "steps": ("nfe", "network evaluations a sample"),
        "guidance": ("guidance", "guidance weight (1: none)"),
    }
    there = [sweep for sweep in sweeps if (curves["sweep"] == sweep).any()]
    figure, panels = style.panels(len(there))
    for axes, sweep in zip(panels, there, strict=True):
        x, label = sweeps[sweep]
        rows = curves[curves["sweep"] == sweep]
        for arm, points in _by_arm(board, rows):
            values = {x: list(of["value"]) for x, of in points.groupby(x)}
            alone = points["seed"].nunique() == 1
            errors = dict(points.groupby(x)["stderr"].mean()) if alone else None
            style.series(axes, _look(arm), arm.name, values, errors)
        style.log_axis(axes, rows[x])
        axes.set_xlabel(label)
        axes.set_ylabel(f"{score_of(board)}, validation")
    alone = seeds_of([board]) == "one seed"
    note = "one seed; bars: ± 1 standard error over items" if alone else _note([board])
    _finish(figure, panels, [board], _title(board), note)
    return figure


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
                color=_look(arm).colour if whole else "#777777",
                linestyle="-" if whole else dashes[str(term)],
                linewidth=1.0 if whole else 0.8,
                label=arm.name if whole else str(term),
            )
        if (rows["value"] > 0).all():
            style.log_axis(axes, rows["value"], "y")
        axes.set_xlabel("training samples")
        axes.set_ylabel("weighted loss")
        axes.xaxis.set_major_formatter(style.quantity)
    note = "a line a seed; losses of two arms are not to be compared: their targets differ"
    _finish(figure, panels, [board], _title(board), note)
    return figure


def _by_arm(board: Board, frame: pd.DataFrame) -> list[tuple[Row, pd.DataFrame]]:
    """The arms that have rows in the frame, each with its own."""
    runs = [(arm, {run.run_id for run in arm.records}) for arm in board.arms]
    parts = [(arm, frame[frame["run_id"].isin(ids)]) for arm, ids in runs]
    return [(arm, rows) for arm, rows in parts if len(rows)]


def _scores(axes: Axes, boards: Sequence[Board], x: X) -> None:
    """Primary scores of all arms of some boards, over x of an arm."""
    series: dict[str, dict[float, list[float]]] = defaultdict(dict)
    looks = {}
    for board in boards:
        for arm in board.arms:
            place, values = x(arm), board.values(arm, board.first.primary)
            if place and values and not any(map(gates.clock_is_invalid, arm.records)):
                series[arm.name][place] = list(values.values())
                looks[arm.name] = _look(arm)
    for name, of_arm in series.items():
        style.series(axes, looks[name], name, of_arm)
    _bounds(boards, axes.axhline)
    style.log_axis(axes, {place for of_arm in series.values() for place in of_arm})
    axes.set_ylabel(score_of(boards[0]))


def _bounds(boards: Sequence[Board], line: Any) -> None:
    """Floor and oracle as lines across, each value once."""
    looks = {}
    for board in boards:
        for row in board.rows:
            if row.kind == "bound":
                for value in (row.values(board.first.primary) or {}).values():
                    looks[row.method, value] = style.look(row.method)
    for (name, value), look in looks.items():
        line(value, color=look.colour, linestyle=look.dashes, label=name)


def _finish(
    figure: Figure, panels: Sequence[Axes], boards: Sequence[Board], title: str, note: str
) -> None:
    quick = any(board.quick for board in boards)
    style.head(figure, panels[0], title, note, quick)
    style.legend(figure, panels, 3 * len(panels))


def _method(arm: Row) -> str:
    """The method of an arm: `arm.NAME.method`, else the arm's name."""
    options = arm.records[0].config.get("arm")
    chosen = options.get(arm.method) if isinstance(options, dict) else None
    return str(chosen.get("method", arm.method)) if isinstance(chosen, dict) else arm.method


def _look(arm: Row) -> style.Look:
    return style.look(arm.name, _method(arm))


def _mean_of(fact: Callable[[Record], float | None]) -> X:
    """The mean of a fact over an arm's completed runs; None where one does not have it."""

    def mean(arm: Row) -> float | None:
        values = [fact(run) for run in arm.completed]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if len(known) == len(values) else None

    return mean


def _title(board: Board) -> str:
    return f"{board.first.task}, model {_model(board)}, {budget_of(board)}"


def _model(board: Board) -> str:
    return str((board.first.fair.fair or {}).get("model"))


def _note(boards: Sequence[Board]) -> str:
    return f"{seeds_of(boards)} an arm; every mark is one seed, lines go through the means"
