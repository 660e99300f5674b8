"""Pictures and depth maps of scenes, many scenes at once, on any device.

One ray a pixel through its centre: edges are hard, so that the owner of every pixel and its depth
are exact. A 32-pixel picture is the 2x2 mean of the 64-pixel one; a depth map has its own rays,
because a mean over an edge is the depth of nothing.

All colours are display values in 0..1; the light adds in that space, which is not physics but
keeps the eight colours apart in light and in shadow. Tensors are [scene, 3, ray] as in geometry.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, Int8, UInt8

from benchmarks.tabletop.geometry import (
    FAR,
    Pack,
    SurfacePack,
    background,
    camera_rays,
    dot,
    pack,
    solid_depths,
    unit,
)
from benchmarks.tabletop.layout import HEIGHT, WIDTH
from benchmarks.tabletop.scenes import Scene

SIZES = (32, 64)
CHUNK = 32  # scenes at once: their rays stay in the cache of one core
_SENSOR_SEED = 77_003
Points = Float[torch.Tensor, "n 3 p"]
Values = Float[torch.Tensor, "n p"]
SHADOW_OFFSET = 2e-3  # metres off the surface, so that a surface does not shade itself
# Radius of the darkest part under each shape, for a size of one metre: a sphere touches the table
# in a point only, a cube is taken between its inner and outer circle.
CONTACT_RADIUS = (0.30, 0.52, 0.40, 0.54)


@torch.no_grad()
def render(
    scenes: Sequence[Scene], size: int = 64, device: str | torch.device = "cpu"
) -> UInt8[torch.Tensor, "n 3 {size} {size}"]:
    """Renders scenes; returns uint8 [n, 3, size, size] on `device`.

    Raises ValueError for a size other than 32 or 64.
    """
    if size not in SIZES:
        raise ValueError(f"the world is drawn at {SIZES} pixels, not {size}")
    chunks = []
    for start in range(0, len(scenes), CHUNK):
        batch = pack(scenes[start : start + CHUNK], device)
        color = _trace(batch, 64).unflatten(2, (64, 64)).clamp(0, 1) * 255
        image = color.round()
        if size == 32:
            # Rounded twice, so that it is the mean of the stored 64-pixel picture.
            image = torch.nn.functional.avg_pool2d(image, 2).round()
        chunks.append(image.to(torch.uint8))
    return torch.cat(chunks) if chunks else torch.empty(0, 3, size, size, dtype=torch.uint8)


@torch.no_grad()
def depth_map(
    scenes: Sequence[Scene], size: int = 64, device: str | torch.device = "cpu"
) -> tuple[Float[torch.Tensor, "n {size} {size}"], Int8[torch.Tensor, "n {size} {size}"]]:
    """Returns the true depth along the optical axis in metres and the owner of every pixel.

    owner: 0 for table and room, k + 1 for solid k of the scene.
    """
    depths, owners = [], []
    for start in range(0, len(scenes), CHUNK):
        batch = pack(scenes[start : start + CHUNK], device)
        depth, owner, _ = _first_hits(batch, camera_rays(batch, size))
        depths.append(depth.unflatten(1, (size, size)))
        owners.append(owner.unflatten(1, (size, size)).to(torch.int8))
    return torch.cat(depths), torch.cat(owners)


@torch.no_grad()
def empty_depth(scenes: Sequence[Scene], size: int = 64) -> Float[torch.Tensor, "n {size} {size}"]:
    """Depth in metres of table and room without the solids, seen by the true cameras."""
    batch = pack(scenes)
    return background(batch, camera_rays(batch, size))[0].unflatten(1, (size, size))


def sensor_depth(depth: Float[torch.Tensor, "h w"], index: int) -> Float[torch.Tensor, "h w"]:
    """Returns what a depth camera would report for a true depth map [h, w]: a training target.

    Noise grows with the square of the distance (sigma 0.4 % of z^2, in metres), inverse depth is
    quantised as by a stereo sensor (steps of 1/400 per metre), and holes (0: no measurement) lie at
    depth edges, in a few blots and beyond 8 m. A function of the scene's index alone.
    """
    rng = np.random.Generator(np.random.PCG64((_SENSOR_SEED, int(index))))
    z = depth.cpu().numpy().astype(np.float64)
    noisy = np.maximum(z + 0.004 * z * z * rng.standard_normal(z.shape), 0.05)
    measured = 400 / np.maximum(np.round(400 / noisy), 1)
    left = np.abs(z - np.roll(z, 1, axis=1)) / z
    left[:, 0] = 0
    # A stereo sensor loses part of the pixels beside a depth edge.
    holes = (left > 0.15) & (rng.random(z.shape) < 0.6)
    height, width = z.shape
    rows, columns = np.mgrid[:height, :width]
    for _ in range(int(rng.integers(0, 4))):
        row, column = rng.random(2) * (height, width)
        radius = (0.02 + 0.04 * rng.random()) * height
        holes |= (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    holes |= z > 8.0
    return torch.from_numpy(np.where(holes, 0.0, measured).astype(np.float32)).to(depth.device)


def _first_hits(
    batch: Pack, direction: Float[torch.Tensor, "n 3 p"]
) -> tuple[Float[torch.Tensor, "n p"], Int[torch.Tensor, "n p"], Int[torch.Tensor, "n p"]]:
    """Depth, owner (0: no solid) and background kind of the first thing every ray meets."""
    empty, what = background(batch, direction)
    near, place = solid_depths(batch, batch.camera[:, :, None], direction).min(1)
    solid = near < empty
    return torch.where(solid, near, empty), torch.where(solid, place + 1, 0), what


def _trace(batch: Pack, size: int) -> Float[torch.Tensor, "n 3 p"]:
    """Colours in 0..1 (may overshoot) of all pixels, row by row."""
    direction = camera_rays(batch, size)
    depth, owner, what = _first_hits(batch, direction)
    points = batch.camera[:, :, None] + depth[:, None] * direction
    pixel = depth * (2 / size) / batch.focal[:, None]  # metres across one pixel at this depth
    ground = _background_color(batch, points, direction, pixel, what)
    solids = _solid_color(batch, points, direction, pixel, owner)
    return torch.where((owner > 0)[:, None], solids, ground)


def _background_color(
    batch: Pack,
    points: Float[torch.Tensor, "n 3 p"],
    direction: Float[torch.Tensor, "n 3 p"],
    pixel: Float[torch.Tensor, "n p"],
    what: Int[torch.Tensor, "n p"],
) -> Float[torch.Tensor, "n 3 p"]:
    x, y, z = points.unbind(1)
    length = dot(direction, direction).sqrt()
    # Seen at a slant a pixel covers more of a plane: divide by the cosine to its normal.
    flat = pixel / (direction[:, 2].abs() / length).clamp_min(0.05)
    table = surface_color(batch.table, x, y, flat)
    shade = shadowed(batch, points, torch.zeros_like(what))
    dark = contact(batch, x, y)
    # The wall coordinate along the wall is y on walls across x, and x on the others.
    wall = surface_color(batch.wall, torch.where(what == 2, y, x), z, pixel)
    up = batch.light[:, 2, None]
    lit = batch.ambient[:, None] * (1 - 0.45 * dark) + batch.direct[:, None] * 1.15 * up * (
        1 - shade
    )
    side = torch.where(what == 2, 0.92, 0.80)
    floor = batch.floor[:, :, None] * torch.where(z[:, None] > 0, 1.6, 0.8)
    walls = torch.where((what >= 2)[:, None], wall * side[:, None], floor)
    return torch.where((what == 0)[:, None], table * lit[:, None], walls)


def _solid_color(
    batch: Pack,
    points: Float[torch.Tensor, "n 3 p"],
    direction: Float[torch.Tensor, "n 3 p"],
    pixel: Float[torch.Tensor, "n p"],
    owner: Int[torch.Tensor, "n p"],
) -> Float[torch.Tensor, "n 3 p"]:
    place = (owner - 1).clamp_min(0)

    def of(values: torch.Tensor) -> torch.Tensor:
        """Parameters of the solid that owns each pixel: [n, k, c] -> [n, c, p]."""
        index = place[:, :, None].expand(-1, -1, values.shape[2])
        return values.gather(1, index).transpose(1, 2)

    size = of(batch.size[:, :, None])
    local = points - torch.cat([of(batch.place), torch.zeros_like(size)], 1)
    local = local / size
    shape = batch.shape.gather(1, place)
    gloss = of(batch.gloss[:, :, None])
    normal = normals(local, shape, of(batch.turn), gloss[:, 0])
    view = unit(direction)
    light = batch.light[:, :, None]
    facing = dot(normal, light).clamp_min(0)
    shade = shadowed(batch, points + SHADOW_OFFSET * normal, owner)
    # Ambient light comes from above; a weak lamp at the camera keeps dark sides readable.
    sky = 0.72 + 0.28 * normal[:, 2]
    lamp = 0.25 * (-dot(normal, view)).clamp_min(0)
    lit = batch.ambient[:, None] * sky + lamp + batch.direct[:, None] * facing * (1 - shade)
    gain = solid_stripes(
        batch, local, of(batch.stripe[:, :, None])[:, 0] / size[:, 0], pixel / size[:, 0]
    )
    base = of(batch.rgb)
    matte = base * (lit * gain)[:, None]
    mirror = reflected(view, normal)
    spot = (dot(mirror, light).clamp_min(0) ** 24) * (1 - shade)
    rim = (1 + dot(normal, view)).clamp(0, 1) ** 3
    glow = window_light(mirror) * (0.55 + 0.45 * rim)
    shiny = matte * 0.62 + glow[:, None] * (0.35 + 0.65 * base) + 0.8 * spot[:, None]
    return torch.lerp(matte, shiny, gloss)


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


def shadowed(batch: Pack, points: Points, owner: Int[torch.Tensor, "n p"]) -> Values:
    """1 where another solid stands between a point and the light, else 0.

    The solids are convex: a solid's own shade follows from its normals alone.
    """
    depths = solid_depths(batch, points, batch.light[:, :, None])
    itself = owner[:, None] == torch.arange(1, depths.shape[1] + 1, device=depths.device)[:, None]
    return ((depths < FAR) & ~itself).any(1).to(points.dtype)


def contact(batch: Pack, x: Values, y: Values) -> Values:
    """Darkening of the table close to the solids, 0..1: a stand-in for the sky they hide."""
    radius = batch.size.new_tensor(CONTACT_RADIUS)[batch.shape] * batch.size
    radius = torch.where(batch.shape < 0, torch.zeros_like(radius), radius)
    gap = torch.hypot(
        x[:, None] - batch.place[:, :, 0, None], y[:, None] - batch.place[:, :, 1, None]
    )
    gap = (gap - radius[:, :, None]).clamp_min(0) / (0.22 * batch.size[:, :, None] + 1e-6)
    return torch.exp(-gap).mul((batch.shape >= 0)[:, :, None]).amax(1)


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


def solid_stripes(batch: Pack, local: Points, period: Values, footprint: Values) -> Values:
    """Gain of the rings that some matte solids carry; period and footprint in unit size."""
    on = (period > 0).to(period.dtype)
    safe = period.clamp_min(1e-3)
    # Tilted, so that rings show on lids and faces alike.
    phase = (local[:, 2] + 0.35 * local[:, 0] + 0.25 * local[:, 1]) / safe
    return fine_stripes(phase, safe / footprint, 0.38 * on)
