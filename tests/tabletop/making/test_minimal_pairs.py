"""Minimal pairs: one thing changed, and false."""

from __future__ import annotations

from collections import Counter

from benchmarks.tabletop.captions import captions, verdict
from benchmarks.tabletop.facts import detections_of
from benchmarks.tabletop.making.minimal_pairs import CHANGES, minimal_pairs
from benchmarks.tabletop.parser import parse, tokens_of
from benchmarks.tabletop.scenes import indices, scene


def test_pairs_differ_in_one_thing_and_flip_the_verdict() -> None:
    changes: Counter[str] = Counter()
    for index in indices("iid", 150):
        one = scene(int(index))
        truth, said = detections_of(one), captions(one)
        for pair in minimal_pairs(one):
            changes[pair.change] += 1
            assert pair.true in said
            assert verdict(pair.true, truth)
            assert not verdict(pair.false, truth)
            assert parse(pair.false.text) == pair.false.statement
            a, b = (set(tokens_of(c.text)) for c in (pair.true, pair.false))
            # A binding swaps two colours; a number may change the noun's ending too.
            most = {"binding": 0, "count": 2, "relation": 3}.get(pair.change, 1)
            assert len(a - b) <= most
    assert set(changes) == set(CHANGES)
    assert min(changes.values()) > 30
    assert minimal_pairs(scene(3)) == minimal_pairs(scene(3))
