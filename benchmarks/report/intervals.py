"""Student's t over training seeds: intervals, the paired test, detectable effects; and margins.

Seeds of two arms are paired: both saw the same rows in the same order. Their differences count as
independent and normal.
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
MARGINS = Path(__file__).with_name("margins.csv")
# A drawn source has collapsed where its draws and its means over rows together spread less than
# half as far as noise, or where the means hardly depend on the row. Chosen on the validation
# statistics of the first records: true of sigma 0.27 with std(mu) 0.34 (text to image, which was
# not read), not of 0.67 with 0.45 (depth, which was).
LEAST_SPREAD, LEAST_MEAN = 0.5, 0.1


@dataclass(frozen=True)
class Paired:
    """What the seeds of two arms say about their difference, positive where ours is better."""

    seeds: int  # number of them
    difference: float
    reference: float  # mean of the other arm over these seeds
    moves: bool  # whether either arm's value depends on the seed at all
    # None for one seed:
    interval: tuple[float, float] | None = None  # 90 %
    p: float | None = None  # two-sided paired t test; its limit where there is no spread
    detectable: float | None = None  # true difference found in 80 % of repetitions, by this spread


def paired(ours: Mapping[int, float], theirs: Mapping[int, float], better: str) -> Paired | None:
    """Values by seed of two arms -> their paired difference; None where they share no seed."""
    from scipy.special import stdtr

    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return None
    n, sign = len(common), 1 if better == "higher" else -1
    one, other = [ours[seed] for seed in common], [theirs[seed] for seed in common]
    differences = [sign * (a - b) for a, b in zip(one, other, strict=True)]
    rounding = ROUNDING * max(map(abs, one + other))
    sd, mean = deviation(differences), statistics.fmean(differences)
    moves = any(max(values) - min(values) > rounding for values in (one, other))
    if sd is None:
        return Paired(n, mean, statistics.fmean(other), moves)
    if sd <= rounding:
        sd, mean = 0.0, 0.0 if abs(mean) <= rounding else mean
    t = abs(mean) / (sd / math.sqrt(n)) if sd else math.inf if mean else 0.0
    p, found = float(2 * stdtr(n - 1, -t)), _effect_size(n) * sd
    return Paired(n, mean, statistics.fmean(other), moves, interval(mean, sd, n, 0.90), p, found)


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds (n - 1); None for one. Committed files have its last digit."""
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def interval(mean: float, sd: float, n: int, level: float) -> tuple[float, float]:
    """Two-sided interval of a mean of n > 1 values with this mean and standard deviation."""
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, (1 + level) / 2)) * sd / math.sqrt(n)
    return mean - half, mean + half


@lru_cache
def _effect_size(n: int) -> float:
    """Smallest mean, in standard deviations, that a t test of n > 1 values detects."""
    from statsmodels.stats.power import TTestPower

    return float(TTestPower().solve_power(None, nobs=n, alpha=ALPHA, power=0.8))


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted by Holm's step-down method: compare them with ALPHA."""
    import numpy as np

    order, adjusted = np.argsort(p, kind="stable"), np.empty(len(p))
    scaled = np.sort(p) * np.arange(len(p), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]


@lru_cache
def margins() -> dict[str, dict[str, str]]:
    """Rows by metric; `fid@*` stands for any number of samples. No option: a margin chosen after
    the numbers are known decides them."""
    with MARGINS.open(encoding="utf-8", newline="") as stream:
        return {line["metric"]: line for line in csv.DictReader(stream)}


def has_collapsed(sigma: float, mean: float) -> bool:
    """Whether a source is one that is learned and drawn (sigma and the deviation of its means over
    rows, both above 0), and has shrunk to a point or forgotten what it encodes."""
    drawn = sigma > 0 and mean > 0
    return drawn and (math.hypot(sigma, mean) < LEAST_SPREAD or mean < LEAST_MEAN)


def margin_of(metric: str, reference: float) -> float | None:
    """The smallest difference that is worth a word, given the reference arm's mean; or None."""
    line = margins().get(metric) or margins().get(re.sub(r"@\d+$", "@*", metric))
    if line is None:
        return None
    return float(line["margin"]) * (abs(reference) if line["kind"] == "relative" else 1.0)
