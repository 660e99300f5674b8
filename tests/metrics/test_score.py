"""The shape of a result: means, standard errors and what may not become a score."""

import math
import time

import numpy as np
import pytest

from benchmarks.metrics.score import Score, Scored, mean_score, merge, per_item


def test_mean_and_standard_error():
    # accuracy items of EleutherAI/lm-evaluation-harness, lm_eval/api/metrics.py:318
    score = mean_score([1, 0, 1, 1, 0, 1, 0, 1, 1, 1], "higher")
    assert score.value == pytest.approx(0.7, rel=1e-12)
    assert score.stderr == pytest.approx(0.15275252316519466, rel=1e-12)
    assert (score.n, score.better) == (10, "higher")


def test_what_is_left_out_and_what_is_no_score():
    assert mean_score([1.0, None, 3.0], "lower") == mean_score([1.0, 3.0], "lower")
    assert mean_score([0.5], "lower") == Score(0.5, None, 1, "lower"), "one has no standard error"
    score = Score(np.float32(0.5), np.float64(0.25), np.int64(3), "lower")
    assert [type(v) for v in (score.value, score.stderr, score.n)] == [float, float, int]
    for values in ([], [None, None]):
        with pytest.raises(ValueError, match="no values"):
            mean_score(values, "lower")
    for value in (math.nan, math.inf, -math.inf):
        for given in ((value, None), (1.0, value)):
            with pytest.raises(ValueError, match="finite"):
                Score(*given, 3, "lower")


def test_merge_refuses_contradictions():
    one = Scored({"a": Score(1.0, None, 1, "lower")}, {"id": ["x"]}, {"b": "why"}, {"c": 2})
    two = Scored({"d": Score(2.0, None, 1, "lower")}, {"id": ["x"], "d": [2.0]})
    both = merge([one, two])
    assert (set(both.scores), both.items) == ({"a", "d"}, {"id": ["x"], "d": [2.0]})
    assert (both.unavailable, both.counts) == ({"b": "why"}, {"c": 2})
    with pytest.raises(ValueError, match="computed twice"):
        merge([one, one])
    with pytest.raises(ValueError, match="computed twice: id"):
        merge([one, Scored({}, {"id": ["y"]})])


def test_items_come_in_their_order_and_errors_in_their_turn():
    def late_first(number):
        time.sleep(0.002 * (7 - number % 7))
        return number * number

    assert per_item(late_first, 20) == [i * i for i in range(20)]

    def fail(number):
        if number == 2:
            time.sleep(0.02)  # the later error is met first
        if number in (2, 3):
            raise ValueError(f"item {number}")

    with pytest.raises(ValueError, match="item 2"):
        per_item(fail, 100)
