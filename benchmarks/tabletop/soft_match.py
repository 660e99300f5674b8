"""The image-text score: how probable is what a caption states, given uncertain detections.

The verdict of facts.py says yes or no to a whole caption. This score is its soft companion, made
for comparing pictures that all fail: the mean over the stated facts of the probability that each
holds. Sightings are taken as independent; sizes, places and depths are taken as read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from benchmarks.tabletop.facts import (
    VERIFY_SIZE,
    Description,
    Detection,
    Fact,
    Statement,
    related,
    size_words,
)
from benchmarks.tabletop.scenes import COLORS, MATERIALS, SHAPES


@dataclass(frozen=True)
class Sighting:
    """A possible solid: its most probable reading, and the probabilities of each attribute."""

    best: Detection
    shape: Float[np.ndarray, " shapes"]
    color: Float[np.ndarray, " colors"]
    material: Float[np.ndarray, " materials"]


def statement_probability(statement: Statement, seen: Sequence[Sighting]) -> float:
    """Mean probability, 0..1, of the facts of a statement."""
    facts = statement.facts
    return sum(fact_probability(fact, seen) for fact in facts) / len(facts)


def fact_probability(fact: Fact, seen: Sequence[Sighting]) -> float:
    """Probability that one fact holds: existence, an exact number, or a relation."""
    chances = fit_probabilities(fact.what, seen)
    if fact.kind == "object":
        return float(1 - np.prod(1 - chances))
    if fact.kind == "count":
        assert isinstance(fact.value, int)
        return _exactly(fact.value, chances)
    assert isinstance(fact.value, str)
    assert fact.other is not None
    others = fit_probabilities(fact.other, seen)
    pairs = [
        chances[i] * others[j]
        for i, first in enumerate(seen)
        for j, second in enumerate(seen)
        if i != j and related(first.best, second.best, fact.value)
    ]
    return float(max(pairs, default=0.0))


def fit_probabilities(what: Description, seen: Sequence[Sighting]) -> Float[np.ndarray, " k"]:
    """Of every sighting, the probability that it is there and fits the description."""
    sizes = size_words([s.best.size for s in seen], VERIFY_SIZE)
    chances = np.array([s.best.confidence for s in seen], np.float64)
    for k, one in enumerate(seen):
        if what.shape is not None:
            chances[k] *= one.shape[SHAPES.index(what.shape)]
        if what.color is not None:
            chances[k] *= one.color[COLORS.index(what.color)]
        if what.material is not None:
            chances[k] *= one.material[MATERIALS.index(what.material)]
        if what.size is not None and what.size != sizes[k]:
            chances[k] = 0.0
    return chances


def _exactly(count: int, chances: Float[np.ndarray, " k"]) -> float:
    """Probability that exactly `count` of independent events happen (Poisson binomial)."""
    of = np.zeros(len(chances) + 2)
    of[0] = 1.0
    for chance in chances:
        of[1:] = of[1:] * (1 - chance) + of[:-1] * chance
        of[0] *= 1 - chance
    return float(of[count]) if count < len(of) else 0.0
