"""What a task hands to a method: the shapes of source and target, and pairs of them.

Every flow state is a map (B, C, H, W). A source is either a map on the same grid as the target or
a row of tokens; nothing else about a task is known to the library.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from crossflow.errors import InputError

Map = Float[Tensor, "b c h w"]
Row = Float[Tensor, " b"]  # one number a row, a time say
Words = Int[Tensor, "b length"]  # ids below a vocabulary
Tokens = Float[Tensor, "b n d"]
Read = Float[Tensor, "b m e"]  # tokens that others read
Mask = Bool[Tensor, "b m"]  # True at real tokens
Moments = tuple[Map, Map | None]  # mean and log-variance; none where it is the mean exactly


@dataclass(frozen=True)
class MapShape:
    """A map, roughly zero mean and unit variance."""

    channels: int
    height: int
    width: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width


@dataclass(frozen=True)
class TokenShape:
    """A row of `length` tokens: word ids below `vocabulary`, or features of `width` numbers."""

    length: int
    vocabulary: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        if (self.vocabulary is None) == (self.width is None):
            raise ValueError("TokenShape needs exactly one of vocabulary and width")

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.length,) if self.width is None else (self.length, self.width)


ENCODERS = ("variational", "identity")
CHARGES = ("contrastive", "reconstruction", None)


@dataclass(frozen=True)
class Problem:
    """From the source's shape to the target's. InputError where sizes a user set cannot work."""

    source: MapShape | TokenShape
    target: MapShape
    patch: int  # side of the square patches the backbone cuts maps into
    encoder: str  # variational: q(z given source), learned; identity: the source map itself is x0
    charge: str | None  # contrastive (paper Eq. 5-8), reconstruction (of the source, section 5.3)
    null_rate: float = 0.1  # share of training rows without their own source (section 4.3)
    words: TokenShape | None = None  # what the target is the code of, where it is one of words

    def __post_init__(self) -> None:
        for name, known in (("encoder", ENCODERS), ("charge", CHARGES)):
            if (value := getattr(self, name)) not in known:
                raise InputError(f"{name} {value!r} is none of {known}")
        if not 0 <= self.null_rate < 1:
            raise InputError(f"null_rate is {self.null_rate}: give a share in [0, 1)")
        both, (_, height, width) = f"{self.source} and {self.target}", self.target.sizes
        if height % self.patch or width % self.patch:
            raise InputError(f"target of {height} x {width}: give multiples of {self.patch}")
        if isinstance(self.source, MapShape) and self.source.sizes[1:] != (height, width):
            raise InputError(f"source and target need one height and width, not {both}")
        if self.encoder == "identity" and self.source != self.target:
            raise InputError(f"the identity encoder needs one shape, not {both}")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.target.height // self.patch, self.target.width // self.patch


@dataclass
class Source:
    """A batch of sources. `mask` is True at real tokens; None for maps."""

    values: Map | Float[Tensor, "b length width"] | Int[Tensor, "b length"]
    mask: Bool[Tensor, "b length"] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def to(self, device: str | torch.device) -> Source:
        return Source(
            moved(self.values, device), None if self.mask is None else moved(self.mask, device)
        )


@dataclass
class Pair:
    """A training batch."""

    source: Source
    target: Map
    # Number of the image each row shows. On the CPU: it decides what is exchanged or contrasted.
    groups: Int[Tensor, " b"]
    words: Words | None = None  # that the target is the code of, where the problem says so

    def to(self, device: str | torch.device) -> Pair:
        words = None if self.words is None else moved(self.words, device)
        return Pair(self.source.to(device), moved(self.target, device), self.groups, words)


def moved(values: Tensor, device: str | torch.device) -> Tensor:
    """On the device. To a GPU by way of pinned memory: else the host would wait for the copy."""
    if values.device.type == "cpu" and torch.device(device).type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
