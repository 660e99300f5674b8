"""Shapes that cannot work are told in one line."""

from dataclasses import replace

import pytest

from crossflow.errors import InputError
from crossflow.problem import MapShape, Problem, TokenShape

MAP = MapShape(2, 8, 8)
PROBLEM = Problem(MapShape(3, 8, 8), MAP, 4, "variational", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"encoder": "varational"},
            r"encoder 'varational' is none of \('variational', 'identity'\)",
        ),
        ({"charge": "kl"}, "charge 'kl' is none of"),
        ({"null_rate": 1.0}, r"null_rate is 1\.0"),
        ({"patch": 5}, "target of 8 x 8: give multiples of 5"),
        ({"source": MapShape(3, 16, 16)}, "one height and width"),
        ({"encoder": "identity"}, "the identity encoder needs one shape"),
    ],
)
def test_shapes_that_cannot_work_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(PROBLEM, **change)


def test_tokens_are_words_or_features():
    assert TokenShape(6, vocabulary=9).sizes == (6,)
    assert TokenShape(6, width=4).sizes == (6, 4)
    for both in ({}, {"vocabulary": 9, "width": 4}):
        with pytest.raises(ValueError, match="exactly one"):
            TokenShape(6, **both)
