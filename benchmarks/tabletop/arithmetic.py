"""Sums of captions, and what a picture of each must show (CrossFlow section 5.1.3, Table 8).

    add       "a red cube" + "a blue sphere"                    both are there
    subtract  "a red cube and a blue sphere" - "a blue sphere"  the cube is there, no blue sphere
    combine   "a red cube" - "a red object" + "a blue object"   a blue cube is there

Colours with their shapes are those of training. The order of the sums is random and fixed, so the
first n are always the same. The evaluator judges, as it does captions; the paper's detector, and
what it took for a success, are not named.

Measured on 125 sums of each kind (add, subtract, combine): random pictures of the world are right
in 0.007, 0.084 and 0.087 of all cases (chance), pictures that truly show what they should in 0.968,
1.000 and 1.000 (oracle).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from random import Random

from jaxtyping import UInt8
from torch import Tensor

from benchmarks.tabletop.captions import Caption, say
from benchmarks.tabletop.evaluator import Evaluator
from benchmarks.tabletop.facts import Description, Group, Statement, holds
from benchmarks.tabletop.scenes import COLORS, HELD_OUT_PAIRS, SHAPES

PROTOCOL = 1  # raised by hand when a sum, or what of it is right, changes
SIGNS = {"add": (1, 1), "subtract": (1, -1), "combine": (1, -1, 1)}  # of the terms of each kind


@dataclass(frozen=True)
class Sum:
    """Captions to be summed by the SIGNS of their kind, and what the picture is judged by."""

    texts: tuple[str, ...]
    shown: Caption
    gone: Caption | None = None


def sums(kind: str, count: int) -> list[Sum]:
    """The first sums of a kind of SIGNS; of `combine` there are 240, of the others 756."""
    pairs = [pair for pair in product(COLORS, SHAPES) if pair not in HELD_OUT_PAIRS]
    every = list(permutations([Description(shape, color) for color, shape in pairs], 2))
    if kind == "combine":  # one colour for another, or one shape
        every = [(a, b) for a, b in every if (a.color == b.color) != (a.shape == b.shape)]
    Random(kind).shuffle(every)
    return [_sum(kind, a, b) for a, b in every[:count]]


def _sum(kind: str, a: Description, b: Description) -> Sum:
    one, other, both = _said(a), _said(b), _said(a, b)
    if kind == "add":
        return Sum((one.text, other.text), both)
    if kind == "subtract":
        return Sum((both.text, other.text), one, other)
    field = "color" if a.shape == b.shape else "shape"
    minus, plus = (_said(Description(**{field: getattr(what, field)})) for what in (a, b))
    return Sum((one.text, minus.text, plus.text), other)


def _said(*whats: Description) -> Caption:
    statement = Statement(tuple(map(Group, whats)))
    return Caption(say(statement), "", statement)


def judged(
    pictures: UInt8[Tensor, "n 3 s s"], asked: Sequence[Sum], judge: Evaluator
) -> list[float]:
    """1 for each picture that shows what its sum should and not what was taken away, else 0."""
    right = []
    for one, seen in zip(asked, judge.detect(pictures), strict=True):
        still = one.gone is not None and holds(one.gone.statement, seen)
        right.append(float(holds(one.shown.statement, seen) and not still))
    return right
