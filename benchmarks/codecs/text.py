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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.codecs.weights import finite, pretrained, weights_digest, weights_folder
from benchmarks.data.files import optional
from benchmarks.data.vocabulary import LENGTH as WORDS
from benchmarks.data.vocabulary import learn
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float16

    from benchmarks.config.schema import Config
    from benchmarks.data.captioned_photos import Photo
    from crossflow.problem import TokenShape

FIELD = "weights.text_encoder"
LENGTH = 77
BATCH = {"cpu": 1, "cuda": 32}  # texts computed at once; see image.BATCH
PATTERNS = ("*.json", "*.txt", "spiece.model", "model*.safetensors*")


@dataclass(frozen=True)
class Family:
    """What one kind of encoder needs."""

    network: str
    tokenizer: str
    vocabulary: tuple[tuple[str, ...], ...]  # sets of files, one of which must be there
    precision: str
    scale: float  # factor on the features
    masked: bool  # whether the network is told which tokens are real


_CLIP_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_T5_FILES = (("tokenizer.json",), ("spiece.model",))
_CLIP = Family("CLIPTextModel", "CLIPTokenizer", _CLIP_FILES, "float32", 1.0, masked=False)
_T5 = Family("T5EncoderModel", "T5TokenizerFast", _T5_FILES, "bfloat16", 10.0, masked=True)
FAMILIES = {"clip": _CLIP, "clip_text_model": _CLIP, "t5": _T5}


@dataclass(frozen=True)
class CaptionTokens:
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
    """A frozen text encoder; length, width: of the features of a text."""

    length: int
    width: int
    facts: dict[str, object]  # what features depend on, for stores and records; no path
    device: str
    family: Family
    tokenizer: Any
    network: Any

    def encode(
        self, texts: Sequence[str]
    ) -> tuple[Float16[np.ndarray, "n length width"], Bool[np.ndarray, "n length"]]:
        """Features of texts and which of their tokens are real (start and end count, padding not).

        The same text gives the same bits whatever comes with it. Raises InputError where a feature
        is beyond float16.
        """
        import torch

        size = BATCH[torch.device(self.device).type]
        features = np.empty((len(texts), self.length, self.width), np.float16)
        mask = np.empty((len(texts), self.length), np.bool_)
        for start in range(0, len(texts), size):
            batch = list(texts[start : start + size])
            rows = slice(start, start + len(batch))
            tokens = self.tokenizer(
                batch + [""] * (size - len(batch)),
                **{"padding": "max_length", "max_length": LENGTH, "truncation": True},
                return_tensors="pt",
            ).to(self.device)
            real = tokens["attention_mask"]
            attention = {"attention_mask": real} if self.family.masked else {}
            with torch.inference_mode():
                made = self.network(tokens["input_ids"], **attention).last_hidden_state
            half = finite(FIELD, (made.float() * self.family.scale).half())
            features[rows] = half[: len(batch)].cpu().numpy()
            mask[rows] = real[: len(batch)].cpu().numpy() != 0
        return features, mask


def load_text_encoder(weights: str, device: str, download: bool) -> TextEncoder:
    """The encoder that `weights` names (see the file's docstring), frozen.

    InputError, one line, for a folder that is missing or holds something else, and for a hub's name
    without `download`.
    """
    import torch

    folder = weights_folder(FIELD, weights, download, PATTERNS)
    classes = {kind: family.network for kind, family in FAMILIES.items()}
    kind, network, files = pretrained(FIELD, folder, "transformers", "model_type", classes, "model")
    family = FAMILIES[kind]
    network.to(getattr(torch, family.precision)).eval().requires_grad_(False).to(device)
    files += _vocabulary(folder, family)
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
    facts |= {"sha256": weights_digest(files)}
    return TextEncoder(LENGTH, width, facts, device, family, tokenizer, network)


def _vocabulary(folder: Path, family: Family) -> list[Path]:
    """The tokenizer's files. Without them the library would make a tokenizer that knows no word."""
    for names in family.vocabulary:
        if all((folder / name).is_file() for name in names):
            files = [*names, "tokenizer_config.json", "special_tokens_map.json"]
            return [folder / name for name in files if (folder / name).is_file()]
    wanted = ", or ".join(" and ".join(names) for names in family.vocabulary)
    raise InputError(f"{FIELD}: {folder} has no vocabulary of its tokenizer ({wanted})")
