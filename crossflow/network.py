"""The backbone: a diffusion transformer (DiT, Peebles and Xie 2023) with self-attention only.

The same class serves baselines, with cross-attention to source tokens, with these among its own, or
with extra input channels, so that arms differ in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from crossflow.layers import MLP, Attention, initialise, patchify, position_table, unpatchify, waves
from crossflow.problem import Map, Mask, Problem, Read, Row, Tokens

Vector = Float[Tensor, "b d"]
Nulls = Bool[Tensor, " b"]  # True at null rows
CONDITIONS = ("none", "cross", "joint", "channels")
# Times in [0, 1] are stretched so that the sine-cosine embedding resolves them: the fastest wave
# turns once in 0.006. DiT's own steps run to 1000; the official CrossFlow feeds raw t.
TIME_SCALE = 1000.0
TIME_WAVES = 256


@dataclass(frozen=True)
class Size:
    """Depth, width and heads of a backbone; `hidden` is the MLP's inner width."""

    depth: int
    width: int
    heads: int
    hidden: int


class OfficialSize(Size):
    """Of a DiT as CrossFlow's authors run it: raw times, GELU in its tanh form, adaLN indicator."""


@dataclass(frozen=True)
class DiMRSize(Size):
    """Of a DiMR (crossflow.dimr); the other numbers are those of its transformer stage."""

    conv_depth: int  # blocks of each ConvNeXt stage


SIZES = {
    "T": Size(8, 128, 4, 512),
    "S": Size(12, 384, 6, 1536),
    "B": Size(12, 768, 12, 3072),
    "L": Size(24, 1024, 16, 4096),
    "XL": Size(28, 1152, 16, 4608),
    "H": Size(36, 1280, 20, 5120),  # CrossFlow's 512 pixel DiT
    # The same with the official code's details.
    "dit_s": OfficialSize(12, 384, 6, 1536),
    "dit_b": OfficialSize(12, 768, 12, 3072),
    "dit_l": OfficialSize(24, 1024, 16, 4096),
    "dit_xl": OfficialSize(28, 1152, 16, 4608),
    "dit_h": OfficialSize(36, 1280, 20, 5120),
    # Of the paper's scaling study. Only those of 500M and 1B are known, from configurations.
    "dimr_70m": DiMRSize(25, 448, 7, 896, 13),
    "dimr_150m": DiMRSize(27, 640, 10, 1280, 13),
    "dimr_300m": DiMRSize(37, 768, 12, 1536, 19),
    "dimr_500m": DiMRSize(39, 960, 16, 1920, 21),
    "dimr_1b": DiMRSize(65, 1024, 16, 2048, 33),
}


def modulate(x: Tokens, shift: Vector, scale: Vector) -> Tokens:
    """Shift and scale of a normalised row, one of each for all its tokens."""
    return torch.addcmul(shift[:, None], x, 1 + scale[:, None])


class Backbone(nn.Module):
    """What DiT and DiMR share: what the network may see of the source.

    condition "none": nothing but x0 is seen. "cross": `cond` are tokens of `cond_width` numbers, a
    learned null token at null rows. "joint": these are tokens of the network itself, dropped before
    the output. "channels": a map of `cond_width` channels, zero at null rows.
    """

    null_vectors: nn.Parameter
    accumulate = 1  # chunks of rows in which training takes a batch through it, one after the other
    recompute = False  # only a block's input waits for the backward pass, which repeats the block

    def __init__(self, problem: Problem, condition: str, cond_width: int) -> None:
        super().__init__()
        if condition not in CONDITIONS or (condition != "none") != (cond_width > 0):
            raise ValueError(f"condition {condition!r} of width {cond_width} makes no network")
        self.condition, self.nullable = condition, problem.null_rate > 0
        self.cross_width = cond_width if condition == "cross" else None
        self.channels_in = problem.target.channels + (cond_width if condition == "channels" else 0)

    def seen(
        self, x: Map, cond: Tensor | None, null: Nulls | None, cond_mask: Mask | None
    ) -> tuple[Float[Tensor, "b channels h w"], Tensor | None, Mask | None]:
        """Map and tokens, with their mask, that the blocks take.

        ValueError where cond, or null for the null rate, do not fit.
        """
        # Not ignored: an ignored source looks like a bad method.
        if (cond is None) != (self.condition == "none") or (null is None) == self.nullable:
            raise ValueError(f"cond or null does not fit condition {self.condition!r}")
        if cond is not None and self.condition != "channels":
            if null is not None:  # at null rows every token is the null token, none is masked
                cond = torch.where(null[:, None, None], self.null_vectors.to(cond.dtype), cond)
                cond_mask = None if cond_mask is None else cond_mask | null[:, None]
        elif cond is not None:
            kept = cond if null is None else cond.masked_fill(null[:, None, None, None], 0)
            x, cond = torch.cat([x, kept], dim=1), None  # blocks take tokens only
        return x, cond, cond_mask

    def through(self, block: nn.Module, *given: Any) -> Tokens:
        """What a block makes of its inputs."""
        if self.recompute and torch.is_grad_enabled():  # a block draws no random numbers
            return checkpoint(block, *given, use_reentrant=False, preserve_rng_state=False)
        return block(*given)


class Block(nn.Module):
    """adaLN-Zero block; with `cond_width`, cross-attention stands after the self-attention."""

    def __init__(self, size: Size, cond_width: int | None) -> None:
        super().__init__()
        width = size.width
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attention = Attention(width, size.heads)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = MLP(width, size.hidden, "tanh" if isinstance(size, OfficialSize) else "none")
        self.modulation = nn.Linear(width, 6 * width)
        self.cross = None
        if cond_width is not None:
            self.norm_cross = nn.LayerNorm(width, eps=1e-6)
            self.cross = Attention(width, size.heads, cond_width)

    def forward(self, x: Tokens, time: Vector, cond: Read | None, mask: Mask | None) -> Tokens:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(time).chunk(6, dim=1)
        y = modulate(self.norm1(x), shift1, scale1)
        own = mask if self.cross is None else None  # of x's own tokens, or of those it reads
        x = torch.addcmul(x, gate1[:, None], self.attention(y, y, own))
        if self.cross is not None:
            x = x + self.cross(self.norm_cross(x), cond, mask)
        y = self.mlp(modulate(self.norm2(x), shift2, scale2))
        return torch.addcmul(x, gate2[:, None], y)


class DiT(Backbone):
    """Velocity network on maps of the problem's target shape.

    Without tokens to drop, where there are null rows, the indicator (learned vectors g_c, g_uc;
    CrossFlow section 4.3) is one extra token without a position, dropped before the output
    ("token"), or is added to the embedding of the time, as in the official code ("adaln").
    """

    positions: Float[Tensor, "n d"]

    def __init__(
        self,
        problem: Problem,
        size: Size,
        condition: str = "none",
        cond_width: int = 0,
        indicator: str | None = None,
    ) -> None:
        super().__init__(problem, condition, cond_width)
        official = isinstance(size, OfficialSize)
        self.indicator = indicator or ("adaln" if official else "token")
        channels, width = problem.target.channels, size.width
        area = problem.patch**2
        self.time_scale = 1.0 if official else TIME_SCALE
        self.patch, self.grid = problem.patch, problem.grid
        self.patches = nn.Linear(self.channels_in * area, width)
        self.register_buffer("positions", position_table(self.grid, width), persistent=False)
        self.time = nn.Sequential(nn.Linear(TIME_WAVES, width), nn.SiLU(), nn.Linear(width, width))
        if condition == "joint":
            self.read = nn.Linear(cond_width, width)
        blocks = [Block(size, self.cross_width) for _ in range(size.depth)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(width, 2 * width)
        self.velocity = nn.Linear(width, channels * area)
        initialise(self)
        # Velocity zero, and each block starts as the identity (adaLN-Zero).
        zeroed = [self.velocity, self.modulation, *(block.modulation for block in blocks)]
        for layer in [*zeroed, *(block.cross.out for block in blocks if block.cross is not None)]:
            nn.init.zeros_(layer.weight)
        if self.nullable:
            # One null token, or the indicator's g_c and g_uc.
            shape = (cond_width,) if condition in ("cross", "joint") else (2, width)
            self.null_vectors = nn.Parameter(0.02 * torch.randn(shape))

    def forward(
        self,
        x: Map,
        t: Row,
        cond: Tensor | None = None,
        null: Nulls | None = None,
        cond_mask: Mask | None = None,
    ) -> Map:
        """Velocity at xt and t. ValueError where cond, or null for the null rate, do not fit."""
        x, cond, cond_mask = self.seen(x, cond, null, cond_mask)
        tokens = self.patches(patchify(x, self.patch)) + self.positions
        time = self.time(waves(t * self.time_scale, TIME_WAVES))
        if self.condition == "joint" and cond is not None:
            tokens, cond = torch.cat([self.read(cond), tokens], dim=1), None
            if cond_mask is not None:
                cond_mask = F.pad(cond_mask, (0, len(self.positions)), value=True)
        elif null is not None and self.condition != "cross":
            indicator = torch.where(null[:, None], self.null_vectors[1], self.null_vectors[0])
            if self.indicator == "adaln":
                time = time + indicator
            else:
                tokens = torch.cat([indicator[:, None].to(tokens.dtype), tokens], dim=1)
        time = F.silu(time)
        for block in self.blocks:
            tokens = self.through(block, tokens, time, cond, cond_mask)
        tokens = tokens[:, -self.positions.shape[0] :]
        shift, scale = self.modulation(time).chunk(2, dim=1)
        out = self.velocity(modulate(self.norm(tokens), shift, scale))
        return unpatchify(out, self.patch, self.grid)


def parameters_of(module: nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
