"""Source encoders: from tokens or a map to the mean and log-variance of x0.

A variational encoder may have at most 15 % of the parameters used at inference. Tokens reach the
latent through one learned query per patch position; a baseline's condition trunk has neither
queries nor head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossflow.errors import InputError
from crossflow.layers import (
    ReadoutLayer,
    TransformerLayer,
    initialise,
    patchify,
    position_table,
    unpatchify,
)
from crossflow.network import DiT, Size, parameters_of
from crossflow.problem import Map, MapShape, Moments, Problem, Source, TokenShape

LARGEST_SHARE = 0.15  # of the parameters used at inference, backbone included
# exp(logvar / 2) stays finite and above zero whatever the head says early in training.
LOGVAR_RANGE = (-14.0, 6.0)


@dataclass(frozen=True)
class EncoderSize:
    """Transformer layers, their width and heads."""

    layers: int
    width: int
    heads: int


class TokenTrunk(nn.Module):
    """Word ids or features to contextual tokens of the encoder's width."""

    def __init__(self, source: TokenShape, size: EncoderSize) -> None:
        super().__init__()
        self.embed: nn.Module
        if source.vocabulary is not None:
            self.embed = nn.Embedding(source.vocabulary, size.width)
            nn.init.normal_(self.embed.weight, std=1.0)
        else:
            assert source.width is not None
            self.embed = nn.Linear(source.width, size.width)
        self.positions = nn.Parameter(0.02 * torch.randn(source.length, size.width))
        self.layers = nn.ModuleList(
            TransformerLayer(size.width, size.heads) for _ in range(size.layers)
        )
        self.norm = nn.LayerNorm(size.width)
        initialise(self)

    def forward(self, source: Source) -> Float[Tensor, "b length d"]:
        values = source.values
        x = self.embed(values if values.is_floating_point() else values.long()) + self.positions
        for layer in self.layers:
            x = layer(x, source.mask)
        return self.norm(x)


class TokenReadout(nn.Module):
    """One learned query per patch position reads the tokens and gives that patch's numbers."""

    def __init__(self, problem: Problem, size: EncoderSize) -> None:
        super().__init__()
        self.patch, self.grid = problem.patch, problem.grid
        count = self.grid[0] * self.grid[1]
        self.queries = nn.Parameter(
            position_table(self.grid, size.width) + 0.02 * torch.randn(count, size.width)
        )
        self.layer = ReadoutLayer(size.width, size.heads)
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, 2 * problem.target.channels * problem.patch**2)
        initialise(self)

    def forward(
        self, tokens: Float[Tensor, "b length d"], mask: Bool[Tensor, "b length"] | None
    ) -> Float[Tensor, "b c2 h w"]:
        queries = self.queries.expand(len(tokens), -1, -1)
        out = self.head(self.norm(self.layer(queries, tokens, mask)))
        return unpatchify(out, self.patch, self.grid)


class MapTransformer(nn.Module):
    """A map to a map of other channels on the same grid: patches, transformer layers, patches."""

    positions: Float[Tensor, "n d"]

    def __init__(self, shape: MapShape, out: int, patch: int, size: EncoderSize) -> None:
        super().__init__()
        self.patch = patch
        self.grid = (shape.height // patch, shape.width // patch)
        self.patches = nn.Linear(shape.channels * patch**2, size.width)
        self.register_buffer("positions", position_table(self.grid, size.width), persistent=False)
        self.layers = nn.ModuleList(
            TransformerLayer(size.width, size.heads) for _ in range(size.layers)
        )
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, out * patch**2)
        initialise(self)

    def forward(self, x: Map) -> Float[Tensor, "b out h w"]:
        y = self.patches(patchify(x, self.patch)) + self.positions
        for layer in self.layers:
            y = layer(y)
        return unpatchify(self.head(self.norm(y)), self.patch, self.grid)


class Variational(nn.Module):
    """q(z given source): of tokens by trunk and readout, of a map by one trunk a layer deeper."""

    def __init__(self, problem: Problem, size: EncoderSize) -> None:
        super().__init__()
        self.trunk: nn.Module
        self.readout: TokenReadout | None = None
        if isinstance(problem.source, TokenShape):
            self.trunk = TokenTrunk(problem.source, size)
            self.readout = TokenReadout(problem, size)
        else:
            out = 2 * problem.target.channels
            self.trunk = MapTransformer(problem.source, out, problem.patch, deeper(size))

    def forward(self, source: Source) -> Moments:
        """Mean and log-variance of x0."""
        if self.readout is None:
            out = self.trunk(source.values)
        else:
            out = self.readout(self.trunk(source), source.mask)
        mean, logvar = out.chunk(2, dim=1)
        return mean.float(), logvar.float().clamp(*LOGVAR_RANGE)


class Identity(nn.Module):
    """The source map is x0: no parameters, no variance."""

    def forward(self, source: Source) -> Moments:
        return source.values, None


def deeper(size: EncoderSize) -> EncoderSize:
    """One more layer, in place of the token encoder's readout."""
    return replace(size, layers=size.layers + 1)


def build_encoder(problem: Problem, size: EncoderSize) -> nn.Module:
    """The problem's source encoder."""
    return Identity() if problem.encoder == "identity" else Variational(problem, size)


@lru_cache
def encoder_size(problem: Problem, size: Size) -> EncoderSize:
    """The widest encoder within 15 % of the inference parameters beside a backbone of `size`.

    Heads are as wide as the backbone's. Raises InputError where even one head is too much.
    """
    layers = max(2, size.depth // 6)
    with torch.device("meta"):
        backbone = parameters_of(DiT(problem, size))
        for heads in range(size.heads, 0, -1):
            candidate = EncoderSize(layers, heads * (size.width // size.heads), heads)
            encoder = parameters_of(build_encoder(problem, candidate))
            if encoder <= LARGEST_SHARE * (backbone + encoder):
                return candidate
    raise InputError(
        f"model: no encoder of {problem.source} fits in 15 % beside {size}; choose a larger model"
    )
