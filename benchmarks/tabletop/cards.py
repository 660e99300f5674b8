"""Frozen weights and the cards that state what they are worth.

A codec ships as `weights/<name>.safetensors` beside `weights/<name>.json`, its card. The card holds
the digest of the weights, the command that trained them and the accuracy measured on scenes they
never saw. Weights are stored in half precision to stay below 5 MB and are computed with in single
precision: the conversion is exact, so every machine computes with the same numbers.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor

from crossflow.errors import InputError

WEIGHTS = Path(__file__).parent / "weights"
LARGEST = 5_000_000  # bytes of one weight file


def read_card(name: str, folder: Path = WEIGHTS) -> dict[str, Any]:
    """The card of `name`: version, sha256, training facts, scores on unseen scenes.

    Raises InputError if the card is missing or is no JSON object.
    """
    path = folder / f"{name}.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: no card ({error}); install the package again") from error


def read_weights(name: str, folder: Path = WEIGHTS) -> dict[str, Tensor]:
    """The float32 tensors of `name`, after their digest was compared with the card's.

    Raises InputError if a file is missing or the digest differs: scores of other weights must not
    pass for scores of these.
    """
    stated, path = read_card(name, folder).get("sha256"), folder / f"{name}.safetensors"
    blob = path.read_bytes() if path.is_file() else b""
    digest = hashlib.sha256(blob).hexdigest()
    if digest != stated:
        raise InputError(
            f"{path}: missing, or sha256 {digest[:12]} is not the {str(stated)[:12]} of its card; "
            "install the package again"
        )
    return {
        key: value.float() if value.is_floating_point() else value
        for key, value in load_bytes(blob).items()
    }


def write_weights(
    name: str, state: dict[str, Tensor], facts: dict[str, Any], folder: Path = WEIGHTS
) -> Path:
    """Store `state` in half precision beside a card that holds `facts` and the digest.

    Raises ValueError if the file would be larger than 5 MB or a number does not fit in float16.
    """
    halved = {key: _half(key, value) for key, value in state.items()}
    blob = save_bytes(halved)
    if len(blob) > LARGEST:
        raise ValueError(f"{name}: {len(blob)} bytes of weights, at most {LARGEST} are shipped")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    path.write_bytes(blob)
    digest = hashlib.sha256(blob).hexdigest()
    write_card(name, facts | {"sha256": digest, "bytes": len(blob)}, folder)
    return path


def write_card(name: str, card: dict[str, Any], folder: Path = WEIGHTS) -> None:
    """Write the card alone, e.g. after its scores were measured."""
    text = json.dumps(card, indent=2, sort_keys=True, allow_nan=False) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")


def _half(key: str, value: Tensor) -> Tensor:
    """float16 copy on the CPU; integers stay."""
    if not value.is_floating_point():
        return value.detach().cpu().contiguous()
    halved = value.detach().cpu().to(torch.float16)
    if not bool(torch.isfinite(halved).all()):
        raise ValueError(f"{key} holds numbers beyond float16")
    return halved.contiguous()
