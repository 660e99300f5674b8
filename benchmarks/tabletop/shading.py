"""Colours of the points that rays hit: textures, light, shadow, gloss.

All colours are display values in 0..1; the light adds in that space, which is not physics but
keeps the eight colours apart in light and in shadow. Tensors are [scene, 3, ray] as in geometry.py.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int

from benchmarks.tabletop.geometry import dot, solid_depths, unit
from benchmarks.tabletop.layout import HEIGHT, WIDTH
from benchmarks.tabletop.packing import FAR, Pack, SurfacePack

Points = Float[torch.Tensor, "n 3 p"]
Values = Float[torch.Tensor, "n p"]
SHADOW_OFFSET = 2e-3  # metres off the surface, so that a surface does not shade itself


# Radius of the darkest part under each shape, for a size of one metre: a sphere touches the table
# in a point only, a cube is taken between its inner and outer circle.
CONTACT_RADIUS = (0.30, 0.52, 0.40, 0.54)


def fine_stripes(phase: Values, pixels: Values, contrast: Values) -> Values:
    """Gain of stripes at a phase (one per period), faded out where a period is under 2 pixels.

    Without the fade one ray a pixel would turn distant stripes into moire.
    """
    fade = (pixels / 2 - 1).clamp(0, 1)
    return 1 - contrast * fade * (0.5 + 0.5 * torch.sin(2 * torch.pi * phase)).round()


def surface_color(surface: SurfacePack, a: Values, b: Values, footprint: Values) -> Points:
    """Texture at surface coordinates a, b in metres; footprint: metres a pixel covers there."""
    tile = surface.tile[:, None]
    row, column = (a / tile).floor(), (b / tile).floor()
    odd = torch.remainder(row + column * surface.checker[:, None], 2)[:, None]
    color = torch.lerp(surface.base[:, :, None], surface.other[:, :, None], odd)
    period = surface.stripe[:, None].clamp_min(1e-3)
    phase = (a * surface.along[:, 0, None] + b * surface.along[:, 1, None]) / period
    contrast = surface.contrast[:, None] * (surface.stripe[:, None] > 0)
    return color * fine_stripes(phase, period / footprint, contrast)[:, None]


def normals(local: Points, shape: Int[torch.Tensor, "n p"], turn: Points, gloss: Values) -> Points:
    """Outward unit normals at points of unit-size solids standing on the ground.

    local: points in the solid's frame (not turned); turn: cos and sin of the yaw [n, 2, p]. Glossy
    cubes get bent normals, as if polished: a flat mirror would show one shade and look matte.
    """
    x, y, z = local.unbind(1)
    cos, sin = turn.unbind(1)
    ball = torch.stack([x, y, z - 0.5], 1) * 2
    # Cube: the axis whose coordinate is nearest to a face, relative to the half edge.
    half = WIDTH["cube"] / 2
    u, v = (cos * x + sin * y) / half, (cos * y - sin * x) / half
    w = (z - HEIGHT["cube"] / 2) / (HEIGHT["cube"] / 2)
    top = (w >= u.abs()) & (w >= v.abs())
    side = (u.abs() >= v.abs()) & ~top
    other = ~side & ~top
    flat = [torch.sign(u) * side, torch.sign(v) * other, top.to(x.dtype)]
    bent = [u.pow(5), v.pow(5), w.pow(5)]
    fu, fv, fw = (torch.lerp(f, b, gloss) for f, b in zip(flat, bent, strict=True))
    box = unit(torch.stack([cos * fu - sin * fv, sin * fu + cos * fv, fw], 1))
    radius = (x * x + y * y).sqrt().clamp_min(1e-6)
    lid = (z > HEIGHT["cylinder"] - 1e-3).to(x.dtype)
    tube = torch.stack([x / radius * (1 - lid), y / radius * (1 - lid), lid], 1)
    slope = WIDTH["cone"] / 2 / HEIGHT["cone"]
    norm = (1 + slope * slope) ** 0.5
    tip = torch.stack([x / radius / norm, y / radius / norm, torch.full_like(x, slope / norm)], 1)
    pick = shape[:, None]
    curved = torch.where(pick == 2, tube, tip)
    return torch.where(pick == 0, ball, torch.where(pick == 1, box, curved))


def shadowed(pack: Pack, points: Points, owner: Int[torch.Tensor, "n p"]) -> Values:
    """1 where another solid stands between a point and the light, else 0.

    The solids are convex: a solid's own shade follows from its normals alone.
    """
    depths = solid_depths(pack, points, pack.light[:, :, None])
    own = owner[:, None] == torch.arange(1, depths.shape[1] + 1, device=depths.device)[:, None]
    return ((depths < FAR) & ~own).any(1).to(points.dtype)


def contact(pack: Pack, x: Values, y: Values) -> Values:
    """Darkening of the table close to the solids, 0..1: a stand-in for the sky they hide."""
    radius = pack.size.new_tensor(CONTACT_RADIUS)[pack.shape] * pack.size
    radius = torch.where(pack.shape < 0, torch.zeros_like(radius), radius)
    gap = torch.hypot(
        x[:, None] - pack.place[:, :, 0, None], y[:, None] - pack.place[:, :, 1, None]
    )
    gap = (gap - radius[:, :, None]).clamp_min(0) / (0.22 * pack.size[:, :, None] + 1e-6)
    return torch.exp(-gap).mul((pack.shape >= 0)[:, :, None]).amax(1)


def reflected(view: Points, normal: Points) -> Points:
    """Mirror directions of unit view directions at unit normals."""
    return view - 2 * dot(view, normal)[:, None] * normal


def window_light(mirror: Points) -> Values:
    """Brightness of what a glossy solid mirrors: a dark ground, a bright room with four windows.

    Smooth and wide on purpose: fine patterns belong to matte solids, so that gloss and stripes
    cannot be taken for each other.
    """
    x, y, z = mirror.unbind(1)
    windows = (0.5 + 0.5 * torch.sin(4 * torch.atan2(y, x))) ** 2
    sky = ((z + 0.55) * 1.4).clamp(0, 1)
    return (0.25 + 0.75 * windows) * (0.15 + 0.85 * sky)


def solid_stripes(pack: Pack, local: Points, period: Values, footprint: Values) -> Values:
    """Gain of the rings that some matte solids carry; period and footprint in unit size."""
    on = (period > 0).to(period.dtype)
    safe = period.clamp_min(1e-3)
    # Tilted, so that rings show on lids and faces alike.
    phase = (local[:, 2] + 0.35 * local[:, 0] + 0.25 * local[:, 1]) / safe
    return fine_stripes(phase, safe / footprint, 0.38 * on)
