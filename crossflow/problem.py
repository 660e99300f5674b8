"""What a task hands to a method: the shapes of source and target, and pairs of them.

Every flow state is a map (B, C, H, W). A source is either a map on the same grid as the target or
a row of tokens; nothing else about a task is known to the library.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class MapShape:
    """A map of `channels` x `height` x `width`, roughly zero mean and unit variance."""

    channels: int
    height: int
    width: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width


@dataclass(frozen=True)
class TokenShape:
    """A row of `length` tokens: word ids below `vocabulary`, or features of `width` numbers.

    Exactly one of the two is given. Word ids get an embedding that is learned, alike in all arms.
    """

    length: int
    vocabulary: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        if (self.vocabulary is None) == (self.width is None):
            raise ValueError("TokenShape needs exactly one of vocabulary and width")


@dataclass(frozen=True)
class Problem:
    """One transport problem: from the source's shape to the target's.

    encoder: "variational" (q(z given source), learned) or "identity" (the source map itself is x0).
    charge: what the source encoder is also trained on, "contrastive" (image-text, paper Eq. 5-8),
    "reconstruction" (of the source, paper section 5.3) or None.
    patch: side of the square patches the backbone cuts maps into.
    null_rate: share of training rows without their own source (guidance; paper section 4.3).
    """

    source: MapShape | TokenShape
    target: MapShape
    patch: int
    encoder: str
    charge: str | None
    null_rate: float = 0.1


@dataclass
class Source:
    """A batch of sources. `mask` is True at real tokens; None for maps."""

    values: Float[Tensor, "b c h w"] | Float[Tensor, "b length width"] | Int[Tensor, "b length"]
    mask: Bool[Tensor, "b length"] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def to(self, device: str | torch.device) -> Source:
        mask = None if self.mask is None else self.mask.to(device)
        return Source(self.values.to(device), mask)


@dataclass
class Pair:
    """A training batch. `groups` numbers the image each row shows: rows of one image share it."""

    source: Source
    target: Float[Tensor, "b c h w"]
    groups: Int[Tensor, " b"]

    def to(self, device: str | torch.device) -> Pair:
        return Pair(self.source.to(device), self.target.to(device), self.groups.to(device))
