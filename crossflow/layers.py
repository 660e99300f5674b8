"""Parts that backbone and encoders share. Axes: b rows, n or m tokens, d or e width."""

from __future__ import annotations

import math
from itertools import repeat

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from crossflow.problem import Map, Mask, Read, Row, Tokens

Queries = Float[Tensor, "b heads n e"]
Keys = Float[Tensor, "b heads m e"]
CACHED = 2**21  # similarities of one part of attention that is written out


def patchify(x: Map, patch: int) -> Tokens:
    """Cuts a map into rows of square patches, d = c * patch**2; `unpatchify` is its inverse."""
    b, c, h, w = x.shape
    x = x.view(b, c, h // patch, patch, w // patch, patch)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c * patch * patch)


def unpatchify(x: Tokens, patch: int, grid: tuple[int, int]) -> Map:
    """Puts patches back on their `grid` of rows and columns."""
    b, _, d = x.shape
    rows, columns = grid
    c = d // patch**2
    x = x.view(b, rows, columns, c, patch, patch).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(b, c, rows * patch, columns * patch)


def position_table(grid: tuple[int, int], width: int) -> Float[Tensor, "n d"]:
    """Fixed 2-D sine-cosine positions: half of the width for the row, half for the column."""
    rows, columns = torch.meshgrid(*(torch.arange(n).float() for n in grid), indexing="ij")
    return torch.cat([waves(axis.flatten(), width // 2) for axis in (rows, columns)], dim=1)


def waves(value: Row, width: int) -> Float[Tensor, "b d"]:
    """cos and sin of `value` at width / 2 frequencies from 1 down to 1 / 10,000."""
    half = width // 2
    frequency = torch.exp(-math.log(10_000) / half * torch.arange(half, device=value.device))
    angle = value[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)


class Attention(nn.Module):
    """Multi-head attention of queries x over tokens, of `cond_width` where that is not theirs."""

    def __init__(
        self, width: int, heads: int, cond_width: int | None = None, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias)
        self.key_value = nn.Linear(width if cond_width is None else cond_width, 2 * width, bias)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tokens, tokens: Read, mask: Mask | None = None) -> Tokens:
        b, n, d = x.shape
        q = self.query(x).view(b, n, self.heads, -1).transpose(1, 2)
        kv = self.key_value(tokens).view(b, tokens.shape[1], 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4)
        y = attend(q, k, v, None if mask is None else mask[:, None, None])
        return self.out(y.transpose(1, 2).reshape(b, n, d))


def attend(q: Queries, k: Keys, v: Keys, keep: Bool[Tensor, "b 1 1 m"] | None) -> Queries:
    """Scaled dot-product attention over the keys that are kept.

    In bfloat16 on a CPU it is written out: the fused kernel's backward pass takes six times there.
    By parts of the batch that stay in a core's cache: at 256 tokens half the time alone, some 4 %
    of a training step of model T.
    """
    if (q.device.type, q.dtype) != ("cpu", torch.bfloat16):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=keep)
    rows = max(1, CACHED // (q.shape[1] * q.shape[2] * k.shape[2]))
    if rows < len(q):
        kept = repeat(None) if keep is None else keep.split(rows)
        parts = zip(q.split(rows), k.split(rows), v.split(rows), kept, strict=False)
        return torch.cat([attend(*part) for part in parts])
    similarity = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if keep is not None:
        similarity = similarity.masked_fill(~keep, float("-inf"))
    return torch.softmax(similarity, dim=-1).to(v.dtype) @ v


class MLP(nn.Module):
    """Two linear layers with a GELU (the exact form: DiT's tanh form takes twice as long)."""

    def __init__(self, width: int, hidden: int, form: str = "none") -> None:
        super().__init__()
        self.form = form
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tokens) -> Tokens:
        return self.down(F.gelu(self.up(x), approximate=self.form))


class TransformerLayer(nn.Module):
    """Pre-norm attention and MLP (ratio 4): of tokens over themselves, of queries over others."""

    def __init__(self, width: int, heads: int, *, cross: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm_tokens = nn.LayerNorm(width) if cross else None
        self.norm2 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = MLP(width, 4 * width)

    def forward(self, x: Tokens, mask: Mask | None = None, tokens: Read | None = None) -> Tokens:
        y = self.norm1(x)
        read = y if self.norm_tokens is None else self.norm_tokens(tokens)
        x = x + self.attention(y, read, mask)
        return x + self.mlp(self.norm2(x))


def initialise(module: nn.Module) -> None:
    """Xavier weights and zero biases for every linear layer (DiT)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
