"""Geometry of the page's charts: numbers in, pixel places and texts out; the template draws.

Coordinates are in units of the view box, rounded to a tenth, so that equal records give equal text.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.records.keys import exact
from benchmarks.report.rows import ORDER

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 44
COLOURS = 8  # classes s0 to s7 of the style sheet; each has a shape and a dash of its own

Values = Mapping[float, Sequence[float]]
"""x -> one value per training seed."""


@dataclass(frozen=True)
class Axis:
    """A scale from values to places. base: of a logarithmic axis; None for a linear one."""

    low: float
    high: float
    start: float
    end: float
    base: Literal[2, 10] | None = None

    def at(self, value: float) -> float:
        part = (self._bent(value) - self._bent(self.low)) / (
            self._bent(self.high) - self._bent(self.low)
        )
        return round(self.start + part * (self.end - self.start), 1)

    def _bent(self, value: float) -> float:
        return math.log(value) if self.base else value

    def ticks(self) -> list[float]:
        """Round numbers inside the axis: 1, 2 or 5 times a power of ten, or powers of the base."""
        if self.base:
            powers = range(
                math.ceil(math.log(self.low, self.base) - 1e-9),
                math.floor(math.log(self.high, self.base) + 1e-9) + 1,
            )
            stride = max(1, math.ceil(len(powers) / 7))
            return [float(self.base) ** power for power in powers[::stride]]
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / 6))
        step = next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= 6)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) for index in range(first, last + 1)]


def axis(
    values: Sequence[float], start: float, end: float, base: Literal[2, 10] | None = None
) -> Axis:
    """An axis that holds all values with a little room at its ends."""
    low, high = min(values), max(values)
    if base:
        low, high = low / 1.15, high * 1.15
        if math.floor(math.log(high, base)) - math.ceil(math.log(low, base)) < 1:
            # Fewer than two powers inside: an axis with one tick or none has no scale.
            low = float(base) ** math.floor(math.log(low, base))
            high = float(base) ** math.ceil(math.log(high, base))
    else:
        room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        low, high = low - room, high + room
    return Axis(low, high, start, end, base)


def colour(method: str, methods: Sequence[str]) -> int:
    """The same class for a method everywhere on the page."""
    return methods.index(method) % COLOURS


def palette(methods: set[str]) -> list[str]:
    """All trained arms of the page in the order of tables; the harness's come first, always."""
    trained = [name for name in ORDER if name not in ("floor", "oracle")]
    return [*trained, *sorted(methods - set(ORDER))]


def lines(
    *,
    title: str,
    x: str,
    y: str,
    series: Mapping[str, Values],
    methods: Sequence[str],
    base: Literal[2, 10] | None,
) -> dict[str, Any]:
    """A line chart: a line through the means, a mark per seed.

    title, x, y: texts. series: by method. methods: of the whole page, for colours.
    """
    xs = [value for values in series.values() for value in values]
    ys = [value for values in series.values() for seeds in values.values() for value in seeds]
    across = axis(xs, LEFT, WIDTH - RIGHT, base)
    up = axis(ys, HEIGHT - BOTTOM, TOP)
    drawn = []
    for method, values in sorted(series.items(), key=lambda one: methods.index(one[0])):
        means = [(value, statistics.fmean(seeds)) for value, seeds in sorted(values.items())]
        drawn.append(
            {
                "name": method,
                "colour": colour(method, methods),
                "line": " ".join(f"{across.at(a)},{up.at(b)}" for a, b in means),
                "marks": [
                    {
                        "x": across.at(a),
                        "y": up.at(b),
                        "text": f"{method}: {b:.4g} at {x} {exact(a)}",
                    }
                    for a, seeds in sorted(values.items())
                    for b in seeds
                ],
                "rows": [(exact(a), f"{b:.4g}", str(len(values[a]))) for a, b in means],
            }
        )
    return {
        "title": title,
        "x": x,
        "y": y,
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "top": TOP,
        "bottom": HEIGHT - BOTTOM,
        "x_ticks": [(across.at(tick), f"{tick:g}") for tick in across.ticks()],
        "y_ticks": [(up.at(tick), f"{tick:g}") for tick in up.ticks()],
        "series": drawn,
    }
