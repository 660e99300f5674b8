"""Frozen weights and the cards that state what they are worth.

A codec ships as `weights/<name>.safetensors` beside `weights/<name>.json`, its card: digest of the
weights, the command that trained them, the accuracy on scenes they never saw. Weights are stored in
half precision, below 5 MB; the conversion to float32 is exact, so that every machine computes with
the same numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from benchmarks.config.inputs import read_json
from crossflow.errors import InputError
from crossflow.files import sha256, write_atomic

Network = TypeVar("Network", bound=nn.Module)
WEIGHTS = Path(__file__).parent / "weights"
LARGEST = 5_000_000  # bytes of one weight file


def read_card(name: str, folder: Path = WEIGHTS) -> dict[str, Any]:
    """The card of `name`: version, sha256, training facts, scores on unseen scenes."""
    return dict(read_json(folder / f"{name}.json"))


def read_weights(name: str, folder: Path = WEIGHTS) -> dict[str, Tensor]:
    """The float32 tensors of `name`; InputError where they are not those of the card.

    Scores of other weights must not pass for scores of these.
    """
    card, path = read_card(name, folder), folder / f"{name}.safetensors"
    if not path.is_file() or sha256(path) != card.get("sha256"):
        raise InputError(f"{path}: missing, or not the weights of its card; install again")
    return {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}


def frozen(name: str, build: Callable[[], Network], device: str) -> Network:
    """The shipped network of `name`, in eval mode."""
    with torch.device("meta"):  # no initialisation: the global random state stays untouched
        network = build()
    network.load_state_dict(read_weights(name), assign=True)
    return network.to(device).eval().requires_grad_(False)


def write_weights(name: str, state: dict[str, Tensor], facts: dict[str, Any], folder: Path) -> None:
    """Stores `state` in half precision beside a card that holds `facts` and the digest.

    Raises ValueError if the file would be larger than 5 MB or a number does not fit in float16.
    """
    kept = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in state.items()}
    blob = save(kept)
    if len(blob) > LARGEST or not all(bool(value.isfinite().all()) for value in kept.values()):
        raise ValueError(f"{name}: more than {LARGEST} bytes, or numbers beyond float16")
    write_atomic(folder / f"{name}.safetensors", blob)
    digest = hashlib.sha256(blob).hexdigest()
    write_card(name, facts | {"sha256": digest, "bytes": len(blob)}, folder)


def write_card(name: str, card: dict[str, Any], folder: Path = WEIGHTS) -> None:
    """Writes the card alone, e.g. after its scores were measured."""
    text = json.dumps(card, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_atomic(folder / f"{name}.json", text)
