"""Frozen networks that a user gives, in folders of diffusers and transformers; how they are run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config.inputs import is_file, is_folder, read_json
from benchmarks.data.files import optional
from crossflow.errors import InputError
from crossflow.files import sha256

if TYPE_CHECKING:
    from torch import Tensor

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?")  # owner/model, or owner/model/subfolder


def weights_folder(field: str, weights: str, download: bool, patterns: Sequence[str]) -> Path:
    """The folder `weights`, or with `download` that of the hub's `owner/model[/subfolder]`.

    patterns: the files that are fetched, into the hub's cache. InputError names `field`.
    """
    path = Path(weights).expanduser()
    if is_folder(path):
        return path
    if not (download and _HUB_NAME.fullmatch(weights)):
        raise InputError(
            f"{field}={weights}: no such folder; the name of a model on the hub, owner/model, "
            "needs download=true"
        )
    from huggingface_hub import snapshot_download

    owner, model, *below = weights.split("/", 2)
    inside = ["/".join([*below, pattern]) for pattern in patterns]
    try:
        return Path(snapshot_download(f"{owner}/{model}", allow_patterns=inside), *below)
    except Exception as error:  # whatever the network and the hub run into
        raise InputError(f"{field}={weights}: could not be downloaded ({error!r:.300})") from None


def elsewhere(weights: str | None, download: bool) -> bool:
    """Whether `weights` names a model of the hub that must not be fetched: a plan does without."""
    named = weights is not None and not download and not is_folder(Path(weights).expanduser())
    return named and _HUB_NAME.fullmatch(str(weights)) is not None


def pretrained(
    field: str, folder: Path, library: str, key: str, classes: Mapping[str, str], stem: str
) -> tuple[str, Any, list[Path]]:
    """Kind, frozen network and files of a local folder; the random state stays as it was.

    key: of config.json, tells the kind. classes: kind -> class of `library`. Of weights only
    `<stem>.safetensors` or its shards are read: .bin files are pickles, which can run code.
    InputError where a parameter is lacking: the libraries would fill it with random numbers.
    """
    from benchmarks.metrics.distribution import preserved_random_state

    config_file = folder / "config.json"
    config = read_json(config_file) if is_file(config_file) else None
    kind = str(config.get(key) if isinstance(config, dict) else None)
    if kind not in classes:
        raise InputError(f"{field}: {config_file} is of {kind}; can use {', '.join(classes)}")
    files = [*folder.glob(f"{stem}.safetensors*"), *folder.glob(f"{stem}-*-of-*.safetensors")]
    if not files:
        raise InputError(f"{field}: {folder} has no {stem}.safetensors; weights must be such files")
    network_class = getattr(optional(library, field), classes[kind])
    try:
        with preserved_random_state():
            network, loading = network_class.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except Exception as error:  # whatever the libraries run into
        name = network_class.__name__
        raise InputError(f"{field}: {folder} cannot be read as {name} ({error!r:.300})") from None
    if lacking := sorted(loading["missing_keys"]):
        raise InputError(f"{field}: the weights in {folder} lack {lacking[0]}")
    return kind, network.eval().requires_grad_(False), [config_file, *files]


def weights_digest(files: Sequence[Path]) -> str:
    """SHA-256 over names and contents of files of one folder, in the order of their names."""
    ordered = sorted(files, key=lambda path: path.name)
    rows = "".join(f"{path.name} {sha256(path)}\n" for path in ordered)
    return hashlib.sha256(rows.encode()).hexdigest()


def in_batches(network: str, step: Callable[..., Tensor], batch: int, *rows: Tensor) -> Tensor:
    """`step` of all rows, `finite`, in float32 on the CPU.

    The last batch is filled up with zeros: a kernel is chosen by the shape, so that a row's last
    bits would otherwise depend on how many came with it.
    """
    import torch

    made = []
    with torch.inference_mode():
        for parts in zip(*(values.split(batch) for values in rows), strict=True):
            count = len(parts[0])
            full = (torch.cat([p, p.new_zeros(batch - count, *p.shape[1:])]) for p in parts)
            made.append(step(*full)[:count].float().cpu())
    return finite(network, torch.cat(made), rows[0])


def finite(network: str, made: Tensor, given: Tensor | None = None) -> Tensor:
    """`made`, what a frozen network made of `given`; InputError where that is not finite.

    NaN would become black pictures and be scored. ArithmeticError where `given` is not finite.
    """
    if not bool(made.isfinite().all()):
        if given is not None and not bool(given.isfinite().all()):
            raise ArithmeticError(f"what was sampled for {network} is not finite")
        raise InputError(f"{network} gives numbers that are not finite; its weights are damaged")
    return made
