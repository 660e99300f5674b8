"""How far a score may fall before it counts as a regression: three classes, one rule each.

exact        what no training moves: floor, oracle, scored predictions. Any change is a failure, for
             the better too: the code that scores has changed. Same machine: 1e-9 of the value, and
             1e-9 besides; elsewhere 1e-5 and 1e-6, for other processors round differently.
seeded       a tiny run on a CPU. Seed by seed, where machine, threads and versions are those of the
             reference: 1e-6 of the value, as bits repeat there. Elsewhere: statistical.
statistical  a real run. With n >= 3 stored seeds of standard deviation s, and m new ones, the mean
             may be worse by max(floor, t s sqrt(1/n + 1/m)), t the 0.999 quantile of Student's
             distribution with n - 1 degrees of freedom: the prediction limit of a mean.

For normal seeds the t rule fails an unchanged score once in 1,000 checks, over references and runs
alike; 90 independent checks alarm in 9 % of runs. Three seeds need a loss of 18 s (m = 3) to be
noticed, five 4.5 s (m = 5): store five. One or two say nothing usable of how seeds scatter: there
the score may be worse by max(5 floor, 3.09 sqrt(e1^2 + e2^2)), e the standard errors over items of
reference and new score. That catches what is broken; its rate of false alarms is not known.
"""

from __future__ import annotations

import functools
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

ALARMS = 1e-3
FEWEST_SEEDS = 3
WITHOUT_SEEDS = 5.0

# Changes nobody would report: half a point of a share, a tenth of a decibel, 1 % of an error. The
# name is that of the metric without its level and its number of items; the first that fits counts.
FLOORS = (
    (
        r"bleu\d|meteor|rouge_l|spice|scene_\w+|delta\d\w*|ssim_\w+|geneval_\w+|precision_\w+|"
        r"recall_\w+",
        "0.005",
    ),
    (r"cider", "0.02"),
    (r"clip\w+", "0.002"),
    (r"psnr_\w+", "0.1"),
    (r"(fid|kid|is)(_\w+)?", "2%"),
    (r".*", "1%"),
)


@dataclass(frozen=True)
class Tolerance:
    """How much worse a score may be, in its own unit, and which rule says so."""

    value: float
    rule: str


@dataclass(frozen=True)
class Mean:
    """A score over training seeds: one value a seed; stderr over items, None where unknown."""

    values: Sequence[float]
    stderr: float | None


def default_floor(metric: str) -> str:
    """The smallest tolerance of a new reference: `0.005` (in the metric's unit) or `2%`."""
    name = re.split(r"[@/]", metric, maxsplit=1)[0]
    return next(floor for pattern, floor in FLOORS if re.fullmatch(pattern, name))


def floor_at(floor: str, value: float) -> float:
    """A floor in the metric's unit. ValueError for what is neither a number nor a percentage."""
    if not re.fullmatch(r"\d+(\.\d+)?%?", floor):
        raise ValueError("must be a number such as 0.005, or a percentage such as 2%")
    return abs(value) * float(floor[:-1]) / 100 if floor.endswith("%") else float(floor)


def exact(value: float, same_machine: bool) -> Tolerance:
    """Of a score that no training moves."""
    if same_machine:
        return Tolerance(1e-9 + 1e-9 * abs(value), "exact, same machine")
    return Tolerance(1e-6 + 1e-5 * abs(value), "exact, another machine")


def seeded(value: float) -> Tolerance:
    """Of a tiny run with the reference's seed, on the machine of the reference."""
    return Tolerance(1e-9 + 1e-6 * abs(value), "seeded, same machine and seed")


def statistical(reference: Mean, new: Mean, floor: str) -> Tolerance:
    """Of a mean over seeds."""
    stored = len(reference.values)
    smallest = floor_at(floor, statistics.fmean(reference.values))
    if stored >= FEWEST_SEEDS:
        deviation = statistics.stdev(reference.values)
        spread = spread_factor(stored, len(new.values)) * deviation
        rule = f"{stored} seeds, sd {deviation:.3g}"
        if spread >= smallest:
            return Tolerance(spread, f"statistical, {rule}")
        return Tolerance(smallest, f"statistical, floor {floor} ({rule})")
    rule = f"statistical, only {stored} seed{'s' if stored > 1 else ''} stored"
    errors = [mean.stderr for mean in (reference, new) if mean.stderr is not None]
    if len(errors) == 2:
        scatter = statistics.NormalDist().inv_cdf(1 - ALARMS) * math.hypot(*errors)
        if scatter >= WITHOUT_SEEDS * smallest:
            return Tolerance(scatter, f"{rule}: standard error over items")
    wide = f"{rule}: {WITHOUT_SEEDS:g} times the floor {floor}"
    return Tolerance(WITHOUT_SEEDS * smallest, wide)


@functools.cache
def spread_factor(stored: int, new: int) -> float:
    """Standard deviations by which the mean of `new` seeds may fall below that of `stored` ones.

    The one-sided prediction limit of a mean, Hahn and Meeker, Statistical Intervals, section 4.8.
    """
    from scipy import stats

    return float(stats.t.ppf(1 - ALARMS, stored - 1) * (1 / stored + 1 / new) ** 0.5)
