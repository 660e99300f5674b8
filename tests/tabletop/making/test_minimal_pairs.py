"""Minimal pairs: one thing changed, and false."""

from collections import Counter

from benchmarks.tabletop.captions import captions, parse, tokens_of
from benchmarks.tabletop.facts import detections_of, holds
from benchmarks.tabletop.making.minimal_pairs import minimal_pairs
from benchmarks.tabletop.scenes import scenes_of

CHANGES = {"shape", "color", "material", "size", "count", "binding", "relation"}


def test_pairs_differ_in_one_thing_and_flip_the_verdict():
    changes = Counter()
    for drawn in scenes_of("iid", 150):
        truth, five = detections_of(drawn), captions(drawn)
        assert minimal_pairs(drawn) == minimal_pairs(drawn)
        for true, false, change in minimal_pairs(drawn):
            changes[change] += 1
            assert true in five
            assert holds(true.statement, truth) and not holds(false.statement, truth)
            assert parse(false.text) == false.statement
            a, b = (set(tokens_of(caption.text)) for caption in (true, false))
            # A binding swaps two colours; a number may change the noun's ending too.
            assert len(a - b) <= {"binding": 0, "count": 2, "relation": 3}.get(change, 1)
    assert set(changes) == CHANGES
    assert min(changes.values()) > 30
