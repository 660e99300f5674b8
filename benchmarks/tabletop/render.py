"""Pictures and depth maps of scenes, many scenes at once, on any device.

One ray a pixel through its centre: edges are hard, so that the owner of every pixel and its depth
are exact. All colours are display values in 0..1; the light adds in that space, which is not
physics but keeps the eight colours apart in light and in shadow. Tensors as in geometry.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import numpy as np
import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor

from benchmarks.tabletop import geometry
from benchmarks.tabletop.geometry import Device, Ids, Pack, Values, Vectors, dot, unit
from benchmarks.tabletop.layout import HEIGHT, WIDTH
from benchmarks.tabletop.scenes import Scene

SIZE = 64  # pixels of a picture, each way
CHUNK = 32  # scenes at once: their rays stay in the cache of one core
SHADOW_OFFSET = 2e-3  # metres off the surface, so that a surface does not shade itself
# Radius of the darkest part under each shape, for a size of one metre: a sphere touches the table
# in a point only, a cube is taken between its inner and outer circle.
CONTACT_RADIUS = (0.30, 0.52, 0.40, 0.54)
_SENSOR_SEED = 77_003


@torch.no_grad()
def render(scenes: Sequence[Scene], device: Device = "cpu") -> UInt8[Tensor, "n 3 64 64"]:
    """Pictures of scenes, on `device`."""
    colors = (_trace(batch).unflatten(2, (SIZE, SIZE)) for batch in _packs(scenes, device))
    return torch.cat([(color.clamp(0, 1) * 255).round().to(torch.uint8) for color in colors])


def half_size(images: UInt8[Tensor, "n 3 64 64"]) -> UInt8[Tensor, "n 3 32 32"]:
    """Pictures at 32 pixels: the 2 x 2 mean, rounded half to even."""
    return torch.nn.functional.avg_pool2d(images.float(), 2).round().to(torch.uint8)


@torch.no_grad()
def depth_map(
    scenes: Sequence[Scene], size: int = SIZE, device: Device = "cpu"
) -> tuple[Float[Tensor, "n {size} {size}"], Int8[Tensor, "n {size} {size}"]]:
    """True depth along the optical axis in metres, and the owner of every pixel.

    Every size has its own rays: a mean over an edge is the depth of nothing. owner: 0 for table and
    room, k + 1 for solid k of the scene.
    """
    hits = [
        _first_hits(batch, geometry.camera_rays(batch, size)) for batch in _packs(scenes, device)
    ]
    depth, owner = (torch.cat([hit[k] for hit in hits]).unflatten(1, (size, size)) for k in (0, 1))
    return depth, owner.to(torch.int8)


@torch.no_grad()
def empty_depth(scenes: Sequence[Scene]) -> Float[Tensor, "n 64 64"]:
    """Depth in metres of table and room without the solids, seen by the true cameras."""
    batch = geometry.pack(scenes)
    return geometry.background(batch, geometry.camera_rays(batch, SIZE))[0].unflatten(
        1, (SIZE, SIZE)
    )


def sensor_depth(depth: Float[Tensor, "h w"], index: int) -> Float[Tensor, "h w"]:
    """What a depth camera would report for a true depth map: a training target.

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


def _packs(scenes: Sequence[Scene], device: Device) -> Iterator[Pack]:
    for start in range(0, len(scenes), CHUNK):
        yield geometry.pack(scenes[start : start + CHUNK], device)


def _first_hits(batch: Pack, direction: Vectors) -> tuple[Values, Ids, Ids]:
    """Depth, owner (0: no solid) and background kind of the first thing every ray meets."""
    empty, what = geometry.background(batch, direction)
    near, place = geometry.solid_depths(batch, batch.camera.position[:, :, None], direction).min(1)
    solid = near < empty
    return torch.where(solid, near, empty), torch.where(solid, place + 1, 0), what


def _trace(batch: Pack) -> Vectors:
    """Colours in 0..1 (may overshoot) of all pixels, row by row."""
    direction = geometry.camera_rays(batch, SIZE)
    depth, owner, what = _first_hits(batch, direction)
    points = batch.camera.position[:, :, None] + depth[:, None] * direction
    pixel = depth * (2 / SIZE) / batch.camera.focal[:, None]  # metres across one pixel there
    ground = _background_color(batch, points, direction, pixel, what)
    solids = _solid_color(batch, points, direction, pixel, owner)
    return torch.where((owner > 0)[:, None], solids, ground)


def _background_color(
    batch: Pack, points: Vectors, direction: Vectors, pixel: Values, what: Ids
) -> Vectors:
    x, y, z = points.unbind(1)
    length = dot(direction, direction).sqrt()
    # Seen at a slant a pixel covers more of a plane: divide by the cosine to its normal.
    flat = pixel / (direction[:, 2].abs() / length).clamp_min(0.05)
    table = _surface_color(batch.table, x, y, flat)
    # The wall coordinate along the wall is y on walls across x, and x on the others.
    wall = _surface_color(batch.wall, torch.where(what == 2, y, x), z, pixel)
    light = batch.light
    sky = light.ambient[:, None] * (1 - 0.45 * _contact(batch, x, y))
    direct = light.direct[:, None] * 1.15 * light.direction[:, 2, None]
    lit = sky + direct * (1 - _shadowed(batch, points, torch.zeros_like(what)))
    side = torch.where(what == 2, 0.92, 0.80)
    floor = batch.floor[:, :, None] * torch.where(z[:, None] > 0, 1.6, 0.8)
    walls = torch.where((what >= 2)[:, None], wall * side[:, None], floor)
    return torch.where((what == 0)[:, None], table * lit[:, None], walls)


def _solid_color(
    batch: Pack, points: Vectors, direction: Vectors, pixel: Values, owner: Ids
) -> Vectors:
    place = (owner - 1).clamp_min(0)

    def of(values: Tensor) -> Tensor:
        """Parameters of the solid that owns each pixel: [n, k, c] -> [n, c, p]."""
        index = place[:, :, None].expand(-1, -1, values.shape[2])
        return values.gather(1, index).transpose(1, 2)

    size, gloss, stripe = of(batch.size), of(batch.gloss), of(batch.stripe)
    local = (points - torch.cat([of(batch.place), torch.zeros_like(size)], 1)) / size
    normal = _normals(local, batch.shape.gather(1, place), of(batch.turn), gloss[:, 0])
    view, light = unit(direction), batch.light.direction[:, :, None]
    facing = dot(normal, light).clamp_min(0)
    shade = _shadowed(batch, points + SHADOW_OFFSET * normal, owner)
    # Ambient light comes from above; a weak lamp at the camera keeps dark sides readable.
    sky = 0.72 + 0.28 * normal[:, 2]
    lamp = 0.25 * (-dot(normal, view)).clamp_min(0)
    lit = batch.light.ambient[:, None] * sky + lamp
    lit = lit + batch.light.direct[:, None] * facing * (1 - shade)
    # Rings of some matte solids, tilted so that they show on lids and faces alike.
    period = (stripe / size)[:, 0]
    safe = period.clamp_min(1e-3)
    phase = (local[:, 2] + 0.35 * local[:, 0] + 0.25 * local[:, 1]) / safe
    gain = _fine_stripes(phase, safe / (pixel / size[:, 0]), 0.38 * (period > 0))
    base = of(batch.rgb)
    matte = base * (lit * gain)[:, None]
    mirror = view - 2 * dot(view, normal)[:, None] * normal
    spot = (dot(mirror, light).clamp_min(0) ** 24) * (1 - shade)
    rim = (1 + dot(normal, view)).clamp(0, 1) ** 3
    glow = _window_light(mirror) * (0.55 + 0.45 * rim)
    shiny = matte * 0.62 + glow[:, None] * (0.35 + 0.65 * base) + 0.8 * spot[:, None]
    return torch.lerp(matte, shiny, gloss)


def _fine_stripes(phase: Values, pixels: Values, contrast: Values) -> Values:
    """Gain of stripes at a phase (one per period), faded out where a period is under 2 pixels.

    Without the fade one ray a pixel would turn distant stripes into moire.
    """
    fade = (pixels / 2 - 1).clamp(0, 1)
    return 1 - contrast * fade * (0.5 + 0.5 * torch.sin(2 * torch.pi * phase)).round()


def _surface_color(surface: SimpleNamespace, a: Values, b: Values, footprint: Values) -> Vectors:
    """Texture at surface coordinates a, b in metres; footprint: metres a pixel covers there."""
    tile = surface.tile[:, None]
    row, column = (a / tile).floor(), (b / tile).floor()
    odd = torch.remainder(row + column * surface.checker[:, None], 2)[:, None]
    color = torch.lerp(surface.base[:, :, None], surface.other[:, :, None], odd)
    period = surface.stripe[:, None].clamp_min(1e-3)
    phase = (a * surface.along[:, 0, None] + b * surface.along[:, 1, None]) / period
    contrast = surface.contrast[:, None] * (surface.stripe[:, None] > 0)
    return color * _fine_stripes(phase, period / footprint, contrast)[:, None]


def _normals(local: Vectors, shape: Ids, turn: Float[Tensor, "n 2 p"], gloss: Values) -> Vectors:
    """Outward unit normals at points of unit-size solids, in their frame but not turned.

    Glossy cubes get bent normals, as if polished: a flat mirror would show one shade.
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
    flat = [torch.sign(u) * side, torch.sign(v) * (~side & ~top), top.to(x.dtype)]
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


def _shadowed(batch: Pack, points: Vectors, owner: Ids) -> Values:
    """1 where another solid stands between a point and the light, else 0.

    The solids are convex: a solid's own shade follows from its normals alone.
    """
    depths = geometry.solid_depths(batch, points, batch.light.direction[:, :, None])
    itself = owner[:, None] == torch.arange(1, depths.shape[1] + 1, device=depths.device)[:, None]
    return ((depths < geometry.FAR) & ~itself).any(1).to(points.dtype)


def _contact(batch: Pack, x: Values, y: Values) -> Values:
    """Darkening of the table close to the solids, 0..1: a stand-in for the sky they hide."""
    radius = batch.size.new_tensor(CONTACT_RADIUS)[batch.shape][:, :, None] * batch.size
    place = batch.place[:, :, None]
    gap = torch.hypot(x[:, None] - place[..., 0], y[:, None] - place[..., 1])
    gap = (gap - radius).clamp_min(0) / (0.22 * batch.size + 1e-6)
    return torch.exp(-gap).mul((batch.shape >= 0)[:, :, None]).amax(1)


def _window_light(mirror: Vectors) -> Values:
    """Brightness of what a glossy solid mirrors: a dark ground, a bright room with four windows.

    Smooth and wide on purpose: fine patterns belong to matte solids, so that gloss and stripes
    cannot be taken for each other.
    """
    x, y, z = mirror.unbind(1)
    windows = (0.5 + 0.5 * torch.sin(4 * torch.atan2(y, x))) ** 2
    sky = ((z + 0.55) * 1.4).clamp(0, 1)
    return (0.25 + 0.75 * windows) * (0.15 + 0.85 * sky)
