"""Scenes as tensors, and the analytic intersection of rays with solids, table and room.

Rays are origin + t * direction with directions that are not normalised: with a camera ray whose
forward component is 1, t is the depth along the optical axis. Tensors are [scene, 3, ray] so that
one coordinate of all rays is contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from benchmarks.tabletop.layout import HEIGHT, TABLE_HALF, WIDTH
from benchmarks.tabletop.scenes import CEILING_Z, COLOR_RGB, FLOOR_Z, SHAPES, Scene, Surface

Rays = Float[torch.Tensor, "m 3 p"]
Hits = Float[torch.Tensor, "m p"]
FAR = 1e6


@dataclass(frozen=True)
class SurfacePack:
    """Surface of every scene: colours [n, 3], the rest [n]."""

    base: Float[torch.Tensor, "n 3"]
    other: Float[torch.Tensor, "n 3"]
    checker: Float[torch.Tensor, " n"]
    tile: Float[torch.Tensor, " n"]
    stripe: Float[torch.Tensor, " n"]
    along: Float[torch.Tensor, "n 2"]
    contrast: Float[torch.Tensor, " n"]


@dataclass(frozen=True)
class Pack:
    """n scenes with k places for solids."""

    shape: Int[torch.Tensor, "n k"]  # -1 where there is no solid
    size: Float[torch.Tensor, "n k"]
    place: Float[torch.Tensor, "n k 2"]
    turn: Float[torch.Tensor, "n k 2"]
    stripe: Float[torch.Tensor, "n k"]
    gloss: Float[torch.Tensor, "n k"]
    rgb: Float[torch.Tensor, "n k 3"]
    # (scene, place) of all solids of each shape, so that one call intersects them all.
    by_shape: tuple[tuple[Int[torch.Tensor, " m"], Int[torch.Tensor, " m"]], ...]
    camera: Float[torch.Tensor, "n 3"]
    axes: Float[torch.Tensor, "n 3 3"]
    focal: Float[torch.Tensor, " n"]
    light: Float[torch.Tensor, "n 3"]
    direct: Float[torch.Tensor, " n"]
    ambient: Float[torch.Tensor, " n"]
    table: SurfacePack
    wall: SurfacePack
    floor: Float[torch.Tensor, "n 3"]
    room: Float[torch.Tensor, "n 2"]


def pack(scenes: Sequence[Scene], device: str | torch.device = "cpu") -> Pack:
    """Packs scenes for the renderer; float32 on `device`."""
    n, k = len(scenes), max(len(s.solids) for s in scenes)
    shape = np.full((n, k), -1)
    table = np.zeros((n, k, 10), np.float32)
    for i, scene in enumerate(scenes):
        for j, solid in enumerate(scene.solids):
            shape[i, j] = SHAPES.index(solid.shape)
            table[i, j] = (
                solid.size, solid.x, solid.y, np.cos(solid.yaw), np.sin(solid.yaw), solid.stripe,
                float(solid.material == "shiny"), *COLOR_RGB[solid.color],
            )  # fmt: skip
    solids = _real(table, device)
    places = [np.nonzero(shape == s) for s in range(len(SHAPES))]
    return Pack(
        shape=torch.from_numpy(shape).to(device),
        size=solids[..., 0],
        place=solids[..., 1:3],
        turn=solids[..., 3:5],
        stripe=solids[..., 5],
        gloss=solids[..., 6],
        rgb=solids[..., 7:],
        by_shape=tuple(
            (torch.from_numpy(i).to(device), torch.from_numpy(j).to(device)) for i, j in places
        ),
        camera=_real([s.camera.position for s in scenes], device),
        axes=_real([(s.camera.right, s.camera.down, s.camera.forward) for s in scenes], device),
        focal=_real([s.camera.focal for s in scenes], device),
        light=_real([s.light.direction for s in scenes], device),
        direct=_real([s.light.direct for s in scenes], device),
        ambient=_real([s.light.ambient for s in scenes], device),
        table=_surfaces([s.table for s in scenes], device),
        wall=_surfaces([s.wall for s in scenes], device),
        floor=_real([s.floor for s in scenes], device),
        room=_real([s.room for s in scenes], device),
    )


def _surfaces(surfaces: Sequence[Surface], device: str | torch.device) -> SurfacePack:
    columns = {
        name: [getattr(surface, name) for surface in surfaces]
        for name in ("base", "other", "checker", "tile", "stripe", "contrast")
    }
    along = [(np.cos(surface.angle), np.sin(surface.angle)) for surface in surfaces]
    return SurfacePack(
        **{name: _real(column, device) for name, column in columns.items()},
        along=_real(along, device),
    )


def _real(values: object, device: str | torch.device) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(device)


def dot(a: Rays, b: Rays) -> Hits:
    """Dot products over the coordinates; several times faster here than a strided sum or norm."""
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


def unit(v: Rays) -> Rays:
    """Vectors scaled to length 1."""
    return v * dot(v, v).clamp_min(1e-12).rsqrt()[:, None]


def camera_rays(batch: Pack, size: int) -> Float[torch.Tensor, "n 3 p"]:
    """Directions of the rays through the pixel centres, forward component 1, row by row."""
    steps = (torch.arange(size, device=batch.focal.device) + 0.5) * (2 / size) - 1
    down, right = torch.meshgrid(steps, steps, indexing="ij")
    plane = torch.stack([right.flatten(), down.flatten()])[None] / batch.focal[:, None, None]
    return batch.axes[:, :2].transpose(1, 2) @ plane + batch.axes[:, 2][:, :, None]


def solid_depths(
    batch: Pack, origin: Float[torch.Tensor, "n 3 p"], direction: Float[torch.Tensor, "n 3 p"]
) -> Float[torch.Tensor, "n k p"]:
    """Ray parameter of the first hit of every solid, FAR where it is missed or behind the ray.

    origin may have one ray (a camera) and is then shared by all directions of its scene; likewise
    direction may have one ray (a directional light).
    """
    rays = max(origin.shape[2], direction.shape[2])
    depths = torch.full((*batch.shape.shape, rays), FAR, device=origin.device)
    for shape, (scene, place) in enumerate(batch.by_shape):
        if len(scene):
            inverse = 1 / batch.size[scene, place]
            o = origin[scene].clone()
            o[:, :2] -= batch.place[scene, place][:, :, None]
            # Scaled to unit size: the ray parameter does not change.
            o = o * inverse[:, None, None]
            d = direction[scene] * inverse[:, None, None]
            if shape == 1:
                turn = batch.turn[scene, place]
                o, d = turned(o, turn), turned(d, turn)
            depths[scene, place] = INTERSECT[shape](o, d)
    return depths


def turned(v: Rays, turn: Float[torch.Tensor, "m 2"]) -> Rays:
    """Rotates vectors by minus the yaw whose (cos, sin) are given: world to solid."""
    cos, sin = turn[:, 0, None], turn[:, 1, None]
    return torch.stack([cos * v[:, 0] + sin * v[:, 1], cos * v[:, 1] - sin * v[:, 0], v[:, 2]], 1)


def _safe(x: torch.Tensor) -> torch.Tensor:
    """Keeps a divisor away from zero without changing its sign."""
    return torch.where(x.abs() < 1e-9, torch.full_like(x, 1e-9), x)


def _nearest(near: Hits, hit: torch.Tensor) -> Hits:
    """The near ray parameter where the ray hits in front of its origin, FAR elsewhere."""
    return torch.where(hit & (near > 1e-4), near, near.new_tensor(FAR))


def _sphere(o: Rays, d: Rays) -> Hits:
    """Unit sphere of diameter 1 on the ground."""
    oz = o[:, 2] - 0.5
    a = dot(d, d)
    b = o[:, 0] * d[:, 0] + o[:, 1] * d[:, 1] + oz * d[:, 2]
    c = o[:, 0] ** 2 + o[:, 1] ** 2 + oz * oz - 0.25
    root = b * b - a * c
    return _nearest((-b - root.clamp_min(0).sqrt()) / a, root > 0)


def _slab(o: Hits, d: Hits, low: float, high: float) -> tuple[Hits, Hits]:
    inverse = 1 / _safe(d)
    a, b = (low - o) * inverse, (high - o) * inverse
    return torch.minimum(a, b), torch.maximum(a, b)


def _cube(o: Rays, d: Rays) -> Hits:
    edge = WIDTH["cube"]
    x0, x1 = _slab(o[:, 0], d[:, 0], -edge / 2, edge / 2)
    y0, y1 = _slab(o[:, 1], d[:, 1], -edge / 2, edge / 2)
    z0, z1 = _slab(o[:, 2], d[:, 2], 0.0, HEIGHT["cube"])
    near = torch.maximum(torch.maximum(x0, y0), z0)
    return _nearest(near, near < torch.minimum(torch.minimum(x1, y1), z1))


def _cylinder(o: Rays, d: Rays) -> Hits:
    a = _safe(d[:, 0] ** 2 + d[:, 1] ** 2)
    b = o[:, 0] * d[:, 0] + o[:, 1] * d[:, 1]
    c = o[:, 0] ** 2 + o[:, 1] ** 2 - (WIDTH["cylinder"] / 2) ** 2
    root = b * b - a * c
    half = root.clamp_min(0).sqrt()
    z0, z1 = _slab(o[:, 2], d[:, 2], 0.0, HEIGHT["cylinder"])
    near = torch.maximum((-b - half) / a, z0)
    return _nearest(near, (root > 0) & (near < torch.minimum((-b + half) / a, z1)))


def _cone(o: Rays, d: Rays) -> Hits:
    """A cone on its base; the base itself stands on the table and is never seen."""
    slope = WIDTH["cone"] / 2 / HEIGHT["cone"]
    k = slope * slope
    oz = o[:, 2] - HEIGHT["cone"]
    a = _safe(d[:, 0] ** 2 + d[:, 1] ** 2 - k * d[:, 2] ** 2)
    b = o[:, 0] * d[:, 0] + o[:, 1] * d[:, 1] - k * oz * d[:, 2]
    c = o[:, 0] ** 2 + o[:, 1] ** 2 - k * oz * oz
    root = b * b - a * c
    half = root.clamp_min(0).sqrt()
    t0, t1 = (-b - half) / a, (-b + half) / a
    first, second = torch.minimum(t0, t1), torch.maximum(t0, t1)

    def on(t: Hits) -> Hits:
        z = oz + t * d[:, 2]
        # The quadric has a second nappe above the tip.
        return _nearest(t, (root > 0) & (z < 0) & (z > -HEIGHT["cone"]))

    return torch.minimum(on(first), on(second))


INTERSECT = (_sphere, _cube, _cylinder, _cone)


def background(
    batch: Pack, direction: Float[torch.Tensor, "n 3 p"]
) -> tuple[Float[torch.Tensor, "n p"], Int[torch.Tensor, "n p"]]:
    """Depth of the empty scene from the camera and what is hit: 0 table, 1 floor or ceiling, 2, 3
    walls across x and across y."""
    x, y, z = batch.camera[:, :, None].unbind(1)
    dx, dy, dz = _safe(direction).unbind(1)
    table = -z / dz
    on_x, on_y = (x + table * dx).abs() < TABLE_HALF, (y + table * dy).abs() < TABLE_HALF
    half_x, half_y = batch.room[:, 0, None], batch.room[:, 1, None]
    # The camera is inside the room: the exit of each slab is the far side.
    exits = torch.stack(
        [
            torch.where((dz < 0) & on_x & on_y, table, table.new_tensor(FAR)),
            (torch.where(dz < 0, FLOOR_Z, CEILING_Z) - z) / dz,
            (torch.where(dx < 0, -half_x, half_x) - x) / dx,
            (torch.where(dy < 0, -half_y, half_y) - y) / dy,
        ]
    )
    depth, what = exits.min(0)
    return depth, what
