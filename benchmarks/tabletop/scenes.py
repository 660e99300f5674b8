"""What stands on the table: scene i is a pure function of the global index i.

Nothing is stored and nothing depends on the order of the calls, so the training split has no end
and every split is reproduced by its first index alone. Only numpy is needed here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.tabletop.layout import TABLE_HALF, Layout, find_layout

VERSION = 1  # raised whenever a scene, picture or caption of some index would change
SHAPES = ("sphere", "cube", "cylinder", "cone")
MATERIALS = ("matte", "shiny")
# Six hues at least 40 degrees apart, and the two ends of the grey axis.
COLOR_RGB: dict[str, tuple[float, float, float]] = {
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

# First index of every split; far enough apart that none can run into the next.
SPLITS: dict[str, int] = {
    "train": 0,
    "validation": 1_000_000_000,
    "iid": 2_000_000_000,
    "pairs": 3_000_000_000,
    "crowd": 4_000_000_000,
    "codec": 5_000_000_000,
}
_SPAN = 1_000_000_000
# Colour and shape never seen together in train, validation, iid and crowd. Each colour and each
# shape has training scenes in other company. Split `codec` (for the evaluator and the image
# autoencoder, which must know every test picture) has all pairs and one to five solids.
HELD_OUT_PAIRS = (("red", "cone"), ("yellow", "cube"), ("blue", "cylinder"), ("purple", "sphere"))
_ALLOWED_PAIRS = tuple((c, s) for c in COLORS for s in SHAPES if (c, s) not in HELD_OUT_PAIRS)
_SEED = 20_250_713


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

    position: tuple[float, float, float]
    right: tuple[float, float, float]
    down: tuple[float, float, float]
    forward: tuple[float, float, float]
    focal: float  # length over half the picture's width (square picture, centre on the axis)


@dataclass(frozen=True)
class Light:
    """A directional light, and the shares of direct and ambient light."""

    direction: tuple[float, float, float]  # unit vector towards it
    direct: float
    ambient: float


@dataclass(frozen=True)
class Surface:
    """Texture of the table or of the walls: two greys with a cast, tiles and fine stripes."""

    base: tuple[float, float, float]
    other: tuple[float, float, float]
    checker: bool
    tile: float  # side, metres
    stripe: float  # period of the fine stripes in metres, 0 for none
    angle: float  # their direction, radians
    contrast: float  # their relative depth


@dataclass(frozen=True)
class View:
    """How one solid appears.

    Shares are estimates from flat silhouettes (see layout.py), good enough to decide what may be
    said about the solid.
    """

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
    floor: tuple[float, float, float]
    room: tuple[float, float]


def indices(split: str, count: int) -> np.ndarray:
    """Returns the first `count` global indices of a split, int64.

    Raises ValueError for an unknown split or a count beyond the split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: one of {', '.join(SPLITS)}")
    if not 0 <= count <= _SPAN:
        raise ValueError(f"a split holds 0 to {_SPAN} scenes, not {count}")
    return SPLITS[split] + np.arange(count, dtype=np.int64)


def split_of(index: int) -> str:
    """Returns the split that a global index belongs to; raises ValueError outside all of them."""
    for name, base in SPLITS.items():
        if base <= index < base + _SPAN:
            return name
    raise ValueError(f"scene index {index} is in no split")


def scene(index: int) -> Scene:
    """Returns scene `index`: a pure function of the index, the same on every machine.

    Number and attributes are drawn before the layout and kept while layouts are rejected, so the
    rejection of hidden solids does not unbalance the counts.
    """
    split = split_of(int(index))
    rng = np.random.Generator(np.random.PCG64((_SEED, int(index))))
    count = MAX_SOLIDS
    if split != "crowd":
        count = int(rng.integers(1, count + (split == "codec")))
    kinds = _kinds(split, count, rng)
    layout = None
    while layout is None:
        low, high = np.log(SIZE_RANGE)
        sizes = np.exp(rng.uniform(low, high, count))
        layout = find_layout([k[1] for k in kinds], sizes, rng)
    return _assemble(int(index), kinds, layout, rng)


def _kinds(split: str, count: int, rng: np.random.Generator) -> list[tuple[str, str, str]]:
    """Draws colour, shape and material of every solid, minding the pairs held out of training."""
    pool = _ALLOWED_PAIRS + HELD_OUT_PAIRS if split == "codec" else _ALLOWED_PAIRS
    picks = rng.integers(0, len(pool), count)
    shiny = rng.integers(0, 2, count)
    pairs = [pool[p] for p in picks]
    if split == "pairs":
        pairs[0] = HELD_OUT_PAIRS[int(rng.integers(0, len(HELD_OUT_PAIRS)))]
    return [(c, s, MATERIALS[m]) for (c, s), m in zip(pairs, shiny, strict=True)]


def _assemble(
    index: int, kinds: list[tuple[str, str, str]], layout: Layout, rng: np.random.Generator
) -> Scene:
    """Turns the layout's camera-aligned ground coordinates into world coordinates."""
    u = rng.random(32)
    azimuth = 2 * np.pi * u[0]
    cos_a, sin_a = float(np.cos(azimuth)), float(np.sin(azimuth))
    middle = layout.ground.mean(axis=0)
    # The group may stand anywhere on the table as long as all solids stay on it.
    slack = max(0.0, 0.92 * TABLE_HALF - 0.3 - float(np.abs(layout.ground - middle).max()) * 1.42)
    shift = (2 * u[1:3] - 1) * slack

    def world(side: float, ahead: float) -> tuple[float, float]:
        side, ahead = side - middle[0], ahead - middle[1]
        x = cos_a * side - sin_a * ahead + shift[0]
        y = sin_a * side + cos_a * ahead + shift[1]
        return float(x), float(y)

    pixel = layout.width / 64  # one pixel of a 64-pixel picture at the solids' distance, metres
    solids = []
    for k, (color, shape, material) in enumerate(kinds):
        x, y = world(*layout.ground[k])
        striped = material == "matte" and u[3 + k] < 0.4
        stripe = float(pixel * (3.0 + 3.0 * u[8 + k])) if striped else 0.0
        yaw = float(u[13 + k] * np.pi / 2 + azimuth)
        solids.append(Solid(shape, color, material, float(layout.sizes[k]), x, y, yaw, stripe))
    cos_e, sin_e = float(np.cos(layout.elevation)), float(np.sin(layout.elevation))
    position = (*world(layout.camera[0], layout.camera[1]), float(layout.camera[2]))
    camera = Camera(
        position=position,
        right=(cos_a, sin_a, 0.0),
        down=(sin_a * sin_e, -cos_a * sin_e, -cos_e),
        forward=(-sin_a * cos_e, cos_a * cos_e, -sin_e),
        focal=float(layout.focal),
    )
    reach = max(abs(position[0]), abs(position[1]), TABLE_HALF) + 0.4
    views = tuple(View(*(float(v) for v in row)) for row in layout.views)
    return Scene(
        index=index,
        solids=tuple(solids),
        views=views,
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
    direct = float(rng.uniform(0.50, 0.68))
    return Light(direction, direct, float(1.02 - direct - rng.uniform(0.0, 0.08)))


def _grey(rng: np.random.Generator, low: float, high: float) -> tuple[float, float, float]:
    """Draws a grey with a slight warm or cold cast, so that colours belong to solids alone."""
    level, cast = rng.uniform(low, high), rng.uniform(-0.05, 0.07)
    return float(level + cast), float(level + 0.2 * cast), float(level - cast)


def _surface(rng: np.random.Generator, pixel: float, tile: float, stripes: float) -> Surface:
    base = _grey(rng, 0.44, 0.68)
    u = rng.random(5)
    gain = 1.0 + (0.10 + 0.10 * u[0]) * (1.0 if u[1] < 0.5 else -1.0)
    # A period of 3.5 to 7 pixels shows at 64 pixels and is beyond the Nyquist limit (8) at 16.
    period = float(pixel * (3.5 + 3.5 * u[2])) if u[3] < stripes else 0.0
    return Surface(
        base=base,
        other=(base[0] * gain, base[1] * gain, base[2] * gain),
        checker=bool(rng.random() < 0.5),
        tile=tile,
        stripe=period,
        angle=float(np.pi * u[4]),
        contrast=float(rng.uniform(0.25, 0.5)),
    )
