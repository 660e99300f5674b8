"""Student's t over training seeds: intervals, the paired test, detectable effects; and margins.

Quantiles come from scipy.special, which loads ten times as fast as scipy.stats; tests hold every
function against scipy.stats and statsmodels. Seeds of two arms are paired: both saw the same rows
in the same order, so what a seed does to both leaves their difference. Differences are taken as
independent and normal, which five of them cannot test; a failed seed widens the interval.
"""

from __future__ import annotations

import csv
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROUNDING = 1e-12  # below this share of the values, a spread is rounding and no spread
ALPHA = 0.05
POWER = 0.8
MARGINS = Path(__file__).with_name("margins.csv")


@dataclass(frozen=True)
class Paired:
    """What the seeds of two arms say about their difference, positive where ours is better."""

    seeds: int  # number of them
    difference: float
    sd: float | None  # of the differences; None for one seed
    reference: float  # mean of the other arm over these seeds
    moves: bool  # whether either arm's value depends on the seed at all

    @property
    def interval(self) -> tuple[float, float] | None:
        """90 % interval of the difference: inside (-m, m) it is the two one-sided tests at 5 %."""
        return None if self.sd is None else interval(self.difference, self.sd, self.seeds, 0.90)

    @property
    def p(self) -> float | None:
        """Two-sided paired t test against no difference; its limit where there is no spread."""
        from scipy.special import stdtr

        if self.sd is None:
            return None
        if self.sd == 0:
            return 0.0 if self.difference else 1.0
        t = self.difference / (self.sd / math.sqrt(self.seeds))
        return float(2 * stdtr(self.seeds - 1, -abs(t)))

    @property
    def detectable(self) -> float | None:
        """The smallest true difference that the test finds in 80 % of repetitions, alpha 0.05.

        Computed from the spread that was seen, which is itself uncertain with few seeds, and
        before the correction for several tasks.
        """
        return None if self.sd is None else _effect_size(self.seeds) * self.sd


def paired(ours: Mapping[int, float], theirs: Mapping[int, float], better: str) -> Paired | None:
    """Values by seed of two arms -> their paired difference; None where they share no seed."""
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return None
    sign = 1 if better == "higher" else -1
    one, other = [ours[seed] for seed in common], [theirs[seed] for seed in common]
    differences = [sign * (a - b) for a, b in zip(one, other, strict=True)]
    rounding = ROUNDING * max(map(abs, one + other))
    sd, mean = deviation(differences), statistics.fmean(differences)
    if sd is not None and sd <= rounding:
        sd, mean = 0.0, 0.0 if abs(mean) <= rounding else mean
    moves = any(max(values) - min(values) > rounding for values in (one, other))
    return Paired(len(common), mean, sd, statistics.fmean(other), moves)


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds (n - 1); None for one. Committed files have its last digit."""
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def of_mean(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean over seeds; None for one seed."""
    sd = deviation(values)
    return None if sd is None else interval(statistics.fmean(values), sd, len(values), 0.95)


def interval(mean: float, sd: float, n: int, level: float) -> tuple[float, float]:
    """Two-sided interval of a mean of n > 1 values with this mean and standard deviation."""
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, (1 + level) / 2)) * sd / math.sqrt(n)
    return mean - half, mean + half


@lru_cache
def _effect_size(n: int) -> float:
    """Smallest mean, in standard deviations, that a t test of n > 1 values detects: see POWER."""
    from statsmodels.stats.power import TTestPower

    return float(TTestPower().solve_power(None, nobs=n, alpha=ALPHA, power=POWER))


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted by Holm's step-down method: compare them with ALPHA.

    A test holds it against statsmodels' multipletests, which collects garbage at every call.
    """
    order = sorted(range(len(p)), key=p.__getitem__)
    adjusted, largest = [0.0] * len(p), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - place) * p[index]))
        adjusted[index] = largest
    return adjusted


@lru_cache
def margins() -> dict[str, tuple[float, str]]:
    """(margin, absolute or relative) by metric; `fid@*` stands for any number of samples."""
    with MARGINS.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    return {line["metric"]: (float(line["margin"]), line["kind"]) for line in lines}


def margin_of(metric: str, reference: float) -> float | None:
    """The smallest difference that is worth a word, given the mean of the reference arm.

    None where margins.csv has none. A margin chosen after the numbers are known can make any two
    arms equivalent, or any one better; that is why it is a committed file and no option.
    """
    known = margins()
    margin, kind = known.get(metric) or known.get(re.sub(r"@\d+$", "@*", metric)) or (None, "")
    return margin * abs(reference) if margin and kind == "relative" else margin
