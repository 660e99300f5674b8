"""Source encoders: from tokens or a map to the mean and log-variance of x0.

A variational encoder may have at most 15 % of the parameters used at inference. Tokens reach the
latent through one learned query per patch position; a baseline's condition trunk has neither
queries nor head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossflow.dimr import backbone
from crossflow.errors import InputError
from crossflow.layers import TransformerLayer, initialise, patchify, position_table, unpatchify
from crossflow.network import Size, parameters_of
from crossflow.problem import Map, MapShape, Mask, Moments, Problem, Source, Tokens, TokenShape

LARGEST_SHARE = 0.15  # of the parameters used at inference, backbone included
# exp(logvar / 2) stays finite and above zero whatever the head says early in training.
LOGVAR_RANGE = (-14.0, 6.0)


@dataclass(frozen=True)
class EncoderSize:
    """Transformer layers, their width and heads."""

    layers: int
    width: int
    heads: int

    def deeper(self) -> EncoderSize:
        """One more layer, in place of the token encoder's readout."""
        return replace(self, layers=self.layers + 1)

    def stack(self) -> nn.ModuleList:
        return nn.ModuleList(TransformerLayer(self.width, self.heads) for _ in range(self.layers))


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
        self.layers = size.stack()
        self.norm = nn.LayerNorm(size.width)
        initialise(self)

    def forward(self, source: Source) -> Tokens:
        values = source.values
        x = self.embed(values if values.is_floating_point() else values.long()) + self.positions
        for layer in self.layers:
            x = layer(x, source.mask)
        return self.norm(x)


class TokenReadout(nn.Module):
    """One learned query per patch position reads the tokens and gives that patch's numbers."""

    def __init__(self, problem: Problem, size: EncoderSize, moments: int = 2) -> None:
        super().__init__()
        self.patch, self.grid = problem.patch, problem.grid
        table = position_table(self.grid, size.width)
        self.queries = nn.Parameter(table + 0.02 * torch.randn(table.shape))
        self.layer = TransformerLayer(size.width, size.heads, cross=True)
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, moments * problem.target.channels * problem.patch**2)
        initialise(self)

    def forward(self, tokens: Float[Tensor, "b m d"], mask: Mask | None) -> Map:
        queries = self.queries.expand(len(tokens), -1, -1)
        out = self.head(self.norm(self.layer(queries, mask, tokens)))
        return unpatchify(out, self.patch, self.grid)


class DenseReadout(nn.Module):
    """One dense layer over all tokens, narrowed to an eighth, gives the map (official code)."""

    def __init__(self, problem: Problem, size: EncoderSize, moments: int = 2) -> None:
        super().__init__()
        assert isinstance(problem.source, TokenShape)
        channels, *self.grid = problem.target.sizes
        self.narrow = nn.Linear(size.width, size.width // 8)
        numbers = problem.source.length * (size.width // 8)
        self.head = nn.Linear(numbers, moments * channels * math.prod(self.grid))
        initialise(self)

    def forward(self, tokens: Float[Tensor, "b m d"], mask: Mask | None) -> Map:
        return self.head(self.narrow(tokens).flatten(1)).unflatten(1, (-1, *self.grid))


READOUTS = {"queries": TokenReadout, "dense": DenseReadout}


class MapTransformer(nn.Module):
    """A map to a map of other channels on the same grid: patches, transformer layers, patches."""

    positions: Float[Tensor, "n d"]

    def __init__(self, shape: MapShape, out: int, patch: int, size: EncoderSize) -> None:
        super().__init__()
        self.patch = patch
        self.grid = (shape.height // patch, shape.width // patch)
        self.patches = nn.Linear(shape.channels * patch**2, size.width)
        self.register_buffer("positions", position_table(self.grid, size.width), persistent=False)
        self.layers = size.stack()
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, out * patch**2)
        initialise(self)

    def forward(self, x: Map) -> Float[Tensor, "b out h w"]:
        return unpatchify(self.head(self.read(x)), self.patch, self.grid)

    def read(self, x: Map) -> Tokens:
        """The patches, once each has seen all others."""
        y = self.patches(patchify(x, self.patch)) + self.positions
        for layer in self.layers:
            y = layer(y)
        return self.norm(y)


class TokenDecoder(MapTransformer):
    """A map to logits of words, or to features: one learned query a token reads the patches."""

    def __init__(self, problem: Problem, size: EncoderSize) -> None:
        source = problem.source
        assert isinstance(source, TokenShape)
        super().__init__(problem.target, 1, problem.patch, size)
        self.queries = nn.Parameter(torch.randn(source.length, size.width))
        self.layer = TransformerLayer(size.width, size.heads, cross=True)
        self.norm_queries = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, source.vocabulary or source.width or 0)
        initialise(self)

    def forward(self, x: Map) -> Float[Tensor, "b n out"]:
        queries = self.queries.expand(len(x), -1, -1)
        return self.head(self.norm_queries(self.layer(queries, None, self.read(x))))


class Encoder(nn.Module):
    """q(z given source): tokens by trunk and readout, a map by a deeper trunk or as it is.

    moments: 2 for mean and log-variance; 1 for a mean alone, which x0 then is.
    """

    def __init__(
        self, problem: Problem, size: EncoderSize, moments: int = 2, readout: str = "queries"
    ) -> None:
        super().__init__()
        self.moments = moments
        self.trunk: nn.Module | None = None
        self.readout: nn.Module | None = None
        if isinstance(problem.source, TokenShape):
            self.trunk = TokenTrunk(problem.source, size)
            self.readout = READOUTS[readout](problem, size, moments)
        elif problem.encoder == "variational":
            out = moments * problem.target.channels
            self.trunk = MapTransformer(problem.source, out, problem.patch, size.deeper())

    def forward(self, source: Source) -> Moments:
        """Mean and log-variance of x0."""
        if self.trunk is None:
            return source.values, None
        if self.readout is None:
            out = self.trunk(source.values)
        else:
            out = self.readout(self.trunk(source), source.mask)
        if self.moments == 1:
            return out.float(), None
        mean, logvar = out.chunk(2, dim=1)
        return mean.float(), logvar.float().clamp(*LOGVAR_RANGE)


@lru_cache
def encoder_size(problem: Problem, size: Size, readout: str = "queries") -> EncoderSize:
    """The widest encoder within 15 % of the inference parameters beside a backbone of `size`.

    Heads are as wide as the backbone's. Raises InputError where even one head is too much.
    """
    layers = max(2, size.depth // 6)
    with torch.device("meta"):
        network = parameters_of(backbone(problem, size))
        for heads in range(size.heads, 0, -1):
            candidate = EncoderSize(layers, heads * (size.width // size.heads), heads)
            encoder = parameters_of(Encoder(problem, candidate, readout=readout))
            if encoder <= LARGEST_SHARE * (network + encoder):
                return candidate
    raise InputError(f"model: no encoder of {problem.source} fits in 15 %, choose a larger one")
