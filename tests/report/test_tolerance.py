"""How far a score may fall: the rates that the docstring promises, and the floors."""

import numpy as np
import pytest

from benchmarks.report import tolerance
from benchmarks.report.tolerance import ALARMS, Mean


@pytest.mark.parametrize(("stored", "new"), [(3, 1), (3, 3), (5, 1), (5, 5), (8, 3)])
def test_an_unchanged_score_alarms_once_in_a_thousand(stored, new):
    random, draws = np.random.default_rng(stored * 10 + new), 400_000
    old = random.standard_normal((draws, stored))
    gap = random.standard_normal((draws, new)).mean(1) - old.mean(1)
    allowed = tolerance.spread_factor(stored, new) * old.std(1, ddof=1)
    rate = float((gap > allowed).mean())
    error = (ALARMS * (1 - ALARMS) / draws) ** 0.5
    assert abs(rate - ALARMS) < 4 * error


def test_the_losses_the_docstring_says_are_noticed():
    assert tolerance.spread_factor(3, 3) == pytest.approx(18, abs=0.5)
    assert tolerance.spread_factor(5, 5) == pytest.approx(4.5, abs=0.1)
    assert pytest.approx(0.09, abs=0.005) == 1 - (1 - ALARMS) ** 90


def test_the_rule_of_several_seeds():
    stored = Mean([0.5, 0.52, 0.54, 0.56, 0.58], 0.01)
    found = tolerance.statistical(stored, Mean([0.5], 0.01), "1%")
    # t(0.999, 4) = 7.1732, from a table of Student's distribution.
    assert found.value == pytest.approx(7.1732 * np.std(stored.values, ddof=1) * 1.2**0.5, rel=1e-4)
    assert "5 seeds" in found.rule
    raised = tolerance.statistical(stored, Mean([0.5], 0.01), "0.9")
    assert raised.value == 0.9
    assert "floor 0.9" in raised.rule


def test_the_rule_of_one_seed():
    by_items = tolerance.statistical(Mean([0.5], 0.03), Mean([0.4], 0.04), "1%")
    assert by_items.value == pytest.approx(3.0902 * 0.05, rel=1e-4)
    by_floor = tolerance.statistical(Mean([0.5], 0.0003), Mean([0.4], 0.0004), "1%")
    assert by_floor.value == pytest.approx(5 * 0.005)
    unknown = tolerance.statistical(Mean([-20.0], None), Mean([0.4, 1.0], 0.1), "2%")
    assert unknown.value == pytest.approx(5 * 0.4)
    assert "only 1 seed stored" in unknown.rule


def test_two_seeds_count_as_too_few():
    assert "only 2 seeds" in tolerance.statistical(Mean([1, 2], 0.1), Mean([1], 0.1), "1%").rule


def test_exact_and_seeded_are_tight():
    assert tolerance.exact(0.0, True).value == 1e-9
    assert tolerance.exact(20.0, True).value < 1e-7 < tolerance.exact(20.0, False).value < 1e-3
    assert tolerance.seeded(20.0).value < 1e-4


@pytest.mark.parametrize(
    ("metric", "floor"),
    [
        ("scene_score/L1", "0.005"),
        ("delta1", "0.005"),
        ("delta1_affine", "0.005"),
        ("cider", "0.02"),
        ("clip_vitb32_openai_cos", "0.002"),
        ("psnr_y", "0.1"),
        ("fid@30000", "2%"),
        ("kid_tabletop@1000", "2%"),
        ("absrel_object", "1%"),
        ("lpips_alex", "1%"),
    ],
)
def test_floors(metric, floor):
    assert tolerance.default_floor(metric) == floor


@pytest.mark.parametrize("floor", ["", "-1", "nan", "1 %", "%", "1e-3", "inf%"])
def test_a_floor_that_is_none(floor):
    with pytest.raises(ValueError, match="must be a number such as"):
        tolerance.floor_at(floor, 1.0)
