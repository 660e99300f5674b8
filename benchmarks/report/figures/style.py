"""How all figures look: one colour and marker a method wherever it appears, and equal bytes.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which people with any common
colour blindness tell apart; markers repeat the distinction for print without colour. Sizes are for
a column of 3.3 inches without scaling.
"""

from __future__ import annotations

import hashlib
import io
import re
import statistics
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from benchmarks.report.answer import powers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.3  # inches
DPI = 200
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

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 8,
    "axes.titlesize": 7,
    "axes.labelsize": 8,
    "figure.titlesize": 8,
    "figure.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "errorbar.capsize": 2,
    "pdf.fonttype": 42,  # TrueType, embedded: journals refuse Type 3
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "crossflow-bench",  # equal figures have equal ids
    "text.usetex": False,
    "text.parse_math": False,  # a method or caption with a dollar sign is no formula
}


@dataclass(frozen=True)
class Look:
    """How an arm is drawn: in the colour of its method, its variants by dashes."""

    colour: str
    marker: str
    dashes: Any


def look(arm: str, method: str | None = None) -> Look:
    """The look of an arm by its name and its method's, else the part of its name before `#`.

    Methods that the table does not know get one of 32 looks by the digest of their name.
    """
    method = method or arm.partition("#")[0]
    colour, marker = COLOURS.get(method) or OTHERS[_number(method) % len(OTHERS)]
    dashes = DASHES.get(method, "-")
    return Look(colour, marker, dashes if arm == method else VARIANTS[_number(arm) % len(VARIANTS)])


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


@contextmanager
def styled() -> Iterator[None]:
    """Our settings and matplotlib's own defaults: a user's matplotlibrc changes nothing."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type]  # names are not literals
        yield


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


def series(
    axes: Axes,
    look: Look,
    label: str,
    values: Mapping[float, Sequence[float]],
    errors: Mapping[float, float] | None = None,
    joined: bool = True,
) -> None:
    """Every seed a mark, a line through the means. values: by x; errors: around the means."""
    xs = [x for x, of_seeds in sorted(values.items()) for _ in of_seeds]
    ys = [y for _, of_seeds in sorted(values.items()) for y in of_seeds]
    alpha = 0.9 if len(xs) == len(values) else 0.5
    shape: dict[str, Any] = {"color": look.colour, "marker": look.marker}
    axes.plot(xs, ys, linestyle="", alpha=alpha, markeredgewidth=0, **shape)
    means = {x: statistics.fmean(of_seeds) for x, of_seeds in sorted(values.items())}
    if joined:
        axes.plot(list(means), list(means.values()), color=look.colour, linestyle=look.dashes)
    for x, half in (errors or {}).items():
        axes.errorbar(x, means[x], yerr=half, color=look.colour, elinewidth=0.8)
    axes.plot([], [], linestyle=look.dashes, label=label, **shape)  # for the legend


def head(figure: Figure, axes: Axes, title: str, note: str, quick: bool) -> None:
    """Title; below it what the marks mean, and the warning where nothing may be concluded."""
    letters = int(figure.get_size_inches()[0] / WIDTH * 54)
    figure.suptitle(title, x=0.02, ha="left")
    note = "\n".join(textwrap.wrap(note, letters))
    text = f"{QUICK}\n{note}" if quick else note
    axes.set_title(text, loc="left", color=WARNING if quick else NOTE)


def legend(figure: Figure, axes: Iterable[Axes], columns: int = 3, title: str = "") -> None:
    """One entry per label, below the axes, with a line above them; floor and oracle last."""
    entries: dict[str, Any] = {}
    for panel in axes:
        handles, labels = panel.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    names = sorted(entries, key=lambda name: name in DASHES)
    handles = [entries[name] for name in names]
    look: dict[str, Any] = {"ncols": columns, "title": title, "title_fontsize": 7}
    figure.legend(handles, names, loc="outside lower center", **look)


def drawn(figure: Figure, ending: str, label: str) -> str | bytes:
    """The figure as pdf, png or svg, without dates or versions. label: of the SVG."""
    if ending == "svg":
        return svg(label, figure)
    file = io.BytesIO()
    names = ("CreationDate", "Creator", "Producer") if ending == "pdf" else ("Software",)
    figure.savefig(file, format=ending, dpi=DPI, metadata=dict.fromkeys(names))
    return file.getvalue()


def svg(label: str, figure: Figure) -> str:
    """The figure as SVG that may stand in a page: no style attribute, no id but of what is used.

    A page's Content-Security-Policy forbids style attributes; the same names are attributes of SVG.
    """
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing)
    text = file.getvalue()
    text = re.sub(r"\s*<style.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # A figure's own background and the axes' are the page's.
    text = re.sub(r'<path d="[^"]*" style="fill: #ffffff"/>', "", text)
    text = re.sub(r"\s*<[^>]+>", _plain_tag, text)
    named = f'<svg role="img" aria-label="{escape(label)}" stroke-linejoin="round" '
    return text.replace("<svg ", named + 'font-family="DejaVu Sans, Verdana, sans-serif" ', 1)


def _plain_tag(match: re.Match[str]) -> str:
    tag = re.sub(r' style="([^"]*)"', _attributes, " ".join(match[0].split()))
    tag = re.sub(r'(?<=<g) id="[^"]*"', "", tag)
    return re.sub(r"(\.\d\d)\d+", r"\1", tag)


def _attributes(match: re.Match[str]) -> str:
    pairs = [pair.split(": ", 1) for pair in match[1].split("; ")]
    return "".join(f' {name}="{value}"' for name, value in pairs if name != "font-family")


def drawable(text: str) -> str:
    """The text in characters that our font has; the others, and control characters, as boxes."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont(STYLE["font.family"])).get_charmap()
    return "".join(c if c == " " or (c.isprintable() and ord(c) in known) else "□" for c in text)


def quantity(value: float, _: object = None) -> str:
    """An axis number without mathtext: 0.25, 640, 200k, 1.5M, then 2×10¹⁴."""
    size = abs(value)
    if size and (size >= 1e9 or size < 1e-3):
        return powers(f"{value:.1e}")
    unit, letter = (1e6, "M") if size >= 1e6 else (1e3, "k") if size >= 1e3 else (1.0, "")
    return f"{value / unit:.3g}{letter}"


def log_axis(axes: Axes, values: Iterable[float], which: str = "x") -> None:
    """A log scale that names the values that were measured, where they are few and apart."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    shown = sorted({float(f"{value:.2g}") for value in values})
    if len(shown) <= 6 and all(b / a > 1.3 for a, b in pairwise(shown)):
        axis.set_ticks(shown)
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axis.set_major_formatter(FuncFormatter(quantity))
    axis.set_minor_formatter(NullFormatter())
