"""Pictures of any size through a flow of one size: overlapping tiles, blended.

A picture is covered by squares of `side` pixels that overlap by at least a quarter; where they
meet, values are averaged with weights that fall linearly towards a tile's border (a tent).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

RULE = 1  # raised by hand when a blended picture may change
OVERLAP = 4  # one part in so many of a side


@dataclass(frozen=True)
class Tile:
    """A predicted tile: what `Prepared.decode` gives where pictures have sizes of their own."""

    pixels: UInt8[np.ndarray, "side side 3"]


def corners(size: tuple[int, int], side: int) -> list[tuple[int, int]]:
    """(top, left) of the tiles of a picture of (height, width), row by row."""
    rows, columns = (_starts(length, side) for length in size)
    return [(top, left) for top in rows for left in columns]


def _starts(length: int, side: int) -> list[int]:
    """From 0 to length - side in equal steps of at most 3/4 of a side."""
    last = max(0, length - side)
    steps = -(-last // (side - side // OVERLAP))
    return [last * i // steps for i in range(steps + 1)] if steps else [0]


def cut(
    picture: UInt8[np.ndarray, "h w 3"], corner: tuple[int, int], side: int
) -> UInt8[np.ndarray, "side side 3"]:
    """A tile of a picture; beyond the picture its edge pixels are repeated."""
    top, left = corner
    inside = picture[top : top + side, left : left + side]
    lacking = [(0, side - inside.shape[0]), (0, side - inside.shape[1]), (0, 0)]
    return np.pad(inside, lacking, mode="edge")


def blend(
    tiles: Sequence[UInt8[np.ndarray, "side side 3"]], size: tuple[int, int], side: int
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture of (height, width) that tiles in the order of `corners` make, rounded."""
    height, width = size
    weight = _tent(side)
    canvas = (max(height, side), max(width, side))
    total, weights = np.zeros((*canvas, 3)), np.zeros((*canvas, 1))
    for (top, left), tile in zip(corners(size, side), tiles, strict=True):
        where = np.s_[top : top + side, left : left + side]
        total[where] += weight * tile
        weights[where] += weight
    whole: np.ndarray = np.rint(total / weights).astype(np.uint8)
    return np.ascontiguousarray(whole[:height, :width])


def _tent(side: int) -> Float[np.ndarray, "side side 1"]:
    line = np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)).astype(np.float64)
    return (line[:, None] * line)[..., None]
