"""The backbone DiMR (Liu et al. 2024) as CrossFlow uses it: a transformer and ConvNeXt stages.

Each stage cuts the whole map into patches of its own size, finer from stage to stage, and gives a
velocity on its own grid. All outputs of a stage's blocks go to the next one. Time enters through
the norms. Between and inside stages maps are rows of tokens, n = rows * columns of the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from crossflow.errors import InputError
from crossflow.layers import Attention
from crossflow.network import Backbone, DiMRSize, DiT, Nulls, Size
from crossflow.problem import Map, Mask, Problem, Read, Row, Tokens


@dataclass(frozen=True)
class StageSize:
    """Blocks of a stage (an odd number), their widths, and the side of its patches."""

    depth: int
    width: int
    hidden: int
    patch: int
    heads: int | None = None  # of attention; None: a ConvNeXt stage
    kernel: int = 7  # of a ConvNeXt stage
    last_kernel: int = 3  # of the convolution that gives the velocity


def stages_of(size: DiMRSize, patch: int) -> list[StageSize]:
    """A transformer on patches of at least 2, then ConvNeXt on half of them, down to pixels.

    The official configurations are of this form: 256 pixels at patch 2, 512 pixels at patch 4.
    """
    side, width = max(patch, 2), size.width
    stages = [StageSize(size.depth, width, size.hidden, side, size.heads)]
    while side > 1:
        side, width = side // 2 if side % 2 == 0 else 1, width // 2
        stages.append(StageSize(size.conv_depth, width, 2 * width, side))
    return stages


class Moving(nn.Module):
    """A vector that moves with time: end + sigmoid((1 + slope) tau + shift) (start - end).

    tau = 1 - 2 t, a quarter of what the official code calls the log of the signal-to-noise ratio.
    """

    def __init__(self, width: int, value: float) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.full((width,), value))
        self.end = nn.Parameter(torch.full((width,), value))
        self.slope = nn.Parameter(torch.zeros(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, tau: Row) -> Float[Tensor, "b 1 d"]:
        share = torch.sigmoid(torch.addcmul(self.shift, tau[:, None], 1 + self.slope))
        return torch.addcmul(self.end, share, self.start - self.end)[:, None]


class RMSNorm(nn.Module):
    """x over its root mean square, times a moving scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = Moving(width, 1.0)

    def forward(self, x: Tokens, tau: Row) -> Tokens:
        size = x.norm(dim=-1, keepdim=True) * x.shape[-1] ** -0.5
        return self.scale(tau) * (x / (size + 1e-8))


class LayerNorm(nn.Module):
    """Layer norm with a moving scale and shift."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.shift = Moving(width, 1.0), Moving(width, 0.0)

    def forward(self, x: Tokens, tau: Row) -> Tokens:
        return torch.addcmul(self.shift(tau), self.scale(tau), F.layer_norm(x, x.shape[-1:]))


class GatedMLP(nn.Module):
    """Norm, then a linear layer gated by the GELU of another, and a third."""

    def __init__(self, size: StageSize) -> None:
        super().__init__()
        self.norm = RMSNorm(size.width)
        self.gate, self.up = (nn.Linear(size.width, size.hidden) for _ in range(2))
        self.down = nn.Linear(size.hidden, size.width)

    def forward(self, x: Tokens, tau: Row) -> Tokens:
        y = self.norm(x, tau)
        return self.down(F.gelu(self.gate(y)) * self.up(y))


class Block(nn.Module):
    """Attention, with cross-attention after it where there is a condition, and a gated MLP."""

    def __init__(self, size: StageSize, cond_width: int | None) -> None:
        super().__init__()
        assert size.heads is not None
        self.norm = RMSNorm(size.width)
        self.attention = Attention(size.width, size.heads, bias=False)
        self.cross = None
        if cond_width is not None:
            self.norm_cross = RMSNorm(size.width)
            self.cross = Attention(size.width, size.heads, cond_width)
        self.mlp = GatedMLP(size)

    def forward(self, x: Tokens, tau: Row, cond: Read | None, mask: Mask | None) -> Tokens:
        y = self.norm(x, tau)
        x = x + self.attention(y, y)
        if self.cross is not None:
            x = x + self.cross(self.norm_cross(x, tau), cond, mask)
        return x + self.mlp(x, tau)


class ConvBlock(nn.Module):
    """ConvNeXt: a depthwise convolution, and a gated MLP. It sees no condition."""

    def __init__(self, size: StageSize, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid, width = grid, size.width
        self.conv = nn.Conv2d(width, width, size.kernel, padding=size.kernel // 2, groups=width)
        self.mlp = GatedMLP(size)

    def forward(self, x: Tokens, tau: Row, cond: Read | None, mask: Mask | None) -> Tokens:
        x = x + to_tokens(self.conv(to_map(x, self.grid)))
        return x + self.mlp(x, tau)


class Upsample(nn.Module):
    """All block outputs of the stage before, from its grid to one `ratio` times as fine."""

    def __init__(self, width: int, out: int, ratio: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.ratio, self.grid = ratio, grid  # of the stage before
        self.norm_in, self.norm_out = LayerNorm(width), LayerNorm(out)
        self.linear = nn.Linear(width, out * ratio**2)

    def forward(self, x: Tokens, tau: Row) -> Float[Tensor, "b m e"]:
        (rows, columns), ratio = self.grid, self.ratio
        y = self.linear(self.norm_in(x, tau)).view(len(x), rows, columns, ratio, ratio, -1)
        y = y.transpose(2, 3).reshape(len(x), rows * columns * ratio**2, -1)
        return self.norm_out(y, tau)


class Stage(nn.Module):
    """Blocks with long skips: an outer block's output joins the input of its mirror image."""

    def __init__(
        self, net: Backbone, problem: Problem, size: StageSize, before: StageSize | None
    ) -> None:
        super().__init__()
        if size.depth % 2 == 0:
            raise InputError(f"a stage of DiMR has an odd number of blocks, not {size.depth}")
        width, channels, half = size.width, problem.target.channels, size.depth // 2
        self.grid = grid = grid_of(problem, size)
        self.patches = nn.Conv2d(net.channels_in, width, size.patch, size.patch)
        self.positions = nn.Parameter(torch.empty(grid[0] * grid[1], width))
        self.upsample = None
        if before is not None:
            ratio, all_outputs = before.patch // size.patch, before.width * (before.depth + 1)
            self.upsample = Upsample(all_outputs, width, ratio, grid_of(problem, before))
        self.blocks = nn.ModuleList(
            ConvBlock(size, grid) if size.heads is None else Block(size, net.cross_width)
            for _ in range(size.depth)
        )
        self.skips = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(half))
        self.norm = LayerNorm(width)
        self.velocity = nn.Conv2d(width, channels, size.last_kernel, padding="same")
        self.indicator: nn.Parameter | None = None
        if size.heads is not None and net.nullable and net.condition != "cross":
            # With and without source: one number in all channels of a token of its own.
            self.indicator = nn.Parameter(torch.tensor([1.0, -1.0]))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.normal_(self.positions, std=0.02)

    def forward(
        self,
        x: Map,
        tau: Row,
        before: Float[Tensor, "b coarse all"] | None,
        null: Nulls | None,
        cond: Read | None,
        mask: Mask | None,
        through: Callable[..., Tokens],
    ) -> tuple[Float[Tensor, "b out rows columns"], Tokens]:
        """Velocity on the stage's grid, and all outputs of its blocks, one beside the other.

        through: calls a block.
        """
        tokens = to_tokens(self.patches(x)) + self.positions
        if self.upsample is not None:
            tokens = tokens + self.upsample(before, tau)
        own = tokens.shape[1]
        if self.indicator is not None:
            assert null is not None
            mark = torch.where(null, self.indicator[1], self.indicator[0]).to(tokens.dtype)
            tokens = torch.cat([mark[:, None, None].expand(-1, 1, tokens.shape[2]), tokens], dim=1)
        half, outputs = len(self.skips), [tokens]
        for i, block in enumerate(self.blocks):
            if i > half:  # its mirror image is block 2 * half - i, whose output follows the input
                pair = torch.cat([tokens, outputs[2 * half - i + 1]], dim=-1)
                tokens = self.skips[i - half - 1](pair)
            tokens = through(block, tokens, tau, cond, mask)
            outputs.append(tokens)
        velocity = self.velocity(to_map(self.norm(tokens[:, -own:], tau), self.grid))
        return velocity, torch.cat([output[:, -own:] for output in outputs], dim=-1)


class DiMR(Backbone):
    """Velocity network on maps of the problem's target shape.

    Without "cross", where there are null rows, the indicator is a token of the transformer stages.
    With it, their blocks have the cross-attention. InputError for "joint".
    """

    def __init__(
        self,
        problem: Problem,
        stages: Sequence[StageSize],
        condition: str = "none",
        cond_width: int = 0,
    ) -> None:
        super().__init__(problem, condition, cond_width)
        if condition == "joint":
            raise InputError("model: a DiMR takes no joint tokens; choose one without dimr_")
        pairs = pairwise([None, *stages])
        self.stages = nn.ModuleList(
            Stage(self, problem, size, before) for before, size in pairs if size is not None
        )
        if self.nullable and condition == "cross":
            self.null_vectors = nn.Parameter(0.02 * torch.randn(cond_width))

    @property
    def blocks(self) -> list[nn.Module]:
        """Of all stages."""
        stages = (stage for stage in self.stages if isinstance(stage, Stage))
        return [block for stage in stages for block in stage.blocks]

    def forward(
        self,
        x: Map,
        t: Row,
        cond: Tensor | None = None,
        null: Nulls | None = None,
        cond_mask: Mask | None = None,
    ) -> Map:
        """Velocity at xt and t. ValueError where cond, or null for the null rate, do not fit."""
        return self.velocities(x, t, cond, null, cond_mask)[-1]

    def velocities(
        self, x: Map, t: Row, cond: Tensor | None, null: Nulls | None, cond_mask: Mask | None
    ) -> list[Tensor]:
        """One map a stage, from the coarsest grid to that of x."""
        x, cond, cond_mask = self.seen(x, cond, null, cond_mask)
        outputs, velocities = None, []
        for stage in self.stages:
            given = x, 1 - 2 * t, outputs, null, cond, cond_mask
            velocity, outputs = stage(*given, self.through)
            velocities.append(velocity)
        return velocities

    def compile(self, *args: Any, **options: Any) -> None:
        """Stage by stage: training calls `velocities`."""
        for stage in self.stages:
            stage.compile(*args, **options)


def grid_of(problem: Problem, size: StageSize) -> tuple[int, int]:
    """Rows and columns of a stage's patches. InputError where they do not fit the target."""
    height, width = problem.target.height, problem.target.width
    if height % size.patch or width % size.patch:
        raise InputError(f"DiMR has patches of {size.patch}: no target of {height} x {width} fits")
    return height // size.patch, width // size.patch


def to_map(x: Tokens, grid: tuple[int, int]) -> Map:
    """Tokens of single pixels on their grid."""
    return x.transpose(1, 2).unflatten(2, grid)


def to_tokens(x: Map) -> Tokens:
    """The inverse of `to_map`."""
    return x.flatten(2).transpose(1, 2)


def backbone(
    problem: Problem,
    size: Size,
    condition: str = "none",
    cond_width: int = 0,
    indicator: str | None = None,
) -> Backbone:
    """The network of a size, DiMR or DiT. InputError for a DiMR whose indicator is no token."""
    if not isinstance(size, DiMRSize):
        return DiT(problem, size, condition, cond_width, indicator)
    if indicator == "adaln":
        raise InputError("indicator=adaln: a DiMR has no such layers, only a token")
    return DiMR(problem, stages_of(size, problem.patch), condition, cond_width)
