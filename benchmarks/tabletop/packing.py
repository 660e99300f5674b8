"""Turns a list of scenes into the tensors the renderer works on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from benchmarks.tabletop.scenes import COLOR_RGB, SHAPES, Scene, Surface

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
    """n scenes with k places for solids; a place without a solid has shape -1.

    by_shape[s]: (scene, place) of all solids of shape s, so that one call intersects them all.
    """

    shape: Int[torch.Tensor, "n k"]
    size: Float[torch.Tensor, "n k"]
    place: Float[torch.Tensor, "n k 2"]
    turn: Float[torch.Tensor, "n k 2"]
    stripe: Float[torch.Tensor, "n k"]
    gloss: Float[torch.Tensor, "n k"]
    rgb: Float[torch.Tensor, "n k 3"]
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
    pairs = [np.nonzero(shape == s) for s in range(len(SHAPES))]

    def real(values: object) -> torch.Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(device)

    solids = real(table)
    return Pack(
        shape=torch.from_numpy(shape).to(device),
        size=solids[..., 0],
        place=solids[..., 1:3],
        turn=solids[..., 3:5],
        stripe=solids[..., 5],
        gloss=solids[..., 6],
        rgb=solids[..., 7:],
        by_shape=tuple(
            (torch.from_numpy(i).to(device), torch.from_numpy(j).to(device)) for i, j in pairs
        ),
        camera=real([s.camera.position for s in scenes]),
        axes=real([(s.camera.right, s.camera.down, s.camera.forward) for s in scenes]),
        focal=real([s.camera.focal for s in scenes]),
        light=real([s.light.direction for s in scenes]),
        direct=real([s.light.direct for s in scenes]),
        ambient=real([s.light.ambient for s in scenes]),
        table=_surfaces([s.table for s in scenes], real),
        wall=_surfaces([s.wall for s in scenes], real),
        floor=real([s.floor for s in scenes]),
        room=real([s.room for s in scenes]),
    )


def _surfaces(surfaces: list[Surface], real: Callable[[object], torch.Tensor]) -> SurfacePack:
    return SurfacePack(
        base=real([s.base for s in surfaces]),
        other=real([s.other for s in surfaces]),
        checker=real([s.checker for s in surfaces]),
        tile=real([s.tile for s in surfaces]),
        stripe=real([s.stripe for s in surfaces]),
        along=real([(np.cos(s.angle), np.sin(s.angle)) for s in surfaces]),
        contrast=real([s.contrast for s in surfaces]),
    )
