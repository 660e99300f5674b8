"""Depth as a flow target: log metres, without holes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

    from benchmarks.metrics.depth import DepthProtocol


def to_log(
    depth: Float[np.ndarray, "*shape"], protocol: DepthProtocol
) -> Float[np.ndarray, "*shape"]:
    """ln(metres), limited to the protocol's range: the errors that score depth are relative.

    The paper does not say how it scales depth.
    """
    return np.log(protocol.clamp(depth)).astype(np.float32)


def from_log(
    target: Float[np.ndarray, "*shape"], protocol: DepthProtocol
) -> Float[np.ndarray, "*shape"]:
    """Back to metres, limited to the protocol's range."""
    limited = np.clip(target, np.log(protocol.low), np.log(protocol.high))
    return np.exp(limited).astype(np.float32)


def fill_holes(depth: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Pixels without a measurement (0) get the nearest measured depth; all zero stays all zero."""
    holes = depth <= 0
    if not holes.any() or holes.all():
        return depth
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(holes, return_distances=False, return_indices=True)
    return np.asarray(depth[tuple(nearest)])


def reduce_depth(
    depth: Float[np.ndarray, "h w"], size: tuple[int, int]
) -> Float[np.ndarray, "height width"]:
    """Depth at a smaller size: the mean of the measured pixels of each cell, 0 where none is."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    measured = torch.from_numpy((depth > 0).astype(np.float32))[None]
    metres = torch.from_numpy(depth.astype(np.float32))[None]
    share = adaptive_avg_pool2d(measured, size)
    mean = adaptive_avg_pool2d(metres * measured, size) / share.clamp(min=1e-6)
    return np.asarray(torch.where(share > 0, mean, 0.0)[0].numpy())


def enlarge(
    depth: Float[np.ndarray, "h w"], size: tuple[int, int]
) -> Float[np.ndarray, "height width"]:
    """Depth at the ground truth's size: bilinear, pixel centres aligned."""
    import torch
    from torch.nn.functional import interpolate

    maps = torch.from_numpy(np.ascontiguousarray(depth))[None, None]
    return np.asarray(interpolate(maps, size=size, mode="bilinear", align_corners=False)[0, 0])
