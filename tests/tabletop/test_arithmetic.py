"""Sums of captions: which there are, and what is right of a picture."""

import pytest
import torch

from benchmarks.tabletop import arithmetic, evaluator
from benchmarks.tabletop import captions as words
from benchmarks.tabletop.making.measure import pictures_of
from benchmarks.tabletop.scenes import HELD_OUT_PAIRS, scenes_of


@pytest.mark.parametrize(("kind", "number"), [("add", 756), ("subtract", 756), ("combine", 240)])
def test_sums_are_true_of_trained_pairs_and_the_first_always_the_same(kind, number):
    every = arithmetic.sums(kind, 1000)
    assert len({one.texts for one in every}) == number
    assert every[:5] == arithmetic.sums(kind, 5)
    for one in every:
        texts = *one.texts, one.shown.text
        *terms, shown = ([g.what for g in words.parse(text).groups] for text in texts)
        assert not {(what.color, what.shape) for what in shown + terms[0]} & {*HELD_OUT_PAIRS}
        if kind == "add":
            assert shown == terms[0] + terms[1]
        elif kind == "subtract":
            assert (shown + terms[1], one.gone.text) == (terms[0], one.texts[1])
        else:  # start - minus + plus, word by word
            start, minus, plus = ({*what} - {None} for (what,) in terms)
            assert {*shown[0]} - {None} == start - minus | plus
            assert shown != terms[0]


def test_what_was_taken_away_must_be_gone():
    two = next(scene for scene in scenes_of("iid", 50) if len(scene.solids) == 2)
    picture = pictures_of([two], 64)
    said = [f"a {solid.color} {solid.shape}" for solid in two.solids] + ["five objects"]
    first, other, absent = (words.Caption(text, "", words.parse(text)) for text in said)
    assert first != other
    asked = [(first, None), (first, absent), (first, other), (absent, None)]
    sums = [arithmetic.Sum((), *each) for each in asked]
    assert arithmetic.judged(torch.cat([picture] * 4), sums, evaluator.load()) == [1, 1, 0, 0]
