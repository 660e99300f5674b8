"""What a caption can state about a scene, and when it holds.

A statement names groups of solids ("a red cube", "two cones") and at most one relation between two
of them. It is judged on detections: the true ones of a scene, or those the evaluator sees in a
picture. Size and depth are compared within a scene only, because no single picture tells metres:
camera distance and focal length vary. Everything is stated with a margin and verified with a much
smaller one, so that the noise of a detector does not turn a clear fact around.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.tabletop.scenes import Scene

RELATIONS = ("left of", "right of", "in front of", "behind")
SIZES = ("small", "large")

# Margins for stating and for verifying. Horizontal distance as a share of the picture; depths and
# sizes as factors (a size over the geometric middle of the smallest and the largest in the scene).
STATE_SIDE, VERIFY_SIDE = 0.15, 0.03
STATE_DEPTH, VERIFY_DEPTH = 1.25, 1.03
STATE_SIZE, VERIFY_SIZE = 1.22, 1.06
# A material is stated only where the solid takes at least this share of the picture, in full sight.
STATE_MATERIAL_AREA, STATE_MATERIAL_VISIBLE = 0.045, 0.85


@dataclass(frozen=True)
class Detection:
    """A solid as seen. Size and depth need only be right up to one common factor per scene."""

    shape: str
    color: str
    material: str
    size: float  # metres
    u: float  # its projected centre as a share of the picture from the left
    v: float  # and from the top
    depth: float  # z-depth of the centre, metres
    confidence: float = 1.0  # the detector's, 1 for truth


@dataclass(frozen=True)
class Description:
    """The stated properties of a solid; None where nothing is said (shape None: "object")."""

    shape: str | None = None
    color: str | None = None
    material: str | None = None
    size: str | None = None

    @property
    def stated(self) -> frozenset[tuple[str, str]]:
        """The properties that are stated, with their names."""
        return frozenset((name, word) for name, word in vars(self).items() if word is not None)

    @property
    def words(self) -> int:
        """How many properties are stated."""
        return len(self.stated)


@dataclass(frozen=True)
class Group:
    """Solids of one description."""

    what: Description
    count: int | None = None  # exactly so many, or at least one


@dataclass(frozen=True)
class Fact:
    """One thing that is stated."""

    kind: str  # "object", "count" or "relation"
    what: Description
    value: int | str | None = None  # the number of a count, the words of a relation
    other: Description | None = None  # the second solid of a relation


@dataclass(frozen=True)
class Statement:
    """All that a caption says. A relation, if any, is between groups[0] and groups[1]."""

    groups: tuple[Group, ...]
    relation: str | None = None

    @property
    def facts(self) -> frozenset[Fact]:
        """The statement as a set of facts, the same for any order of its groups."""
        facts = {
            Fact("object", g.what) if g.count is None else Fact("count", g.what, g.count)
            for g in self.groups
        }
        if self.relation is not None:
            first, second = (g.what for g in self.groups)
            facts.add(Fact("relation", first, self.relation, second))
        return frozenset(facts)


def detections_of(scene: Scene) -> list[Detection]:
    """The true detections of a scene, in the order of its solids."""
    return [
        Detection(s.shape, s.color, s.material, s.size, v.x, v.y, v.depth)
        for s, v in zip(scene.solids, scene.views, strict=True)
    ]


def size_words(sizes: Sequence[float], margin: float) -> list[str | None]:
    """Says which of the solids of one scene are small or large; None within the margin."""
    if not sizes:
        return []
    middle = math.sqrt(min(sizes) * max(sizes))
    return [
        "large" if size >= margin * middle else "small" if size * margin <= middle else None
        for size in sizes
    ]


def related(first: Detection, second: Detection, relation: str, state: bool = False) -> bool:
    """Says whether a relation holds: beyond the margin for stating, or for verifying."""
    side, depth = (STATE_SIDE, STATE_DEPTH) if state else (VERIFY_SIDE, VERIFY_DEPTH)
    return {
        "left of": first.u <= second.u - side,
        "right of": first.u >= second.u + side,
        "in front of": first.depth * depth <= second.depth,
        "behind": first.depth >= depth * second.depth,
    }[relation]


def clear_descriptions(scene: Scene) -> list[Description]:
    """The full description of every solid, with size and material only where they are clear."""
    sizes = size_words([s.size for s in scene.solids], STATE_SIZE)
    clear = []
    for solid, view, size in zip(scene.solids, scene.views, sizes, strict=True):
        seen = view.area >= STATE_MATERIAL_AREA and view.visible >= STATE_MATERIAL_VISIBLE
        clear.append(Description(solid.shape, solid.color, solid.material if seen else None, size))
    return clear


def matches(what: Description, detections: Sequence[Detection]) -> list[bool]:
    """Says of every detection whether all that is stated holds for it."""
    sizes = size_words([d.size for d in detections], VERIFY_SIZE)
    return [
        what.shape in (None, d.shape)
        and what.color in (None, d.color)
        and what.material in (None, d.material)
        and what.size in (None, size)
        for d, size in zip(detections, sizes, strict=True)
    ]


def relation_holds(statement: Statement, detections: Sequence[Detection]) -> bool:
    """Says whether some two solids of the two groups stand in the stated relation."""
    assert statement.relation is not None
    first, second = (matches(g.what, detections) for g in statement.groups)
    return any(
        a and b and i != j and related(detections[i], detections[j], statement.relation)
        for i, a in enumerate(first)
        for j, b in enumerate(second)
    )


def holds(statement: Statement, detections: Sequence[Detection]) -> bool:
    """Says whether everything stated is true; different groups must be different solids.

    A number means exactly that many (as GenEval counts), "a" means at least one.
    """
    wanted = []
    for group in statement.groups:
        fits = matches(group.what, detections)
        if group.count is not None and sum(fits) != group.count:
            return False
        wanted += [fits] * (group.count or 1)
    if not _distinct(wanted, frozenset()):
        return False
    return statement.relation is None or relation_holds(statement, detections)


def _distinct(wanted: list[list[bool]], taken: frozenset[int]) -> bool:
    """Says whether every wanted solid can have a detection of its own."""
    if not wanted:
        return True
    return any(
        fits and i not in taken and _distinct(wanted[1:], taken | {i})
        for i, fits in enumerate(wanted[0])
    )
