"""How all figures look: one colour and marker a method wherever it appears, and equal bytes.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which people with any common
colour blindness tell apart; markers repeat the distinction for print without colour. Sizes are for
a column of 3.3 inches without scaling.
"""

from __future__ import annotations

import io
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zlib import crc32

from benchmarks.report.answer import powers
from benchmarks.report.rows import Row, shared_cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.3  # inches
QUICK = "quick: not for comparison"
WARNING, NOTE = "#B22222", "#555555"

# Fixed: a method keeps its look whichever others are in a figure.
COLOURS = {
    "crossflow": ("#0072B2", "o"),
    "flow_matching": ("#D55E00", "s"),
    "regression": ("#009E73", "^"),
    "noised_source": ("#CC79A7", "D"),
    "ot_flow_matching": ("#E69F00", "v"),
    "floor": ("#666666", ""),
    "oracle": ("#666666", ""),
}
OTHERS = [(c, m) for c in ("#56B4E9", "#000000", "#A6761D", "#7A4FBF") for m in "PXhp*<>d"]
DASHES = {"floor": (0, (2, 1.5)), "oracle": (0, (6, 2))}
VARIANTS = ["--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2))]

METADATA = {
    "pdf": ("CreationDate", "Creator", "Producer"),
    "png": ("Software",),
    "svg": ("Date", "Creator", "Format", "Type"),
}
STYLE: dict[str, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "figure.titlesize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "lines.markeredgewidth": 0,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # TrueType, embedded: journals refuse Type 3
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "crossflow-bench",  # equal figures have equal ids
    "text.parse_math": False,  # a method or caption with a dollar sign is no formula
}


def styled() -> AbstractContextManager[None]:
    """Our settings on matplotlib's own defaults: a user's matplotlibrc changes nothing."""
    from matplotlib import style

    return style.context(STYLE, after_reset=True)


@dataclass(frozen=True)
class Series:
    """What an arm reached, by x."""

    look: dict[str, Any]
    label: str
    values: dict[float, list[float]]  # of all training seeds
    errors: Mapping[float, float] = field(default_factory=dict)  # around the means


def look(row: Row) -> dict[str, Any]:
    """How an arm or a bound is drawn: in the colour of its method, its variants by dashes.

    Unknown methods get one of 32 looks by a checksum of their name.
    """
    method = method_of(row)
    colour, marker = COLOURS.get(method) or OTHERS[crc32(method.encode()) % len(OTHERS)]
    variant = row.kind == "arm" and row.name != method
    dashes = (
        VARIANTS[crc32(row.name.encode()) % len(VARIANTS)] if variant else DASHES.get(method, "-")
    )
    return {"color": colour, "marker": marker, "linestyle": dashes}


def method_of(row: Row) -> str:
    """`arm.NAME.method` of an arm's configuration, else the name it ran under."""
    options = shared_cells(row.records[0])["options"]
    return str(options.get("method", row.method)) if isinstance(options, dict) else row.method


def panels(
    count: int, width: float = WIDTH, height: float = 2.5, columns: int = 3
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` pairs of axes, each of this width and height in inches."""
    from matplotlib.figure import Figure

    across = min(count, columns)
    down = -(-count // across)
    figure = Figure(figsize=(width * across, height * down), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


def panel(axes: Axes, series: Sequence[Series], log: bool = True) -> None:
    """Every seed a mark, a line through the means of each series; x on a log scale."""
    for one in series:
        marks = [(x, value) for x, values in one.values.items() for value in values]
        means = {x: statistics.fmean(values) for x, values in sorted(one.values.items())}
        alpha = 0.9 if len(marks) == len(means) else 0.5
        axes.plot(*zip(*marks, strict=True), alpha=alpha, **one.look | {"linestyle": ""})
        axes.plot(list(means), list(means.values()), **one.look | {"marker": ""})
        for x, half in one.errors.items():
            axes.errorbar(x, means[x], yerr=half, color=one.look["color"], elinewidth=0.8)
        axes.plot([], [], label=one.label, **one.look)  # for the legend
    if log:
        log_axis(axes.xaxis, [x for one in series for x in one.values])


def log_axis(axis: Any, values: Iterable[float]) -> None:
    """A log scale that names the values that were measured, where they are few and apart."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    shown = sorted({float(f"{value:.2g}") for value in values})
    if len(shown) <= 6 and all(b / a > 1.3 for a, b in pairwise(shown)):
        axis.set_ticks(shown)
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axis.set_major_formatter(quantity)
    axis.set_minor_formatter(NullFormatter())


def quantity(value: float, _: object = None) -> str:
    """An axis number: 0.25, 640, 2×10⁵."""
    return powers(f"{value:.4g}")


def legend(figure: Figure, axes: Iterable[Axes], columns: int, title: str = "") -> None:
    """One entry per label, below the axes, with a line above them; floor and oracle last."""
    entries: dict[str, Any] = {}
    for panel in axes:
        handles, labels = panel.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    names = sorted(entries, key=lambda name: name in DASHES)
    handles = [entries[name] for name in names]
    figure.legend(handles, names, loc="outside lower center", ncols=columns, title=title)


def drawn(figure: Figure, ending: str) -> bytes:
    """The figure as pdf, png or svg, without dates or versions. The SVG shows what lies below it,
    and has two decimals, which are enough for a point."""
    file = io.BytesIO()
    metadata = dict.fromkeys(METADATA[ending])
    figure.savefig(file, format=ending, metadata=metadata, transparent=ending == "svg")
    if ending != "svg":
        return file.getvalue()
    digits = re.compile(rb"(\.\d\d)\d+")
    return re.sub(rb"<[^>]+>", lambda tag: digits.sub(rb"\1", tag[0]), file.getvalue())
