"""Captions as a source of a flow: word ids, or the features of a frozen text encoder.

`weights.text_encoder` is a folder of transformers (config.json, safetensors, the tokenizer's files)
of CLIP or T5; or, with download=true, such a folder's name on the model hub. A text becomes 77
tokens, longer ones are cut as the tokenizer cuts them. Texts go in as they are: no prefix, and not
the caption cleaning of CrossFlow's T5 scripts.

CLIP (ViT-L/14: 77 x 768): last_hidden_state, in float32, no attention mask (it is causal).
T5 (XXL: 77 x 4096): last_hidden_state in bfloat16 with the attention mask, times 10, as in
CrossFlow's code (its features are small); `facts` holds the factor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.codecs.weights import in_batches, pretrained, weights_digest, weights_folder
from benchmarks.data.files import optional
from benchmarks.data.vocabulary import LENGTH as WORDS
from benchmarks.data.vocabulary import learn
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float16
    from torch import Tensor

    from benchmarks.config.schema import Config
    from benchmarks.data.captions import Photo
    from crossflow.problem import TokenShape

FIELD = "weights.text_encoder"
LENGTH = 77
BATCH = {"cpu": 1, "cuda": 32}  # texts computed at once
PATTERNS = ("*.json", "*.txt", "spiece.model", "model*.safetensors*")


class Family(NamedTuple):
    """What one kind of encoder needs."""

    network: str
    tokenizer: str
    vocabulary: tuple[str, ...]  # files of it that do without tokenizer.json
    precision: str
    scale: float  # factor on the features
    masked: bool  # whether the network is told which tokens are real


_CLIP = Family(
    "CLIPTextModel", "CLIPTokenizer", ("vocab.json", "merges.txt"), "float32", 1.0, masked=False
)
_T5 = Family("T5EncoderModel", "T5TokenizerFast", ("spiece.model",), "bfloat16", 10.0, masked=True)
FAMILIES = {"clip": _CLIP, "clip_text_model": _CLIP, "t5": _T5}


class CaptionTokens(NamedTuple):
    """Tokens of captions: their shape, how they are made, and what they depend on."""

    shape: TokenShape
    # Texts to word ids (n, length) or features (n, length, width), and the mask (n, length).
    encode: Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]
    frozen: dict[str, dict[str, Any]]


def caption_tokens(config: Config, device: str, train: Sequence[Photo]) -> CaptionTokens:
    """Features of `weights.text_encoder`, else word ids of the training captions."""
    from crossflow.problem import TokenShape

    if config.weights.text_encoder is not None:
        encoder = load_text_encoder(config.weights.text_encoder, device, config.download)
        shape = TokenShape(encoder.length, width=encoder.width)
        return CaptionTokens(shape, encoder.encode, {"text_encoder": dict(encoder.facts)})
    words = learn(text for photo in train for text in photo.trained)

    def encode(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        ids = words.encode(texts)
        return ids, ids != 0

    shape = TokenShape(WORDS, vocabulary=len(words))
    return CaptionTokens(shape, encode, {"vocabulary": words.facts()})


@dataclass(frozen=True)
class TextEncoder:
    """A frozen text encoder."""

    width: int  # of the features of a token
    facts: dict[str, object]  # what features depend on, for stores and records; no path
    device: str
    family: Family
    tokenizer: Any
    network: Any
    length: int = LENGTH

    def encode(
        self, texts: Sequence[str]
    ) -> tuple[Float16[np.ndarray, "n length width"], Bool[np.ndarray, "n length"]]:
        """Features of texts and which of their tokens are real (start and end count, padding not).

        The same text gives the same bits whatever comes with it. InputError where a feature is
        beyond float16.
        """
        cut = {"padding": "max_length", "max_length": LENGTH, "truncation": True}
        tokens = self.tokenizer(list(texts), **cut, return_tensors="pt")

        def features(ids: Tensor, mask: Tensor) -> Tensor:
            attention = {"attention_mask": mask} if self.family.masked else {}
            made = self.network(ids, **attention).last_hidden_state
            return (made.float() * self.family.scale).half()

        size, mask = BATCH[self.device.partition(":")[0]], tokens["attention_mask"]
        made = in_batches(FIELD, features, size, self.device, tokens["input_ids"], mask)
        return made.half().numpy(), mask.numpy() != 0


def load_text_encoder(weights: str, device: str, download: bool) -> TextEncoder:
    """The encoder that `weights` names (see the file's docstring), frozen.

    InputError for a folder that is missing or holds something else.
    """
    import torch

    folder = weights_folder(FIELD, weights, download, PATTERNS)
    classes = {kind: family.network for kind, family in FAMILIES.items()}
    kind, network, files = pretrained(FIELD, folder, "transformers", "model_type", classes, "model")
    family = FAMILIES[kind]
    network.to(getattr(torch, family.precision)).to(device)
    there = {path.name for path in folder.iterdir()}
    choices = {"tokenizer.json"}, {*family.vocabulary}
    vocabulary = next((names for names in choices if names <= there), None)
    if vocabulary is None:  # the library would make a tokenizer that knows no word
        need = f"tokenizer.json, or {' and '.join(family.vocabulary)}"
        raise InputError(f"{FIELD}: {folder} has no vocabulary of its tokenizer ({need})")
    settings = there & {"tokenizer_config.json", "special_tokens_map.json"}
    tokenizer_class = getattr(optional("transformers", FIELD), family.tokenizer)
    try:
        tokenizer = tokenizer_class.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever the library runs into
        raise InputError(f"{FIELD}: the tokenizer in {folder} cannot be read ({error})") from None
    if len(tokenizer) > network.config.vocab_size:
        raise InputError(
            f"{FIELD}: the tokenizer in {folder} has {len(tokenizer)} words, the network "
            f"{network.config.vocab_size}"
        )
    width = int(network.config.hidden_size)
    facts: dict[str, object] = {"class": family.network, "length": LENGTH, "width": width}
    facts |= {"feature_scale": family.scale, "precision": family.precision}
    facts |= {"sha256": weights_digest([*files, *(folder / n for n in vocabulary | settings)])}
    return TextEncoder(width, facts, device, family, tokenizer, network)
