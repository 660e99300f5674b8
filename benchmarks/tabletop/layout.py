"""Where solids and camera stand so that every solid is large and in sight.

Candidates are drawn many at once and tested on flat silhouettes: every solid is replaced by its
outline in the vertical plane that faces the camera. This costs a fraction of a millisecond where
casting rays would cost several, and is right about visibility for all but a few solids.

Coordinates are those of the ground as the camera sees it: side (to the right), ahead, up; metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Share of the picture that one solid is aimed at, by the number of solids: low, high.
AIMED_AREA = {1: (0.06, 0.20), 2: (0.05, 0.16), 3: (0.045, 0.12), 4: (0.04, 0.09), 5: (0.035, 0.07)}
MIN_AREA, MAX_AREA = 0.030, 0.26
# Least share of a solid inside the frame, and inside the frame and not hidden.
MIN_INSIDE, MIN_VISIBLE = 0.90, 0.78
ELEVATION = (12.0, 58.0)
FIELD_OF_VIEW = (36.0, 64.0)
_CANDIDATES, _KEPT, _ROUNDS = 96, 12, 6
_SHAPE_ID = {"sphere": 0, "cube": 1, "cylinder": 2, "cone": 3}
# Rows of _SHAPE_ID: half width of the silhouette, height, footprint radius, share of the top seen
# from above that adds to the silhouette. A cube is seen at a random yaw, hence the wider outline.
_HALF = np.array([0.50, 0.53, 0.40, 0.54])
_TALL = np.array([1.0, 0.84, 1.0, 1.15])
_FOOT = np.array([0.50, 0.594, 0.40, 0.54])
_TOP = np.array([0.0, 0.70, 0.50, 0.35])
# Sample points of a silhouette: height b and side a, both as shares; 5 rows of 3 points.
_B = np.repeat(np.array([0.1, 0.3, 0.5, 0.7, 0.9]), 3)
_A = np.tile(np.array([-0.8, 0.0, 0.8]), 5)


@dataclass(frozen=True)
class Layout:
    """An accepted layout of n solids.

    ground: [n, 2] side and ahead; camera: [3]; elevation: radians looking down; focal: over half
    the picture's width; width: metres across the picture at the solids' distance; views: [n, 5]
    x, y, depth, area, visible as in scenes.View; sizes: [n] metres.
    """

    ground: np.ndarray
    camera: np.ndarray
    elevation: float
    focal: float
    width: float
    views: np.ndarray
    sizes: np.ndarray


def find_layout(shapes: list[str], sizes: np.ndarray, rng: np.random.Generator) -> Layout | None:
    """Draws layouts until one shows every solid; None after a fixed number of rounds."""
    ids = np.array([_SHAPE_ID[s] for s in shapes])
    n, k = len(shapes), _CANDIDATES
    foot = _FOOT[ids] * sizes
    gap = 1.06 * (foot[:, None] + foot[None, :])
    apart = np.triu(np.ones((n, n), bool), 1)
    for _ in range(_ROUNDS):
        u = rng.random((k, 8 + 2 * n))
        elevation = np.deg2rad(ELEVATION[0] + (ELEVATION[1] - ELEVATION[0]) * u[:, 0])
        half_view = np.deg2rad(FIELD_OF_VIEW[0] + (FIELD_OF_VIEW[1] - FIELD_OF_VIEW[0]) * u[:, 1])
        focal = 1 / np.tan(half_view / 2)
        low, high = np.log(AIMED_AREA[n])
        width = 0.9 * sizes.mean() / np.exp(0.5 * (low + (high - low) * u[:, 2]))
        distance = np.maximum(0.5 * width * focal, 0.45)
        half = np.empty((k, 2))
        half[:, 0] = 0.42 * width
        half[:, 1] = np.minimum(0.40 * width / np.sin(elevation), np.minimum(0.45 * distance, 0.8))
        ground = (2 * u[:, 8:].reshape(k, n, 2) - 1) * half[:, None] * (1 if n > 1 else 0.3)
        between = np.linalg.norm(ground[:, :, None] - ground[:, None], axis=-1)
        free = ((between > gap) | ~apart).all(axis=(1, 2))
        kept = np.flatnonzero(free)[:_KEPT]
        if len(kept) == 0:
            continue
        found = _first_seen(
            ids,
            sizes,
            ground[kept],
            elevation[kept],
            focal[kept],
            distance[kept],
            width[kept],
            u[kept, 3:6],
        )
        if found is not None:
            return found
    return None


def _first_seen(
    ids: np.ndarray,
    sizes: np.ndarray,
    ground: np.ndarray,
    elevation: np.ndarray,
    focal: np.ndarray,
    distance: np.ndarray,
    width: np.ndarray,
    jitter: np.ndarray,
) -> Layout | None:
    """Returns the first of k candidates in which every solid is large and in sight, else None."""
    k, n = ground.shape[:2]
    cos_e, sin_e = np.cos(elevation), np.sin(elevation)
    half, tall = _HALF[ids] * sizes, _TALL[ids] * sizes
    aim = np.empty((k, 3))
    aim[:, :2] = ground.mean(axis=1) + (jitter[:, :2] - 0.5) * (0.22 * width)[:, None]
    aim[:, 2] = (0.35 + 0.5 * (jitter[:, 2] - 0.5)) * tall.mean()
    camera = aim.copy()
    camera[:, 1] -= distance * cos_e
    camera[:, 2] += distance * sin_e

    points = np.empty((k, n, len(_B), 3))
    points[..., 0] = ground[:, :, None, 0] + _A * (_outline(ids[:, None], _B) * half[:, None])
    points[..., 1] = ground[:, :, None, 1]
    points[..., 2] = _B * tall[:, None]
    x, y, depth = _project(points - camera[:, None, None], cos_e, sin_e, focal)
    seen = (np.abs(x) < 0.97) & (np.abs(y) < 0.97) & (depth > 0.2)
    inside = seen.mean(axis=2)
    seen &= ~_hidden(points, camera, ground, ids, half, tall)
    visible = seen.mean(axis=2)

    centre = np.empty((k, n, 1, 3))
    centre[..., 0, :2] = ground
    centre[..., 0, 2] = 0.5 * tall
    cx, cy, cz = (v[..., 0] for v in _project(centre - camera[:, None, None], cos_e, sin_e, focal))
    side = np.array([np.pi / 4, 1.0, 1.0, 0.5])[ids] * 2 * half * tall
    drop = np.where(ids == 0, 1.0, cos_e[:, None])
    flat = side * drop + _TOP[ids] * (2 * half) ** 2 * sin_e[:, None]
    area = visible * flat * (focal[:, None] / (2 * cz)) ** 2
    good = (inside >= MIN_INSIDE) & (visible >= MIN_VISIBLE)
    good &= (area >= MIN_AREA) & (area <= MAX_AREA)
    accepted = np.flatnonzero(good.all(axis=1))
    if len(accepted) == 0:
        return None
    a = accepted[0]
    views = np.stack([0.5 + 0.5 * cx[a], 0.5 - 0.5 * cy[a], cz[a], area[a], visible[a]], axis=1)
    return Layout(ground[a], camera[a], elevation[a], focal[a], float(width[a]), views, sizes)


def _outline(ids: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Half width of the silhouette at height share b, over its largest half width."""
    ball = 2 * np.sqrt(np.clip(b - b * b, 0, None))
    return np.where(ids == 0, ball, np.where(ids == 3, 1 - b, 1.0))


def _project(
    offset: np.ndarray, cos_e: np.ndarray, sin_e: np.ndarray, focal: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Projects offsets from the camera [k, n, p, 3]; x right and y up in -1..1, z-depth."""
    cos_e, sin_e, focal = (v[:, None, None] for v in (cos_e, sin_e, focal))
    depth = offset[..., 1] * cos_e - offset[..., 2] * sin_e
    safe = np.maximum(depth, 1e-3)
    up = (offset[..., 1] * sin_e + offset[..., 2] * cos_e) * focal / safe
    return offset[..., 0] * focal / safe, up, depth


def _hidden(
    points: np.ndarray,
    camera: np.ndarray,
    ground: np.ndarray,
    ids: np.ndarray,
    half: np.ndarray,
    tall: np.ndarray,
) -> np.ndarray:
    """Says which points [k, n, p] lie behind the silhouette of another solid."""
    offset = points - camera[:, None, None]  # k n p 3
    plane = ground[..., 1] - camera[:, None, 1]  # k j: distance of solid j's silhouette plane
    share = plane[:, None, None] / np.maximum(offset[..., 1], 1e-3)[..., None]  # k n p j
    up = (camera[:, None, None, 2, None] + share * offset[..., 2, None]) / tall
    side = (
        camera[:, None, None, 0, None] + share * offset[..., 0, None] - ground[:, None, None, :, 0]
    )
    inside = (share < 0.999) & (up > 0) & (up < 1) & (share > 0)
    return (inside & (np.abs(side) < _outline(ids, up) * half)).any(axis=-1)
