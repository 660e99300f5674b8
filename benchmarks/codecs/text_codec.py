"""Frozen text encoders that a user gives: the tokens a text-to-image flow starts from.

`weights.text_encoder` is a folder of transformers (config.json, safetensors, the tokenizer's files)
of CLIP or T5; or, with download=true, such a folder's name on the model hub. A text becomes 77
tokens, longer ones are cut as the tokenizer cuts them. Texts go in as they are: no prefix, and not
the caption cleaning of CrossFlow's T5 scripts.

CLIP (ViT-L/14: 77 x 768): last_hidden_state, in float32, no attention mask (it is causal).
T5 (XXL: 77 x 4096): last_hidden_state in bfloat16 with the attention mask, times 10, as in
CrossFlow's code (its features are small); `facts` holds the factor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.frozen_weights import (
    files_digest,
    from_pretrained,
    local_folder,
    safetensors_files,
)
from crossflow.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float16
    from torch import Tensor

FIELD = "weights.text_encoder"
LENGTH = 77
BATCH = {"cpu": 1, "cuda": 32}  # texts computed at once; see image_codec.BATCH
PATTERNS = ("*.json", "*.txt", "spiece.model", "model*.safetensors*")


@dataclass(frozen=True)
class Family:
    """What one kind of encoder needs. vocabulary: sets of files, one of which must be there."""

    network: str
    tokenizer: str
    vocabulary: tuple[tuple[str, ...], ...]
    precision: str
    scale: float  # factor on the features
    masked: bool  # whether the network is told which tokens are real


_CLIP = Family(
    "CLIPTextModel",
    "CLIPTokenizer",
    (("tokenizer.json",), ("vocab.json", "merges.txt")),
    "float32",
    1.0,
    masked=False,
)
_T5 = Family(
    "T5EncoderModel",
    "T5TokenizerFast",
    (("tokenizer.json",), ("spiece.model",)),
    "bfloat16",
    10.0,
    masked=True,
)
FAMILIES = {"clip": _CLIP, "clip_text_model": _CLIP, "t5": _T5}


@dataclass(frozen=True)
class TextEncoder:
    """A frozen text encoder.

    length, width: of the features of a text. facts: what they depend on (class, factor, precision,
    digest of the files), for stores and records; no path.
    """

    length: int
    width: int
    facts: dict[str, object]
    device: str
    family: Family
    tokenize: Callable[[list[str]], tuple[Tensor, Tensor]]
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
            some = list(texts[start : start + size])
            ids, real = self.tokenize(some + [""] * (size - len(some)))
            told = {"attention_mask": real.to(self.device)} if self.family.masked else {}
            with torch.inference_mode():
                found = self.network(input_ids=ids.to(self.device), **told).last_hidden_state
            half = (found.float() * self.family.scale).half().cpu().numpy()
            rows = slice(start, start + len(some))
            features[rows], mask[rows] = half[: len(some)], real.numpy()[: len(some)] != 0
        if not np.isfinite(features).all():
            raise InputError(f"{FIELD}: a feature does not fit float16; the weights are damaged")
        return features, mask


def load_text_encoder(weights: str, device: str, download: bool) -> TextEncoder:
    """The encoder that `weights` names (see the file's docstring), frozen.

    The global random state stays as it was. Raises InputError, one line, for a folder that is
    missing or holds something else, and for a hub's name without `download`.
    """
    from benchmarks.metrics.distribution import preserved_random_state

    folder = local_folder(FIELD, weights, download, PATTERNS)
    config_file = folder / "config.json"
    try:
        kind = json.loads(config_file.read_text(encoding="utf-8"))["model_type"]
    except FileNotFoundError:
        raise InputError(f"{FIELD}={weights}: no config.json (of CLIP or T5) in it") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{FIELD}: {config_file} is no configuration of transformers") from None
    if kind not in FAMILIES:
        raise InputError(f"{FIELD}: {config_file} is of {kind}; can use {', '.join(FAMILIES)}")
    family = FAMILIES[kind]
    words = _vocabulary(folder, family)
    files = [config_file, *safetensors_files(FIELD, folder, "model"), *words]
    with preserved_random_state():
        network = _network(folder, family).to(device)
    tokenize = _tokenizer(folder, family, network.config.vocab_size)
    width = int(network.config.hidden_size)
    facts: dict[str, object] = {
        "class": family.network,
        "length": LENGTH,
        "width": width,
        "feature_scale": family.scale,
        "precision": family.precision,
        "sha256": files_digest(files),
    }
    return TextEncoder(LENGTH, width, facts, device, family, tokenize, network)


def _vocabulary(folder: Path, family: Family) -> list[Path]:
    """The tokenizer's files. Without them the library would make a tokenizer that knows no word."""
    for names in family.vocabulary:
        found = [folder / name for name in names]
        if all(path.is_file() for path in found):
            settings = ("tokenizer_config.json", "special_tokens_map.json")
            return found + [folder / name for name in settings if (folder / name).is_file()]
    wanted = ", or ".join(" and ".join(names) for names in family.vocabulary)
    raise InputError(f"{FIELD}: {folder} has no vocabulary of its tokenizer ({wanted})")


def _network(folder: Path, family: Family) -> Any:
    import torch
    import transformers

    network = from_pretrained(FIELD, getattr(transformers, family.network), folder)
    room = getattr(network.config, "max_position_embeddings", LENGTH)
    if room < LENGTH:
        raise InputError(f"{FIELD}: {folder} takes {room} tokens, fewer than {LENGTH}")
    return network.to(getattr(torch, family.precision)).eval().requires_grad_(False)


def _tokenizer(
    folder: Path, family: Family, vocabulary: int
) -> Callable[[list[str]], tuple[Tensor, Tensor]]:
    """Texts to (ids, mask), both (n, 77)."""
    import transformers

    try:
        words = getattr(transformers, family.tokenizer).from_pretrained(
            folder, local_files_only=True
        )
    except (OSError, ValueError, ImportError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{FIELD}: the tokenizer in {folder} cannot be read ({first})") from None
    if len(words) > vocabulary:
        raise InputError(
            f"{FIELD}: the tokenizer in {folder} has {len(words)} words, the network {vocabulary}"
        )

    def tokenize(texts: list[str]) -> tuple[Tensor, Tensor]:
        found = words(
            texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        )
        return found["input_ids"], found["attention_mask"]

    return tokenize
