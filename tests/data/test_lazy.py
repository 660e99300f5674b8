"""Arrays on demand behave like a list of them, and are made anew each time."""

import numpy as np
import pytest

from benchmarks.data.lazy import OnDemand


def test_it_is_a_sequence():
    asked = []

    def make(index):
        asked.append(index)
        return np.full((1, 2), index)

    three = OnDemand(make, 3)
    assert len(three) == 3
    assert three[-1].tolist() == [[2, 2]]
    assert [part[0, 0] for part in three[::-2]] == [2, 0]
    assert [part[0, 0] for part in three] == [0, 1, 2]
    assert asked == [2, 2, 0, 0, 1, 2]
    for outside in (3, -4):
        with pytest.raises(IndexError):
            three[outside]
