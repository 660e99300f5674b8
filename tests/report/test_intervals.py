"""The statistics: equal to the libraries', and right in repeated experiments.

The experiments draw differences of a known truth and judge them as the leaderboard does. Bounds
are four standard errors of the simulation: a correct program fails one in ten thousand of them.
"""

import csv
import functools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import multitest, power, weightstats

from benchmarks.config import registry
from benchmarks.config.schema import Config
from benchmarks.report import intervals
from benchmarks.report.leaderboard import Comparison, settle
from benchmarks.report.rows import Row

VALUES = {0: 12.31, 1: 12.05, 2: 12.47, 3: 12.20, 4: 12.60}
OTHERS = {0: 12.11, 1: 12.00, 2: 12.17, 4: 12.35, 5: 99.0}
COMMON = (0, 1, 2, 4)
REPETITIONS = 1500
TASKS = 4
SEEDS = (3, 5, 8)
FAIR = SimpleNamespace(fair={"budget_kind": "flops"})
ARMS = [
    Row("crossflow", "arm", [SimpleNamespace(method="crossflow", task=t, score_key="", fair=FAIR)])
    for t in map(str, range(TASKS))
]
REFERENCE = Row("flow_matching", "arm", [SimpleNamespace(method="flow_matching")])


def test_the_interval_of_a_mean_is_scipys():
    values = list(VALUES.values())
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = intervals.interval(np.mean(values), intervals.deviation(values), len(values), 0.95)
    assert found == pytest.approx(tuple(expected), rel=1e-12)
    assert intervals.deviation(values[:1]) is None


def test_the_paired_test_is_scipys_over_common_seeds():
    ours, theirs = ([values[seed] for seed in COMMON] for values in (VALUES, OTHERS))
    found = intervals.paired(VALUES, OTHERS, "higher")
    expected = stats.ttest_rel(ours, theirs)
    assert found.seeds == len(COMMON)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.90)), rel=1e-9)
    assert found.reference == pytest.approx(np.mean(theirs))


def test_positive_means_better_whichever_way_the_metric_points():
    up, down = (intervals.paired(VALUES, OTHERS, better) for better in ("higher", "lower"))
    assert up.difference > 0 > down.difference
    assert up.p == down.p


@pytest.mark.parametrize("margin", [0.05, 0.2, 0.4])
def test_inside_the_margin_is_the_two_one_sided_tests(margin):
    ours, theirs = (np.array([v[seed] for seed in COMMON]) for v in (VALUES, OTHERS))
    p = weightstats.ttost_paired(ours, theirs, -margin, margin)[0]
    low, high = intervals.paired(VALUES, OTHERS, "higher").interval
    assert (-margin < low and high < margin) == (p < 0.05)


@pytest.mark.parametrize("seeds", [2, 5, 8])
def test_the_detectable_effect_has_the_power_it_claims(seeds):
    ours = {seed: float(seed % 3) for seed in range(seeds)}
    theirs = dict.fromkeys(range(seeds), 0.0)
    found = intervals.paired(ours, theirs, "higher")
    effect = found.detectable / np.std(list(ours.values()), ddof=1)
    assert power.TTestPower().power(effect, seeds, 0.05) == pytest.approx(0.8, abs=1e-6)


def test_no_common_seed_and_one_common_seed():
    assert intervals.paired({0: 1.0}, {1: 1.0}, "higher") is None
    one = intervals.paired({0: 1.5}, {0: 1.0}, "higher")
    assert (one.difference, one.interval, one.p, one.detectable) == (0.5, None, None, None)


def test_no_spread():
    rising = {seed: 0.1 * seed for seed in range(5)}
    shifted = {seed: value + 0.3 for seed, value in rising.items()}
    found = intervals.paired(shifted, rising, "higher")
    assert (found.detectable, found.p, found.moves) == (0.0, 0.0, True)
    assert found.interval == pytest.approx((0.3, 0.3))
    assert intervals.paired(rising, rising, "higher").p == 1.0
    still = dict.fromkeys(range(5), 0.25)
    assert not intervals.paired(still, still, "higher").moves


@pytest.mark.parametrize("size", [1, 4, 9])
def test_holm_is_statsmodels(size):
    random = np.random.default_rng(size)
    for p in (random.random(size), random.random(size) ** 4, np.full(size, 0.02)):
        expected = multitest.multipletests(p, 0.05, method="holm")[1]
        assert intervals.holm(p.tolist()) == pytest.approx(expected.tolist())


def judged(truth, sd, seeds, margin):
    """REPETITIONS families of TASKS comparisons with this true difference and spread."""
    random = np.random.default_rng(seeds)
    base = random.normal(1.0, 1.0, (REPETITIONS, TASKS, seeds))
    ours = base + random.normal(truth, sd, base.shape)
    found = []
    for one, other in zip(ours.tolist(), base.tolist(), strict=True):
        family = [
            Comparison(
                arm=ARMS[task],
                reference=REFERENCE,
                metric="x",
                better="higher",
                values={},
                numbers=intervals.paired(
                    dict(enumerate(one[task])), dict(enumerate(other[task])), "higher"
                ),
                margin=margin,
            )
            for task in range(TASKS)
        ]
        settle(family)
        found.append(family)
    return found


@functools.cache
def equal(seeds):
    """Arms that do not differ; a margin so narrow that it decides nothing."""
    return judged(0.0, 1.0, seeds, 1e-9)


@functools.cache
def at_the_margin(seeds):
    """Arms that differ by the margin exactly, measured well enough to be called either way."""
    return judged(1.0, 0.1, seeds, 1.0)


def bound(rate, count):
    return 4 * math.sqrt(rate * (1 - rate) / count)


def share(families, *words):
    """Of all comparisons."""
    return np.mean([[one.verdict in words for one in family] for family in families])


@pytest.mark.parametrize("seeds", SEEDS)
def test_intervals_cover_the_truth_as_often_as_they_say(seeds):
    covered = [
        low <= 0 <= high
        for family in equal(seeds)
        for low, high in [one.numbers.interval for one in family]
    ]
    assert np.mean(covered) == pytest.approx(0.90, abs=bound(0.90, len(covered)))
    narrow = [
        low <= 1 <= high
        for family in at_the_margin(seeds)
        for low, high in [one.numbers.interval for one in family]
    ]
    assert np.mean(narrow) == pytest.approx(0.90, abs=bound(0.90, len(narrow)))


@pytest.mark.parametrize("seeds", SEEDS)
def test_p_values_are_uniform_where_arms_do_not_differ(seeds):
    p = [one.numbers.p for family in equal(seeds) for one in family]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=bound(0.05, len(p)))


@pytest.mark.parametrize("seeds", [5, 8])
def test_equal_arms_get_a_direction_in_one_family_of_twenty(seeds):
    families = equal(seeds)
    wrong = np.mean([any(one.verdict in ("better", "worse") for one in f) for f in families])
    nominal = 1 - (1 - 0.05 / TASKS) ** TASKS
    assert wrong == pytest.approx(nominal, abs=bound(nominal, len(families)))
    uncorrected = np.mean([any(one.numbers.p <= 0.05 for one in f) for f in families])
    assert uncorrected > 2 * nominal, "without Holm this test would fail"


@pytest.mark.parametrize("seeds", [5, 8])
def test_arms_at_the_margin_get_each_word_at_most_once_in_twenty(seeds):
    families = at_the_margin(seeds)
    allowed = 0.05 + bound(0.05, len(families) * TASKS)
    assert share(families, "equivalent") <= allowed
    assert share(families, "better") <= allowed
    assert share(families, "equivalent", "better") > 0.05, "both limits are reached, none is idle"
    assert share(families, "worse") == 0


@pytest.mark.parametrize("seeds", [5, 8])
def test_what_is_clear_is_said(seeds):
    assert share(judged(3.0, 0.1, seeds, 1.0), "better") > 0.99
    assert share(judged(-3.0, 0.1, seeds, 1.0), "worse") > 0.99
    assert share(judged(0.0, 0.1, seeds, 1.0), "equivalent") > 0.99


@pytest.mark.parametrize("task", sorted(registry.tasks()))
def test_every_primary_score_has_a_margin(task):
    for items in (256, 1000, 30_000):
        primary = registry.load_task(task)(Config()).primary(items)
        assert intervals.margin_of(primary, 1.0) is not None, primary


def test_every_margin_is_fixed_for_a_score_of_the_contract_with_a_reason():
    assert set(intervals.margins()) == {
        *("scene_score", "scene_f1", "absrel_object", "absrel", "kid_tabletop@*", "kid@*"),
        *("fid@*", "psnr_y", "cider", "geneval_overall"),
    }
    with intervals.MARGINS.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            assert line["kind"] in ("absolute", "relative")
            assert float(line["margin"]) > 0
            assert line["reason"].strip()


def test_a_protocol_number_is_covered_and_another_extractor_is_not(tmp_path, monkeypatch):
    file = tmp_path / "margins.csv"
    head = "metric,margin,kind,reason"
    file.write_text(f"{head}\nfid@*,0.1,relative,x\nfid@50000,0.5,absolute,x\n")
    monkeypatch.setattr(intervals, "MARGINS", file)
    monkeypatch.setattr(intervals, "margins", intervals.margins.__wrapped__)
    assert intervals.margin_of("fid@30000", -20.0) == pytest.approx(2.0)
    assert intervals.margin_of("fid@50000", -20.0) == 0.5
    for other in ("fid", "fid_tabletop@30000", "xfid@30000", "fid@30000/L1"):
        assert intervals.margin_of(other, 1.0) is None
