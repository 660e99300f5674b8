"""What stands on the table: scene i is a pure function of the global index i.

Nothing is stored and nothing depends on the order of the calls: the training split has no end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.tabletop.layout import TABLE_HALF, Layout, find_layout

VERSION = 1  # raised whenever a scene, picture or caption of some index would change
SHAPES = ("sphere", "cube", "cylinder", "cone")
MATERIALS = ("matte", "shiny")
# Six hues at least 40 degrees apart, and the two ends of the grey axis.
COLOR_RGB: dict[str, Triple] = {
    "red": (0.88, 0.10, 0.08),
    "yellow": (0.98, 0.82, 0.05),
    "green": (0.08, 0.62, 0.12),
    "cyan": (0.10, 0.82, 0.88),
    "blue": (0.08, 0.18, 0.88),
    "purple": (0.72, 0.12, 0.78),
    "white": (0.97, 0.97, 0.97),
    "black": (0.12, 0.12, 0.12),
}
COLORS = tuple(COLOR_RGB)

SIZE_RANGE = (0.20, 0.52)
MAX_SOLIDS = 5
FLOOR_Z = -0.75
CEILING_Z = 3.2

# Split k holds the indices from k * SPAN on.
SPLITS = ("train", "validation", "iid", "pairs", "crowd", "codec")
SPAN = 1_000_000_000
# Colour and shape never seen together in train, validation, iid and crowd. Each colour and each
# shape has training scenes in other company. Split `codec` (for the evaluator and the image
# autoencoder, which must know every test picture) has all pairs and one to five solids.
HELD_OUT_PAIRS = (("red", "cone"), ("yellow", "cube"), ("blue", "cylinder"), ("purple", "sphere"))
_ALLOWED_PAIRS = tuple((c, s) for c in COLORS for s in SHAPES if (c, s) not in HELD_OUT_PAIRS)
_SEED = 20_250_713
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Solid:
    """One solid on the table; lengths in metres."""

    shape: str
    color: str
    material: str
    size: float  # proportions for a size are in layout.WIDTH and HEIGHT
    x: float
    y: float
    yaw: float  # radians
    stripe: float  # period, 0 for a plain surface


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; `right`, `down`, `forward` are unit vectors of the world."""

    position: Triple
    right: Triple
    down: Triple
    forward: Triple
    focal: float  # length over half the picture's width (square picture, centre on the axis)


@dataclass(frozen=True)
class Light:
    """A directional light, and the shares of direct and ambient light."""

    direction: Triple  # unit vector towards it
    direct: float
    ambient: float


@dataclass(frozen=True)
class Surface:
    """Texture of the table or of the walls: two greys with a cast, tiles and fine stripes."""

    base: Triple
    other: Triple
    checker: bool
    tile: float  # side, metres
    stripe: float  # period of the fine stripes in metres, 0 for none
    along: tuple[float, float]  # unit vector across them
    contrast: float  # their relative depth


@dataclass(frozen=True)
class View:
    """How one solid appears; shares are layout.py's estimates from flat silhouettes."""

    x: float  # centre in the picture, 0..1 from the left
    y: float  # and from the top
    depth: float  # z-depth, metres
    area: float  # visible share of the picture
    visible: float  # visible share of the solid


@dataclass(frozen=True)
class Scene:
    """All that the renderer and the captions need to know; `views` is aligned with `solids`."""

    index: int
    solids: tuple[Solid, ...]
    views: tuple[View, ...]
    camera: Camera
    light: Light
    table: Surface
    wall: Surface
    floor: Triple
    room: tuple[float, float]


def indices(split: str, count: int) -> np.ndarray:
    """The first `count` global indices of a split, int64; ValueError where there are none."""
    if split not in SPLITS or not 0 <= count <= SPAN:
        raise ValueError(f"{count} scenes of {split!r}: {', '.join(SPLITS)} hold {SPAN} each")
    return SPLITS.index(split) * SPAN + np.arange(count, dtype=np.int64)


def scenes_of(split: str, count: int) -> list[Scene]:
    """The first `count` scenes of a split."""
    return [scene(index) for index in indices(split, count).tolist()]


def scene(index: int) -> Scene:
    """Scene `index`, the same on every machine; ValueError for an index in no split.

    Number and attributes are drawn before the layout and kept while layouts are rejected, so the
    rejection of hidden solids does not unbalance the counts.
    """
    if not 0 <= index < len(SPLITS) * SPAN:
        raise ValueError(f"scene index {index} is in no split")
    split = SPLITS[index // SPAN]
    rng = np.random.Generator(np.random.PCG64((_SEED, index)))
    count = MAX_SOLIDS
    if split != "crowd":
        count = int(rng.integers(1, count + (split == "codec")))
    kinds = _kinds(split, count, rng)
    accepted, (low, high) = None, np.log(SIZE_RANGE)
    while accepted is None:
        sizes = np.exp(rng.uniform(low, high, count))
        accepted = find_layout([shape for _, shape, _ in kinds], sizes, rng)
    return _assemble(index, kinds, sizes, *accepted, rng)


def _kinds(split: str, count: int, rng: np.random.Generator) -> list[tuple[str, str, str]]:
    """Draws colour, shape and material of every solid, minding the pairs held out of training."""
    pool = _ALLOWED_PAIRS + HELD_OUT_PAIRS if split == "codec" else _ALLOWED_PAIRS
    pairs = [pool[pick] for pick in rng.integers(0, len(pool), count)]
    shiny = rng.integers(0, 2, count)
    if split == "pairs":
        pairs[0] = HELD_OUT_PAIRS[int(rng.integers(0, len(HELD_OUT_PAIRS)))]
    return [(c, s, MATERIALS[m]) for (c, s), m in zip(pairs, shiny, strict=True)]


def _assemble(
    index: int,
    kinds: list[tuple[str, str, str]],
    sizes: np.ndarray,
    layout: Layout,
    views: np.ndarray,
    rng: np.random.Generator,
) -> Scene:
    """Turns the layout's camera-aligned ground coordinates into world coordinates."""
    u = rng.random(32)
    azimuth = float(2 * np.pi * u[0])
    cos_a, sin_a = float(np.cos(azimuth)), float(np.sin(azimuth))
    middle = layout.ground.mean(axis=0)
    # The group may stand anywhere on the table as long as all solids stay on it.
    slack = max(0.0, 0.92 * TABLE_HALF - 0.3 - np.abs(layout.ground - middle).max() * 1.42)
    shift = (2 * u[1:3] - 1) * slack

    def world(ground: np.ndarray) -> tuple[float, float]:
        side, ahead = ground - middle
        x, y = cos_a * side - sin_a * ahead, sin_a * side + cos_a * ahead
        return float(x + shift[0]), float(y + shift[1])

    pixel = float(layout.width / 64)  # at 64 pixels, at the solids' distance, metres
    solids = []
    for k, (color, shape, material) in enumerate(kinds):
        striped = material == "matte" and u[3 + k] < 0.4
        stripe = float(pixel * (3.0 + 3.0 * u[8 + k])) if striped else 0.0
        yaw = float(u[13 + k] * np.pi / 2 + azimuth)
        place = world(layout.ground[k])
        solids.append(Solid(shape, color, material, float(sizes[k]), *place, yaw, stripe))
    cos_e, sin_e = float(np.cos(layout.elevation)), float(np.sin(layout.elevation))
    camera = Camera(
        position=(*world(layout.camera[:2]), float(layout.camera[2])),
        right=(cos_a, sin_a, 0.0),
        down=(sin_a * sin_e, -cos_a * sin_e, -cos_e),
        forward=(-sin_a * cos_e, cos_a * cos_e, -sin_e),
        focal=float(layout.focal),
    )
    reach = max(*(abs(side) for side in camera.position[:2]), TABLE_HALF) + 0.4
    return Scene(
        index=index,
        solids=tuple(solids),
        views=tuple(View(*row) for row in views.tolist()),
        camera=camera,
        light=_light(rng, azimuth),
        table=_surface(rng, pixel, tile=0.25, stripes=0.6),
        wall=_surface(rng, 1.8 * pixel, tile=0.5, stripes=0.5),
        floor=_grey(rng, 0.20, 0.45),
        room=(reach + float(2.0 * u[20]), reach + float(2.0 * u[21])),
    )


def _light(rng: np.random.Generator, azimuth: float) -> Light:
    # Never from straight behind the solids: the side that the camera sees would be one flat shade.
    around = azimuth - np.pi / 2 + rng.uniform(-2.3, 2.3)
    height = np.deg2rad(rng.uniform(32, 68))
    flat = np.cos(height)
    direction = (float(flat * np.cos(around)), float(flat * np.sin(around)), float(np.sin(height)))
    direct = rng.uniform(0.50, 0.68)
    return Light(direction, direct, 1.02 - direct - rng.uniform(0.0, 0.08))


def _grey(rng: np.random.Generator, low: float, high: float) -> Triple:
    """Draws a grey with a slight warm or cold cast, so that colours belong to solids alone."""
    level, cast = rng.uniform(low, high), rng.uniform(-0.05, 0.07)
    return level + cast, level + 0.2 * cast, level - cast


def _surface(rng: np.random.Generator, pixel: float, tile: float, stripes: float) -> Surface:
    base = _grey(rng, 0.44, 0.68)
    u = rng.random(5).tolist()
    gain = 1.0 + (0.10 + 0.10 * u[0]) * (1.0 if u[1] < 0.5 else -1.0)
    return Surface(
        base=base,
        other=(base[0] * gain, base[1] * gain, base[2] * gain),
        checker=rng.random() < 0.5,
        tile=tile,
        # 3.5 to 7 pixels show at 64 pixels and are beyond the Nyquist limit (8) at 16.
        stripe=pixel * (3.5 + 3.5 * u[2]) if u[3] < stripes else 0.0,
        along=(float(np.cos(np.pi * u[4])), float(np.sin(np.pi * u[4]))),
        contrast=rng.uniform(0.25, 0.5),
    )
