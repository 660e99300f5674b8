"""What a caption can state about a scene, and when it holds.

A statement names groups of solids ("a red cube", "two cones") and at most one relation between two
of them. It is judged on detections: the true ones of a scene, or those the evaluator sees in a
picture. Size and depth are compared within a scene only, because no single picture tells metres.
All is stated with a margin and verified with a much smaller one, so that the noise of a detector
does not turn a clear fact around.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

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


class Description(NamedTuple):
    """The stated properties of a solid; None where nothing is said (shape None: "object")."""

    shape: str | None = None
    color: str | None = None
    material: str | None = None
    size: str | None = None

    @property
    def words(self) -> int:
        """How many properties are stated."""
        return len(self) - self.count(None)


@dataclass(frozen=True)
class Group:
    """Solids of one description."""

    what: Description
    count: int | None = None  # exactly so many, or at least one


@dataclass(frozen=True)
class Statement:
    """All that a caption says. A relation, if any, is between groups[0] and groups[1]."""

    groups: tuple[Group, ...]
    relation: str | None = None


def detections_of(scene: Scene) -> list[Detection]:
    """The true detections of a scene, in the order of its solids."""
    return [
        Detection(s.shape, s.color, s.material, s.size, v.x, v.y, v.depth)
        for s, v in zip(scene.solids, scene.views, strict=True)
    ]


def size_words(sizes: Sequence[float], margin: float) -> list[str | None]:
    """Which of the solids of one scene are small or large; None within the margin."""
    middle = math.sqrt(min(sizes, default=0) * max(sizes, default=0))
    return [
        "large" if size >= margin * middle else "small" if size * margin <= middle else None
        for size in sizes
    ]


def related(first: Detection, second: Detection, relation: str, state: bool = False) -> bool:
    """Whether a relation holds: beyond the margin for stating, or for verifying."""
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
    """For every detection whether all that is stated holds for it."""
    sizes = size_words([d.size for d in detections], VERIFY_SIZE)
    fits = []
    for d, size in zip(detections, sizes, strict=True):
        seen = d.shape, d.color, d.material, size
        fits.append(all(word in (None, true) for word, true in zip(what, seen, strict=True)))
    return fits


def relation_holds(statement: Statement, detections: Sequence[Detection]) -> bool:
    """Whether some two solids of the two groups stand in the stated relation."""
    assert statement.relation is not None
    first, second = (matches(group.what, detections) for group in statement.groups)
    return any(
        first[i] and second[j] and related(detections[i], detections[j], statement.relation)
        for i, j in permutations(range(len(detections)), 2)
    )


def holds(statement: Statement, detections: Sequence[Detection]) -> bool:
    """Whether everything stated is true; different groups must be different solids.

    A number means exactly that many (as GenEval counts), "a" means at least one.
    """
    wanted = []
    for group in statement.groups:
        fits = matches(group.what, detections)
        if group.count is not None and sum(fits) != group.count:
            return False
        wanted += [fits] * (group.count or 1)
    ways = permutations(range(len(detections)), len(wanted))
    if not any(all(fits[i] for fits, i in zip(wanted, way, strict=True)) for way in ways):
        return False
    return statement.relation is None or relation_holds(statement, detections)
