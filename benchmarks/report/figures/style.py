"""How all figures look: one colour and marker per method wherever it appears, and equal bytes.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which people with any common
colour blindness tell apart; markers repeat the distinction for print without colour. Sizes are for
a column of 3.3 inches without scaling.
"""

from __future__ import annotations

import hashlib
import io
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 3.3  # inches
DPI = 200
QUICK = "quick: not for comparison"
WARNING = "#B22222"
NOTE = "#555555"

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
    "text.usetex": False,
    "text.parse_math": False,  # a method or caption with a dollar sign is no formula
}


class NothingToShowError(ValueError):
    """Why a figure is not drawn; its name and this reason are told to the user."""


@dataclass(frozen=True)
class Look:
    """How a method is drawn: the same colour for its variants, which differ by dashes."""

    colour: str
    marker: str
    dashes: Any


def look(arm: str) -> Look:
    """The look of `method` or `method#variant`, from the name alone.

    Methods that the table does not know get one of 28 looks by the digest of their name.
    """
    method, _, variant = arm.partition("#")
    colour, marker = COLOURS.get(method) or OTHERS[_number(method) % len(OTHERS)]
    dashes = DASHES.get(method, "-")
    return Look(colour, marker, VARIANTS[_number(variant) % len(VARIANTS)] if variant else dashes)


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


def chart(height: float = 2.5) -> tuple[Figure, Axes]:
    """An empty figure of column width with one pair of axes; inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def head(figure: Figure, axes: Axes, title: str, note: str, quick: bool, letters: int = 54) -> None:
    """Title; below it what the marks mean, and the warning where nothing may be concluded.

    letters: how many fit in a line above the axes.
    """
    figure.suptitle(title, x=0.02, ha="left")
    note = "\n".join(textwrap.wrap(note, letters))
    text = f"{QUICK}\n{note}" if quick else note
    axes.set_title(text, loc="left", color=WARNING if quick else NOTE)


def legend(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """One entry per label, below the axes; floor and oracle last."""
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    unique = {
        name: unique[name]
        for name in sorted(unique, key=lambda name: name.partition("#")[0] in DASHES)
    }
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=columns)


def files(draw: Callable[[], Figure]) -> tuple[bytes, bytes]:
    """(PDF, PNG) of the figure that `draw` makes, in our style, without dates or versions."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    pdf, png = io.BytesIO(), io.BytesIO()
    with styled():
        figure = draw()
        FigureCanvasAgg(figure).print_figure(png, dpi=DPI, metadata={"Software": None})
        figure.set_layout_engine("none")  # where things are is known by now
        dateless = {"CreationDate": None, "Creator": None, "Producer": None}
        FigureCanvasPdf(figure).print_figure(pdf, dpi=DPI, metadata=dateless)
    return pdf.getvalue(), png.getvalue()


def drawable(text: str) -> str:
    """The text in characters that our font has; the others, and control characters, as boxes."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont(STYLE["font.family"])).get_charmap()
    return "".join(c if c == " " or (c.isprintable() and ord(c) in known) else "□" for c in text)


def quantity(value: float, _: object = None) -> str:
    """An axis number without mathtext: 0.25, 640, 200k, 1.5M, then 2×10¹⁴."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e9 or size < 1e-3:
        return powers(f"{value:.1e}")
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}"


def powers(text: str) -> str:
    """A number's text with its power of ten, if it has one, as people write it: 2e+14 as 2×10¹⁴."""
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    mantissa = mantissa.removesuffix(".0")
    return f"10{power}" if mantissa == "1" else f"{mantissa}×10{power}"


def log_axis(axes: Axes, values: Any, which: str = "x") -> None:
    """A log scale that names the values that were measured, where they are few and apart."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    shown = sorted({float(f"{value:.2g}") for value in values})
    apart = all(b / a > 1.3 for a, b in pairwise(shown))
    if len(shown) <= 6 and apart and which == "x":
        axis.set_ticks(shown)
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axis.set_major_formatter(FuncFormatter(quantity))
    axis.set_minor_formatter(NullFormatter())
