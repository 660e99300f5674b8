"""Captions as a source of a flow: word ids, or the features of a frozen text encoder.

Word ids are of a vocabulary learned from the training captions, in lower case. A word is a run of
letters and digits, apostrophes inside it included. Words seen at least LEAST times have an id, the
LARGEST most frequent of them (equals in alphabetical order). The first WORDS of a caption are kept.

`weights.text_encoder` is a folder of transformers (config.json, safetensors, the tokenizer's files)
of CLIP or T5; or, with download=true, such a folder's name on the model hub. A text becomes 77
tokens, longer ones are cut as the tokenizer cuts them. Texts go in as they are: no prefix, and not
the caption cleaning of CrossFlow's T5 scripts.

CLIP (ViT-L/14: 77 x 768): last_hidden_state, in float32, no attention mask (it is causal).
T5 (XXL: 77 x 4096): last_hidden_state in bfloat16 with the attention mask, times 10, as in
CrossFlow's code (its features are small); `facts` holds the factor.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.codecs.weights import in_batches, pretrained, weights_digest, weights_folder
from benchmarks.data.files import optional
from benchmarks.data.splits import digest
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Int16, Int64
    from torch import Tensor

    from benchmarks.config.schema import Config
    from benchmarks.data.captions import Photo
    from crossflow.problem import TokenShape

RULE = 1  # part of fingerprints: raised when the rule above changes
LEAST, LARGEST = 3, 10_000
WORDS = 24  # COCO's captions have 10.5 words on average, 1 in 500 has more than 24
PADDING, UNKNOWN, FIRST = 0, 1, 2
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
FIELD = "weights.text_encoder"
LENGTH = 77


def split_words(text: str) -> list[str]:
    """Words of a caption by the rule of this file, none cut off."""
    return _WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


class Vocabulary:
    """words: that have an id, in the order of their ids from FIRST on."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.ids = {word: number for number, word in enumerate(words, start=FIRST)}

    def __len__(self) -> int:
        return FIRST + len(self.words)

    def encode(self, texts: Sequence[str]) -> Int16[np.ndarray, "n length"]:
        """Word ids; a caption without a word is one UNKNOWN, so that no row is all padding."""
        rows = np.zeros((len(texts), WORDS), np.int16)
        for row, text in zip(rows, texts, strict=True):
            ids = [self.ids.get(word, UNKNOWN) for word in split_words(text)[:WORDS]]
            row[: max(1, len(ids))] = ids or [UNKNOWN]
        return rows

    def decode(self, ids: Int64[np.ndarray, " length"]) -> str:
        """Words up to the first padding, joined by blanks; UNKNOWN is left out."""
        spoken = takewhile(lambda number: number != PADDING, ids.tolist())
        return " ".join(self.words[number - FIRST] for number in spoken if number != UNKNOWN)

    def facts(self) -> dict[str, Any]:
        """What word ids depend on, for fingerprints and records."""
        sizes = {"rule": RULE, "least": LEAST, "length": WORDS, "size": len(self)}
        return {**sizes, "sha256": digest("\n".join(self.words))}


def learn(texts: Iterable[str]) -> Vocabulary:
    """The vocabulary of training captions."""
    counts = Counter(word for text in texts for word in split_words(text))
    seen = sorted((-count, word) for word, count in counts.items() if count >= LEAST)
    return Vocabulary([word for _, word in seen[:LARGEST]])


class Family(NamedTuple):
    """A kind of encoder."""

    network: str
    tokenizer: str
    vocabulary: tuple[str, ...]  # files of it that do without tokenizer.json
    precision: str
    scale: float  # factor on the features
    masked: bool  # whether the network is told which tokens are real


_WORDS = ("vocab.json", "merges.txt"), ("spiece.model",)
_CLIP = Family("CLIPTextModel", "CLIPTokenizer", _WORDS[0], "float32", 1.0, masked=False)
_T5 = Family("T5EncoderModel", "T5TokenizerFast", _WORDS[1], "bfloat16", 10.0, masked=True)
FAMILIES = {"clip": _CLIP, "clip_text_model": _CLIP, "t5": _T5}


class CaptionTokens(NamedTuple):
    """Tokens of captions: their shape, how they are made, and what they depend on."""

    shape: TokenShape
    # Texts to word ids (n, length) or float16 features (n, length, width), and the mask (n, length)
    # of tokens that are real: start and end count, padding not.
    encode: Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]
    frozen: dict[str, dict[str, Any]]


def caption_tokens(config: Config, device: str, train: Sequence[Photo]) -> CaptionTokens:
    """Features of `weights.text_encoder`, else word ids of the training captions."""
    if config.weights.text_encoder is not None:
        return load_text_encoder(config.weights.text_encoder, device, config.download)
    return word_tokens(learn(text for photo in train for text in photo.trained))


def word_tokens(words: Vocabulary) -> CaptionTokens:
    """Word ids of a vocabulary."""
    from crossflow.problem import TokenShape

    def encode(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        ids = words.encode(texts)
        return ids, ids != 0

    shape = TokenShape(WORDS, vocabulary=len(words))
    return CaptionTokens(shape, encode, {"vocabulary": words.facts()})


def load_text_encoder(weights: str, device: str, download: bool) -> CaptionTokens:
    """Features of the encoder that `weights` names, see the file's docstring."""
    import torch

    from crossflow.problem import TokenShape

    patterns = ["*.json", "*.txt", "spiece.model", "model*.safetensors*"]
    folder = weights_folder(FIELD, weights, download, patterns)
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
        raise InputError(
            f"{FIELD}: the tokenizer in {folder} cannot be read ({error!r:.300})"
        ) from None
    if len(tokenizer) > network.config.vocab_size:
        has = f"has {len(tokenizer)} words, the network {network.config.vocab_size}"
        raise InputError(f"{FIELD}: the tokenizer in {folder} {has}")

    def features(ids: Tensor, mask: Tensor) -> Tensor:
        attention = {"attention_mask": mask.to(device)} if family.masked else {}
        made = network(ids.to(device), **attention).last_hidden_state
        return (made.float() * family.scale).half()

    def encode(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        cut = {"padding": "max_length", "max_length": LENGTH, "truncation": True}
        tokens = tokenizer(list(texts), **cut, return_tensors="pt")
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        made = in_batches(FIELD, features, 1 if device == "cpu" else 32, ids, mask)
        return made.half().numpy(), mask.numpy() != 0

    width = int(network.config.hidden_size)
    facts: dict[str, Any] = {"class": family.network, "length": LENGTH, "width": width}
    facts |= {"feature_scale": family.scale, "precision": family.precision}
    facts |= {"sha256": weights_digest([*files, *(folder / n for n in vocabulary | settings)])}
    return CaptionTokens(TokenShape(LENGTH, width=width), encode, {"text_encoder": facts})
