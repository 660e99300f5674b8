"""Finding the files of frozen networks that a user gives, and naming them by their content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from crossflow.errors import InputError
from crossflow.files import is_file, is_folder

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?")  # owner/model, or owner/model/subfolder


def local_folder(field: str, weights: str, download: bool, patterns: Sequence[str]) -> Path:
    """The folder of the files of a network, fetched into the hub's cache only if that is allowed.

    weights: a folder; or, with `download`, a hub's name `owner/model`, a third part naming a folder
    in it (`owner/model/vae`). patterns: the files that are fetched.
    Raises InputError, naming `field`, where there is no such folder or it cannot be fetched
    (HF_HUB_OFFLINE is respected).
    """
    path = Path(weights).expanduser()
    if is_folder(path):
        return path
    if is_file(path):
        raise InputError(f"{field}={weights}: a file; give the folder that holds it")
    if not _HUB_NAME.fullmatch(weights):
        raise InputError(f"{field}={weights}: no such folder")
    if not download:
        raise InputError(
            f"{field}={weights}: no such folder; if it is a model hub's name, allow its download "
            "with download=true"
        )
    return _fetched(field, weights, patterns)


def _fetched(field: str, weights: str, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    owner, model, *below = weights.split("/", 2)
    inside = [f"{below[0]}/{pattern}" if below else pattern for pattern in patterns]
    try:
        root = snapshot_download(f"{owner}/{model}", allow_patterns=inside)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{field}={weights}: could not be downloaded ({first})") from None
    return Path(root, *below)


def safetensors_files(field: str, folder: Path, stem: str) -> list[Path]:
    """`<stem>.safetensors`, or its shards and their index; InputError where there are none.

    Nothing but safetensors is read: the older .bin files are pickles, which can run code.
    """
    whole = folder / f"{stem}.safetensors"
    if whole.is_file():
        return [whole]
    index, shards = folder / f"{stem}.safetensors.index.json", f"{stem}-*-of-*.safetensors"
    if index.is_file():
        return [index, *sorted(folder.glob(shards))]
    raise InputError(f"{field}: {folder} has no {whole.name}; weights must be safetensors")


def files_digest(files: Sequence[Path]) -> str:
    """SHA-256 over names and contents of files of one folder, in the order of their names."""
    whole = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.name} {content}\n".encode())
    return whole.hexdigest()


def from_pretrained(field: str, kind: Any, folder: Path) -> Any:
    """A network of diffusers or transformers from a local folder, nothing fetched, no pickle.

    Raises InputError where the files cannot be read or lack a parameter: the libraries would fill
    it with random numbers and only warn.
    """
    try:
        network, loading = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{field}: {folder} cannot be read as {kind.__name__} ({first})") from None
    if loading["missing_keys"]:
        name = sorted(loading["missing_keys"])[0]
        raise InputError(f"{field}: the weights in {folder} lack {name}")
    return network
