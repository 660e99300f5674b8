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
    return {k: v.float() if v.is_floating_point() else v for k, v in load_bytes(blob).items()}


def write_weights(
    name: str, state: dict[str, Tensor], facts: dict[str, Any], folder: Path = WEIGHTS
) -> None:
    """Store `state` in half precision beside a card that holds `facts` and the digest.

    Raises ValueError if the file would be larger than 5 MB or a number does not fit in float16.
    """
    kept = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in state.items()}
    blob = save_bytes(kept)
    if len(blob) > LARGEST or not all(bool(value.isfinite().all()) for value in kept.values()):
        raise ValueError(f"{name}: more than {LARGEST} bytes, or numbers beyond float16")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.safetensors").write_bytes(blob)
    digest = hashlib.sha256(blob).hexdigest()
    write_card(name, facts | {"sha256": digest, "bytes": len(blob)}, folder)


def write_card(name: str, card: dict[str, Any], folder: Path = WEIGHTS) -> None:
    """Write the card alone, e.g. after its scores were measured."""
    text = json.dumps(card, indent=2, sort_keys=True, allow_nan=False) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
