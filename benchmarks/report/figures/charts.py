"""Charts: primary score against budget, size, evaluations and guidance; ablations; losses.

Each function takes one frame (see `points`) and gives one figure. NothingToShowError says why
there is none. Floor and oracle are lines across, where they were scored on the same items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.records.keys import exact
from benchmarks.report.figures import style
from benchmarks.report.figures.points import SPENT
from benchmarks.report.figures.style import NothingToShowError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = {
    "samples": "training samples",
    "flops": "training FLOPs",
    "device_hours": "device hours of training",
}
ARROWS = {"higher": " ↑", "lower": " ↓"}


def budget(frame: pd.DataFrame, spent: str) -> Figure:
    """Primary score against what was spent, one line an arm. frame: arms of one budget_family.

    spent: samples, flops or device_hours. Hours are shown only of one kind of device and where no
    clock was judged invalid: else they are not worth the same.
    """
    ours, across = _split(frame)
    column = SPENT[spent]
    if ours["budget_limit"].nunique() < 2:
        raise NothingToShowError("there is one budget only")
    if ours[column].isna().any():
        raise NothingToShowError(f"{column} is not in all records")
    if spent == "device_hours":
        invalid = sorted(set(ours["clock"]) - {""})
        if invalid:
            raise NothingToShowError(f"a clock is not valid ({invalid[0]})")
        devices = sorted({name for names in ours["devices"] for name in names})
        if len(devices) > 1:
            raise NothingToShowError(f"several devices: {', '.join(devices)}")
    figure, axes = style.chart()
    for arm, points in ours.groupby("arm", sort=True):
        _line(axes, str(arm), points.sort_values(column), column, "mean", _intervals)
    style.log_axis(axes, ours[column])
    _finish(figure, axes, ours, across, AXES[spent])
    first = ours.iloc[0]
    title = f"{first['task']}, model {first['model']}, equal {_unit(first)}"
    _head(figure, axes, frame, title, _seeds(ours))
    return figure


def size(frame: pd.DataFrame) -> Figure:
    """Primary score against parameters at inference. frame: arms of one size_family."""
    ours, across = _split(frame)
    if ours["model"].nunique() < 2:
        raise NothingToShowError("there is one model size only")
    figure, axes = style.chart()
    for arm, points in ours.groupby("arm", sort=True):
        _line(axes, str(arm), points.sort_values("params"), "params", "mean", _intervals)
    style.log_axis(axes, ours["params"])
    _finish(figure, axes, ours, across, "parameters at inference, encoder included")
    first = ours.iloc[0]
    _head(figure, axes, frame, f"{first['task']}, {limit(first)}", _seeds(ours))
    return figure


def ablation(frame: pd.DataFrame) -> Figure:
    """Bars of all arms of one fair_key, where a method ran in several variants."""
    ours, across = _split(frame)
    if not ours["arm"].str.contains("#").any():
        raise NothingToShowError("no method ran in several variants")
    ours = ours.sort_values(["method", "label"], ascending=False)
    labels = [_wrapped(label) for label in ours["label"]]
    lines = max(label.count("\n") + 1 for label in labels)
    figure, axes = style.chart(1.2 + max(0.28, 0.13 * lines + 0.08) * len(ours))
    for place, (_, row) in enumerate(ours.iterrows()):
        colour = style.look(str(row["arm"])).colour
        axes.barh(place, row["mean"], height=0.65, color=colour, alpha=0.85)
        if np.isfinite(row["ci_low"]):
            error = [[row["mean"] - row["ci_low"]], [row["ci_high"] - row["mean"]]]
            axes.errorbar(row["mean"], place, xerr=error, color="black", linewidth=0.9)
        end = np.nanmax([row["mean"], row["ci_high"], 0.0])
        axes.annotate(f" {row['mean']:.3g}", (end, place), va="center", fontsize=6.5)
    axes.set_yticks(range(len(ours)), labels)
    axes.grid(False, axis="y")
    _limits(axes, ours, across, "x", bars=True)
    for _, row in across.iterrows():
        seen = style.look(row["arm"])
        axes.axvline(row["mean"], color=seen.colour, linestyle=seen.dashes, label=row["arm"])
    first = ours.iloc[0]
    axes.set_xlabel(_score_name(first))
    if len(across):
        style.legend(figure, axes)
    title = f"{first['task']}, model {first['model']}, {limit(first)}"
    _head(figure, axes, frame, title, _seeds(ours), letters=36)
    return figure


def evaluations(frame: pd.DataFrame) -> Figure:
    """Score on validation against network evaluations. frame: curves of one fair_key."""
    ours = _sweep(frame, "steps")
    if ours["steps"].nunique() < 2:
        raise NothingToShowError("one number of steps only")
    return _curve(ours, _over_seeds(ours, "nfe"), "network evaluations a sample, both branches")


def guidance(frame: pd.DataFrame) -> Figure:
    """Score on validation against the weight of guidance. frame: curves of one fair_key."""
    ours = _sweep(frame, "guidance")
    return _curve(ours, _over_seeds(ours, "guidance"), "guidance weight (1: none)")


def losses(frame: pd.DataFrame) -> Figure:
    """Training loss and its terms of one arm, a line a seed. frame: rows of `frames.losses`.

    ValueError for two arms: their losses have different targets, and the lower one says nothing.
    """
    if frame["arm"].nunique() != 1 or frame["fair_key"].nunique() != 1:
        raise ValueError("losses are drawn of one arm only: those of two have different targets")
    first = frame.iloc[0]
    seen = style.look(first["arm"])
    figure, axes = style.chart()
    terms = sorted(set(frame["term"]) - {"loss"})
    dashes = dict(zip(terms, ["--", ":", "-.", (0, (5, 1, 1, 1, 1, 1))] * 3, strict=False))
    for (term, _), own in frame.groupby(["term", "run_id"], sort=True):
        whole = term == "loss"
        axes.plot(
            own["samples"],
            own["value"],
            color=seen.colour if whole else "#777777",
            linestyle="-" if whole else dashes[term],
            linewidth=1.0 if whole else 0.8,
            label="all weighted terms" if whole else str(term),
        )
    if (frame["value"] > 0).all():
        style.log_axis(axes, frame["value"], "y")
    _thousands(axes)
    axes.set_xlabel(AXES["samples"])
    axes.set_ylabel("training loss")
    style.legend(figure, axes)
    seeds = frame["seed"].nunique()
    note = f"{_count(seeds, 'seed')}; not to be compared with another arm's: targets differ"
    _head(figure, axes, frame, f"{first['task']}, {first['label']}, {limit(first)}", note)
    return figure


def _split(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Arms, and floor and oracle."""
    if frame.empty or not frame["fair_key"].notna().any():
        raise NothingToShowError("no arm has the primary score")
    ours = frame[frame["fair_key"].notna()]
    invalid = ours[(ours["budget_kind"] == "device_seconds") & (ours["clock"] != "")]
    if len(invalid):
        first = invalid.iloc[0]
        raise NothingToShowError(f"{first['arm']}: budget of seconds, and {first['clock']}")
    return ours, frame[frame["fair_key"].isna()]


def _sweep(frame: pd.DataFrame, sweep: str) -> pd.DataFrame:
    own = frame[(frame["sweep"] == sweep) & frame["value"].notna()]
    if own.empty:
        raise NothingToShowError(f"no arm has a sweep over {sweep}")
    if own["metric"].nunique() > 1:
        raise NothingToShowError(f"several scores: {', '.join(sorted(set(own['metric'])))}")
    return own


def _over_seeds(frame: pd.DataFrame, x: str) -> pd.DataFrame:
    """Mean over the seeds that were measured at each x, and half the width of what is drawn around.

    Columns arm, x, value, seeds, half: the standard error over seeds; where no point has several,
    that over items. Seeds with other guidance make other evaluations from equal steps, and no run
    used the mean of both.
    """
    import pandas as pd

    rows = []
    for (arm, place), own in frame.groupby(["arm", x], sort=True):
        by_seed = own.groupby("seed")["value"].mean()
        row = {"arm": arm, "x": place, "value": by_seed.mean(), "seeds": len(by_seed)}
        half = by_seed.std(ddof=1) / len(by_seed) ** 0.5  # NaN of one seed: no bar
        rows.append(row | {"half": half, "items": own["stderr"].mean()})
    points = pd.DataFrame(rows)
    return points if (points["seeds"] > 1).any() else points.assign(half=points["items"])


def _line(axes: Axes, arm: str, points: pd.DataFrame, x: str, y: str, errors: Any) -> None:
    seen = style.look(arm)
    axes.errorbar(
        points[x],
        points[y],
        yerr=errors(points),
        color=seen.colour,
        marker=seen.marker,
        linestyle=seen.dashes,
        elinewidth=0.8,
        label=arm,
    )


def _intervals(points: pd.DataFrame) -> np.ndarray:
    """(2, points): below and above the mean; 0 where one seed has no interval."""
    sides = [points["mean"] - points["ci_low"], points["ci_high"] - points["mean"]]
    return np.nan_to_num(np.array(sides, dtype=float))


def _half(points: pd.DataFrame) -> np.ndarray:
    return np.nan_to_num(points["half"].to_numpy(dtype=float))


def _finish(
    figure: Figure, axes: Axes, ours: pd.DataFrame, across: pd.DataFrame, xlabel: str
) -> None:
    for _, row in across.iterrows():
        seen = style.look(row["arm"])
        axes.axhline(row["mean"], color=seen.colour, linestyle=seen.dashes, label=row["arm"])
    _limits(axes, ours, across, "y")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(_score_name(ours.iloc[0]))
    style.legend(figure, axes)


def _limits(
    axes: Axes, ours: pd.DataFrame, across: pd.DataFrame, which: str, *, bars: bool = False
) -> None:
    """Limits by the means: the interval of two seeds may be longer than all else together."""
    means = [*ours["mean"], *across["mean"], *([0.0] if bars else [])]
    low, high = min(means), max(means)
    span = high - low or abs(high) or 1.0
    ends = ours[["ci_low", "ci_high"]].to_numpy(dtype=float)
    reach = [e for e in ends.ravel() if np.isfinite(e) and low - span / 2 < e < high + span / 2]
    low, high = min([low, *reach]), max([high, *reach])
    margin = 0.07 * (high - low or 1.0)
    right = high + margin * (3 if bars else 1)
    left = low if bars and low == 0 else low - margin
    (axes.set_xlim if which == "x" else axes.set_ylim)(left, right)


def _curve(ours: pd.DataFrame, points: pd.DataFrame, xlabel: str) -> Figure:
    """A line an arm through `points` of `_over_seeds`, over a logarithmic axis."""
    figure, axes = style.chart()
    for arm, own in points.groupby("arm", sort=True):
        _line(axes, str(arm), own.sort_values("x"), "x", "value", _half)
    style.log_axis(axes, points["x"])
    first = ours.iloc[0]
    axes.set_xlabel(xlabel)
    axes.set_ylabel(f"{_score_name(first)}, validation")
    style.legend(figure, axes)
    counts = sorted(set(points["seeds"]))
    if counts[-1] > 1:
        note = f"bars: ± 1 standard error over seeds ({_range(counts)})"
    else:
        note = f"one seed; bars: ± 1 standard error over {int(ours['n'].max())} items"
    title = f"{first['task']}, model {first['model']}, {limit(first)}"
    _head(figure, axes, ours, title, note)
    return figure


def _head(
    figure: Figure, axes: Axes, frame: pd.DataFrame, title: str, note: str, letters: int = 54
) -> None:
    style.head(figure, axes, title, note, bool(frame["quick"].any()), letters)


def _seeds(ours: pd.DataFrame) -> str:
    counts = sorted({int(count) for count in ours["seeds"]})
    if counts == [1]:
        return "one seed: no interval"
    return f"bars: 95 % interval of the mean over seeds ({_range(counts)})"


def _range(counts: list[int]) -> str:
    return str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"


def _count(number: int, noun: str) -> str:
    return f"one {noun}" if number == 1 else f"{number} {noun}s"


def limit(row: Any) -> str:
    """The budget in words: `2×10¹⁴ FLOPs`."""
    return f"{style.powers(exact(row['budget_limit']))} {_unit(row)}"


def _unit(row: Any) -> str:
    kind = str(row["budget_kind"])
    return {"flops": "FLOPs", "device_seconds": "device seconds"}.get(kind, kind)


def _score_name(row: Any) -> str:
    return f"{row['metric']}{ARROWS.get(row['better'], '')}"


def _wrapped(label: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(label, 22))


def _thousands(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(style.quantity))
