"""Captions that differ from a true one in a single thing and are false for the scene.

A scorer that reads a picture must flip its verdict between the two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from random import Random

from benchmarks.tabletop.captions import Caption, captions, say
from benchmarks.tabletop.evaluator import ATTRIBUTES
from benchmarks.tabletop.facts import SIZES, Group, Statement, detections_of, holds
from benchmarks.tabletop.scenes import MAX_SOLIDS, Scene

_CHOICES = ATTRIBUTES | {"size": SIZES}
_REVERSED = {"left of": "right of", "in front of": "behind"}
_REVERSED |= {value: key for key, value in _REVERSED.items()}
_SALT = 0x3A1F


def minimal_pairs(scene: Scene) -> list[tuple[Caption, Caption, str]]:
    """A true caption, a false one and the kind of change between them: one of each kind, if any.

    A function of the scene alone. Partners that happen to be true as well are left out.
    """
    rng, truth, pairs = Random(scene.index * 1_000_003 + _SALT), detections_of(scene), []
    for caption in captions(scene):
        by_change: dict[str, list[Statement]] = defaultdict(list)
        for change, changed in _changed(caption.statement):
            if not holds(changed, truth):
                by_change[change].append(changed)
        for change, options in by_change.items():
            false = rng.choice(options)
            pairs.append((caption, Caption(say(false), caption.level, false), change))
    return pairs


def _changed(statement: Statement) -> Iterator[tuple[str, Statement]]:
    """All statements that differ in one property, number, binding or relation."""
    groups = statement.groups

    def with_groups(changed: dict[int, Group]) -> Statement:
        return replace(statement, groups=tuple(changed.get(k, g) for k, g in enumerate(groups)))

    def of(group: Group, **words: str) -> Group:
        return replace(group, what=group.what._replace(**words))

    for place, group in enumerate(groups):
        for name, choices in _CHOICES.items():
            for word in choices:
                if getattr(group.what, name) not in (None, word):
                    yield name, with_groups({place: of(group, **{name: word})})
        if group.count is not None:
            for number in (group.count - 1, group.count + 1):
                if 1 <= number <= MAX_SOLIDS:
                    yield "count", with_groups({place: replace(group, count=number)})
    for i, j in combinations(range(len(groups)), 2):
        a, b = groups[i].what.color, groups[j].what.color
        if a is not None and b is not None and a != b:
            yield "binding", with_groups({i: of(groups[i], color=b), j: of(groups[j], color=a)})
    if statement.relation is not None:
        yield "relation", replace(statement, relation=_REVERSED[statement.relation])
