"""How guidance is chosen: the same grid for every arm, grown until the best lies inside it."""

import pytest

from benchmarks.match.sampling import GUIDANCE, HIGHEST, LOWEST, Trial, choose_guidance, item_number
from benchmarks.metrics.score import Score


def chosen(value, better="higher"):
    return choose_guidance(lambda w: Trial(w, 8, 16, Score(value(w), None, 4, better)))


def test_the_best_inside_the_grid():
    best, trials = chosen(lambda w: -abs(w - 2.2))
    assert best == 2
    assert [trial.guidance for trial in trials] == sorted(GUIDANCE)


@pytest.mark.parametrize("optimum", [7.0, 0.6])
def test_the_grid_grows_until_the_best_is_inside(optimum):
    best, trials = chosen(lambda w: abs(w - optimum), "lower")
    weights = [trial.guidance for trial in trials]
    assert min(weights) < best < max(weights) or best == LOWEST
    assert abs(best - optimum) == min(abs(w - optimum) for w in weights)


def test_the_grid_ends_somewhere():
    best, _ = chosen(lambda w: w)
    assert 1 < best <= HIGHEST
    assert chosen(lambda w: -w)[0] == LOWEST


def test_among_equals_one_evaluation_is_enough():
    assert chosen(lambda w: 0.0)[0] == 1


def test_an_items_number_depends_on_its_name_alone():
    assert item_number("bathroom/rgb_00045") == item_number("bathroom/rgb_00045")
    assert len({item_number(str(i)) for i in range(1000)}) == 1000
