"""Five reference captions of a scene, each stating other facts, and how captions are scored.

Levels: L1 one solid; L2 two solids and what belongs to which; L3 a relation, or the whole scene;
L4 underspecified (many scenes fit). A scene of one solid has only L1 and L4. By place k:

    k  two or more solids                     one solid
    0  L1 one solid, all clear words          L1 colour and shape
    1  L2 two solids and what belongs to which L1 without the colour, or with a number
    2  L3 two solids in a relation            L1 all clear words, or colour and shape counted
    3  L3 the whole scene                     L1 all clear words, counted
    4  L4 one of the vague forms              L4 one of the vague forms
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from benchmarks.tabletop.facts import (
    RELATIONS,
    Description,
    Detection,
    Fact,
    Group,
    Statement,
    clear_descriptions,
    detections_of,
    holds,
    matches,
    related,
    relation_holds,
)
from benchmarks.tabletop.parser import MAX_TOKENS, VOCABULARY, decode, encode, parse, say
from benchmarks.tabletop.scenes import Scene

__all__ = [
    "CAPTIONS", "FULL", "KINDS", "LEVELS", "MAX_TOKENS", "PROTOCOL", "VOCABULARY", "Caption",
    "captions", "decode", "encode", "kind", "parse", "scene_f1", "statement_of", "verdict",
]  # fmt: skip

PROTOCOL = 1  # raised by hand when a score of a given caption or picture may change
CAPTIONS = 5  # captions a scene
FULL = 3  # the place of the caption that names every solid
LEVELS = ("L1", "L2", "L3", "L4")
# GenEval's six kinds (Ghosh et al. 2023, table 1).
KINDS = (
    "single_object", "two_objects", "counting", "colors", "position", "attribute_binding",
)  # fmt: skip
_SALT = 0x7AB1E


@dataclass(frozen=True)
class Caption:
    """A caption with its level and what it states."""

    text: str
    level: str
    statement: Statement

    @property
    def facts(self) -> frozenset[Fact]:
        """The stated facts; parse(text) has the same."""
        return self.statement.facts

    @property
    def kind(self) -> str:
        """GenEval's kind of this caption."""
        return kind(self)


def captions(scene: Scene) -> tuple[Caption, ...]:
    """The five reference captions of a scene, a function of the scene alone, all different."""
    rng = Random(scene.index * 1_000_003 + _SALT)
    clear = clear_descriptions(scene)
    if len(clear) == 1:
        stated = _of_one(clear[0], rng)
    else:
        single, whole = _named(clear[rng.randrange(len(clear))]), _whole(clear, rng)
        stated = [("L1", single), ("L2", _two(clear, whole, rng))]
        stated += [("L3", _placed(scene, clear, rng)), ("L3", whole)]
    taken = [statement for _, statement in stated]
    stated.append(("L4", _vague(scene, clear, taken, rng)))
    return tuple(Caption(say(s), level, s) for level, s in stated)


def statement_of(caption: Caption | str) -> Statement | None:
    """What a caption or a text states; None where the text cannot be read."""
    return caption.statement if isinstance(caption, Caption) else parse(caption)


def kind(caption: Caption | str) -> str:
    """Sorts a caption into one of KINDS; raises ValueError for a text that cannot be read."""
    statement = statement_of(caption)
    if statement is None:
        raise ValueError(f"not a caption of this world: {caption!r}")
    groups = statement.groups
    if statement.relation is not None:
        return "position"
    attributes = any(g.what.words > (g.what.shape is not None) for g in groups)
    if len(groups) > 1:
        return "attribute_binding" if attributes else "two_objects"
    if groups[0].count is not None:
        return "counting"
    return "colors" if attributes else "single_object"


def verdict(caption: Caption | str, detections: Sequence[Detection]) -> bool:
    """Says whether every stated fact holds for what was detected; unreadable text is False."""
    statement = statement_of(caption)
    return statement is not None and holds(statement, detections)


def scene_f1(text: str, scene: Scene) -> float:
    """F1 of the facts a caption states and the facts of the scene, 0..1; unreadable text is 0.

    Stated: one claim for every property of every described solid, one for each number, one for a
    relation. Described solids are matched one to one with the scene's so that most claims hold; a
    description counts only if all of it holds for one solid (binding), else none of it does.
    precision = true claims / claims. recall = clear properties of matched solids that are stated /
    all clear properties of all solids (shape, colour, and material and size where they are clear).
    """
    from scipy.optimize import linear_sum_assignment

    statement = parse(text)
    if statement is None:
        return 0.0
    truth, clear = detections_of(scene), clear_descriptions(scene)
    described = [g.what for g in statement.groups for _ in range(g.count or 1)]
    fits = np.array([matches(what, truth) for what in described])
    claims = sum(what.words for what in described)
    gain = fits * np.array([[what.words] for what in described])
    rows, columns = linear_sum_assignment(gain, maximize=True)
    pairs = [(described[i], clear[j]) for i, j in zip(rows, columns, strict=True) if fits[i, j]]
    true = sum(what.words for what, _ in pairs)
    covered = sum(len(what.stated & known.stated) for what, known in pairs)
    for group in statement.groups:
        if group.count is not None:
            claims += 1
            true += sum(matches(group.what, truth)) == group.count
    if statement.relation is not None:
        claims += 1
        true += relation_holds(statement, truth)
    if not true or not covered:
        return 0.0
    precision, recall = true / claims, covered / sum(what.words for what in clear)
    return 2 * precision * recall / (precision + recall)


def _plain(what: Description) -> Description:
    return Description(what.shape, what.color)


def _named(what: Description, count: int | None = None) -> Statement:
    return Statement((Group(what, count),))


def _one_more(what: Description, rng: Random) -> Description:
    """Colour and shape with one of the other clear words, if there is one."""
    less = [replace(what, size=None)] * bool(what.material)
    less += [replace(what, material=None)] * bool(what.size)
    return rng.choice(less) if less else _plain(what)


def _of_one(what: Description, rng: Random) -> list[tuple[str, Statement]]:
    plain = _plain(what)
    if what.material is None:
        shape, color = Description(what.shape), Description(None, what.color)
        stated = [_named(plain), _named(shape, 1), _named(color, 1), _named(plain, 1)]
    else:
        bare = rng.choice([replace(what, color=None), replace(what, shape=None)])
        stated = [_named(plain), _named(bare), _named(what), _named(what, 1)]
    return [("L1", statement) for statement in stated]


def _two(clear: list[Description], whole: Statement, rng: Random) -> Statement:
    """Two solids that differ and what belongs to each; less of it where `whole` says the same."""
    pairs = [(a, b) for a in clear for b in clear if _plain(a) != _plain(b)]
    if not pairs:
        return _named(Description(None, clear[0].color), len(clear))
    first, second = rng.choice(pairs)
    stated = Statement((Group(_one_more(first, rng)), Group(_plain(second))))
    if stated.facts == whole.facts:
        return replace(stated, groups=(stated.groups[0], Group(Description(None, second.color))))
    return stated


def _relations(scene: Scene, named: list[Description]) -> list[Statement]:
    """Solids that are named differently, in the relations they have beyond the margin."""
    seen = list(zip(named, detections_of(scene), strict=True))
    return [
        Statement((Group(a), Group(b)), relation)
        for a, first in seen
        for b, second in seen
        for relation in RELATIONS
        if a != b and related(first, second, relation, state=True)
    ]


def _placed(scene: Scene, clear: list[Description], rng: Random) -> Statement:
    """Two solids in a relation; the number of those of one shape where no place is clear."""
    if possible := _relations(scene, [_plain(what) for what in clear]):
        return rng.choice(possible)
    shape = rng.choice(clear).shape
    return _named(Description(shape), sum(what.shape == shape for what in clear))


def _whole(clear: list[Description], rng: Random) -> Statement:
    """Every solid of the scene; solids of one colour and shape are counted together."""
    alike = Counter(_plain(what) for what in clear)
    groups = []
    for plain, number in alike.items():
        if number > 1:
            groups.append(Group(plain, number))
        elif len(clear) <= 3:
            only = next(what for what in clear if _plain(what) == plain)
            groups.append(Group(_one_more(only, rng)))
        else:
            groups.append(Group(plain))
    rng.shuffle(groups)
    return Statement(tuple(groups))


def _vague(
    scene: Scene, clear: list[Description], taken: list[Statement], rng: Random
) -> Statement:
    """A statement that fits many scenes: numbers, shapes or colours alone."""
    shapes = Counter(what.shape for what in clear)
    colors = Counter(what.color for what in clear)
    forms: list[list[Statement]] = [
        [_named(Description(), len(clear))],
        [_named(Description(shape), n) for shape, n in shapes.items() if n > 1],
        [_named(Description(None, color), n) for color, n in colors.items() if n > 1],
        [_named(Description(shape)) for shape in shapes],
        [_named(Description(None, color)) for color in colors],
        [
            Statement((Group(Description(a)), Group(Description(b))))
            for a in shapes
            for b in shapes
            if a != b
        ],
        _relations(scene, [Description(what.shape) for what in clear]),
    ]
    fresh = [[s for s in form if s not in taken] for form in forms]
    return rng.choice(rng.choice([form for form in fresh if form]))
