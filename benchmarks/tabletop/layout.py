"""Where solids and camera stand so that every solid is large and in sight.

Candidates are drawn many at once and tested on flat silhouettes, the solids' outlines in vertical
planes that face the camera: ten times faster than rays, and right for all but a few solids.

Coordinates are those of the ground as the camera sees it: side (to the right), ahead, up; metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Share of the picture that one solid is aimed at, by the number of solids: low, high.
AIMED_AREA = {1: (0.06, 0.20), 2: (0.05, 0.16), 3: (0.045, 0.12), 4: (0.04, 0.09), 5: (0.04, 0.075)}
MIN_AREA, MAX_AREA = 0.030, 0.26
# Least share of a solid inside the frame, and inside the frame and not hidden.
MIN_INSIDE, MIN_VISIBLE = 0.90, 0.78
TABLE_HALF = 1.3  # metres from the middle of the table to its edges
ELEVATION = (10.0, 47.0)
FIELD_OF_VIEW = (34.0, 70.0)
# Layouts drawn at once, by the number of solids: crowded ones are seldom free of overlaps.
_CANDIDATES = {1: 32, 2: 64, 3: 96, 4: 160, 5: 384}
_KEPT, _ROUNDS = 12, 6
# Width, height and footprint radius of each shape for a size of one metre. Volumes are alike, so
# that size is not given away by the shape.
WIDTH = {"sphere": 1.0, "cube": 0.84, "cylinder": 0.80, "cone": 1.08}
HEIGHT = {"sphere": 1.0, "cube": 0.84, "cylinder": 1.0, "cone": 1.15}
FOOTPRINT = {"sphere": 0.50, "cube": 0.594, "cylinder": 0.40, "cone": 0.54}
_SHAPE_ID = {shape: i for i, shape in enumerate(HEIGHT)}
_TALL, _FOOT = np.array(list(HEIGHT.values())), np.array(list(FOOTPRINT.values()))
# Half width of the silhouette (a cube is seen at any yaw, hence wider than its face), and the share
# of the top, seen from above, that adds to it.
_HALF = np.array([0.50, 0.53, 0.40, 0.54])
_TOP = np.array([0.0, 0.70, 0.50, 0.35])
# Sample points of a silhouette: height b and side a, both as shares; 5 rows of 3 points.
_B = np.repeat(np.array([0.1, 0.3, 0.5, 0.7, 0.9]), 3)
_A = np.tile(np.array([-0.8, 0.0, 0.8]), 5)
Array = np.ndarray


@dataclass(frozen=True)
class Layout:
    """k layouts of n solids; in an accepted one the leading k is left out."""

    ground: Array  # [k, n, 2] side and ahead
    camera: Array  # [k, 3]
    elevation: Array  # [k] radians looking down
    cos: Array  # of the elevation
    sin: Array
    focal: Array  # [k] over half the picture's width
    width: Array  # [k] metres across the picture at the solids' distance

    def take(self, rows: Array | int) -> Layout:
        """Some of the layouts."""
        return Layout(*(values[rows] for values in vars(self).values()))


def find_layout(
    shapes: list[str], sizes: Array, rng: np.random.Generator
) -> tuple[Layout, Array] | None:
    """Draws layouts until one shows every solid; None after a fixed number of rounds.

    Beside it stand the solids' views [n, 5]: x, y, depth, area, visible as in scenes.View.
    """
    ids = np.array([_SHAPE_ID[s] for s in shapes])
    n = len(shapes)
    half, tall, foot = _HALF[ids] * sizes, _TALL[ids] * sizes, _FOOT[ids] * sizes
    gap = 1.06 * (foot[:, None] + foot[None, :])
    np.fill_diagonal(gap, -1.0)
    for _ in range(_ROUNDS):
        drawn = _draw(rng.random((_CANDIDATES[n], 6 + 2 * n)), sizes.mean(), tall.mean(), n)
        between = np.linalg.norm(drawn.ground[:, :, None] - drawn.ground[:, None], axis=-1)
        # However the group is turned later, it fits on the table.
        spread = drawn.ground - drawn.ground.mean(axis=1, keepdims=True)
        fits = np.linalg.norm(spread, axis=-1) + foot < TABLE_HALF
        free = drawn.take(np.flatnonzero((between > gap).all(axis=(1, 2)) & fits.all(axis=1)))
        # The cheap test first: size in the picture, and the centre well inside.
        x, y, depth, area = _centres(free, ids, half, tall)
        large = (area >= MIN_AREA) & (area <= MAX_AREA)
        inside = (np.maximum(np.abs(x), np.abs(y)) < 0.92) & (depth > 0.2)
        kept = np.flatnonzero((large & inside).all(axis=1))[:_KEPT]
        some = free.take(kept)
        seen, framed = _visible(some, ids, half, tall)
        good = (framed >= MIN_INSIDE) & (seen >= MIN_VISIBLE) & (seen * area[kept] >= MIN_AREA)
        for a in np.flatnonzero(good.all(axis=1)).tolist():
            r = kept[a]
            views = 0.5 + 0.5 * x[r], 0.5 - 0.5 * y[r], depth[r], area[r] * seen[a], seen[a]
            return some.take(a), np.stack(views, axis=1)
    return None


def _draw(u: Array, size: float, tall: float, n: int) -> Layout:
    """Turns uniform numbers [k, 6 + 2 n] into layouts; size and tall: mean size and height."""
    elevation = np.deg2rad(ELEVATION[0] + (ELEVATION[1] - ELEVATION[0]) * u[:, 0])
    cos, sin = np.cos(elevation), np.sin(elevation)
    angle = np.deg2rad(FIELD_OF_VIEW[0] + (FIELD_OF_VIEW[1] - FIELD_OF_VIEW[0]) * u[:, 1])
    focal = 1 / np.tan(angle / 2)
    low, high = np.log(AIMED_AREA[n])
    width = 0.9 * size / np.exp(0.5 * (low + (high - low) * u[:, 2]))
    distance = np.maximum(0.5 * width * focal, 0.45)
    # Long in depth, so that solids of one scene are near and far.
    ahead = np.minimum(0.46 * width / sin, np.minimum(0.70 * distance, 1.2))
    spread = np.stack([0.42 * width, ahead], axis=1)
    ground = (2 * u[:, 6:].reshape(-1, n, 2) - 1) * spread[:, None] * (1 if n > 1 else 0.3)
    camera = np.empty((len(u), 3))
    camera[:, :2] = ground.mean(axis=1) + (u[:, 3:5] - 0.5) * (0.22 * width)[:, None]
    camera[:, 2] = (0.35 + 0.5 * (u[:, 5] - 0.5)) * tall
    camera[:, 1] -= distance * cos
    camera[:, 2] += distance * sin
    return Layout(ground, camera, elevation, cos, sin, focal, width)


def _centres(c: Layout, ids: Array, half: Array, tall: Array) -> tuple[Array, Array, Array, Array]:
    """x, y (-1..1) and depth of the solids' centres and their share of the picture, all [k, n]."""
    centre = np.empty((*c.ground.shape[:2], 1, 3))
    centre[..., 0, :2] = c.ground
    centre[..., 0, 2] = 0.5 * tall
    x, y, depth = (v[..., 0] for v in _project(centre - c.camera[:, None, None], c))
    side = np.array([np.pi / 4, 1.0, 1.0, 0.5])[ids] * 2 * half * tall
    upright = np.where(ids == 0, 1.0, c.cos[:, None])
    flat = side * upright + _TOP[ids] * (2 * half) ** 2 * c.sin[:, None]
    return x, y, depth, flat * (c.focal[:, None] / (2 * np.maximum(depth, 1e-3))) ** 2


def _visible(c: Layout, ids: Array, half: Array, tall: Array) -> tuple[Array, Array]:
    """Share of every solid's silhouette that is seen, and that is inside the frame, [k, n]."""
    points = np.empty((*c.ground.shape[:2], len(_B), 3))
    points[..., 0] = c.ground[:, :, None, 0] + _A * (_outline(ids[:, None], _B) * half[:, None])
    points[..., 1] = c.ground[:, :, None, 1]
    points[..., 2] = _B * tall[:, None]
    x, y, depth = _project(points - c.camera[:, None, None], c)
    framed = (np.abs(x) < 0.97) & (np.abs(y) < 0.97) & (depth > 0.2)
    seen = framed & ~_hidden(points, c, ids, half, tall)
    return seen.mean(axis=2), framed.mean(axis=2)


def _outline(ids: Array, b: Array) -> Array:
    """Half width of the silhouette at height share b, over its largest half width."""
    ball = 2 * np.sqrt(np.clip(b - b * b, 0, None))
    return np.where(ids == 0, ball, np.where(ids == 3, 1 - b, 1.0))


def _project(offset: Array, c: Layout) -> tuple[Array, Array, Array]:
    """Projects offsets from the camera [k, n, p, 3]; x right and y up in -1..1, z-depth."""
    cos, sin, focal = (v[:, None, None] for v in (c.cos, c.sin, c.focal))
    depth = offset[..., 1] * cos - offset[..., 2] * sin
    scale = focal / np.maximum(depth, 1e-3)
    up = (offset[..., 1] * sin + offset[..., 2] * cos) * scale
    return offset[..., 0] * scale, up, depth


def _hidden(points: Array, c: Layout, ids: Array, half: Array, tall: Array) -> Array:
    """Says which points [k, n, p] lie behind the silhouette of another solid."""
    offset = points - c.camera[:, None, None]
    plane = c.ground[..., 1] - c.camera[:, None, 1]  # distance of every silhouette's plane [k, n]
    share = plane[:, None, None] / np.maximum(offset[..., 1], 1e-3)[..., None]  # k, n, p, other
    up = (c.camera[:, 2, None, None, None] + share * offset[..., 2, None]) / tall
    side = c.camera[:, 0, None, None, None] + share * offset[..., 0, None]
    side -= c.ground[:, None, None, :, 0]
    # Seen from above, the near rim hides more below the silhouette and the far rim more above.
    rim = half / tall * (c.sin / c.cos)[:, None, None, None]
    above = 1 + rim * np.array([0.0, 0.85, 0.85, 0.0])[ids]
    below = -rim * np.array([0.0, 0.7, 0.7, 0.7])[ids]
    crossed = (share > 0) & (share < 0.999) & (up > below) & (up < above)
    outline = _outline(ids, np.clip(up, 0, 1))
    return (crossed & (np.abs(side) < outline * half)).any(axis=-1)
