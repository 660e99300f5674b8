"""Captions as a source of a flow: word ids, or the features of a frozen text encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.data.vocabulary import LENGTH, learn

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.config.schema import Config
    from benchmarks.data.captioned_photos import Photo
    from crossflow.problem import TokenShape


@dataclass(frozen=True)
class CaptionTokens:
    """Tokens of captions: their shape, how they are made, and what they depend on (frozen).

    encode: texts to word ids (n, length) or features (n, length, width), and the mask (n, length).
    """

    shape: TokenShape
    encode: Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]
    frozen: dict[str, dict[str, Any]]


def caption_tokens(config: Config, device: str, train: Sequence[Photo]) -> CaptionTokens:
    """Features of `weights.text_encoder`, else word ids of the training captions."""
    from crossflow.problem import TokenShape

    if config.weights.text_encoder is not None:
        from benchmarks.codecs.text_codec import load_text_encoder

        encoder = load_text_encoder(config.weights.text_encoder, device, config.download)
        shape = TokenShape(encoder.length, width=encoder.width)
        return CaptionTokens(shape, encoder.encode, {"text_encoder": dict(encoder.facts)})
    words = learn(text for photo in train for text in photo.trained)

    def encode(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        ids = words.encode(texts)
        return ids, ids != 0

    shape = TokenShape(LENGTH, vocabulary=len(words))
    return CaptionTokens(shape, encode, {"vocabulary": words.facts()})
