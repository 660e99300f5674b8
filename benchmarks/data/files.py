"""Folders and files that users name: what lies in them, under which names; weights of networks."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossflow.errors import InputError
from crossflow.files import is_folder, sha256

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(/[\w./-]+)?")  # owner/model, or owner/model/subfolder


def stamp_of(*paths: Path) -> str:
    """Sizes and times of files: changes when they do, without reading them."""
    stats = (path.stat() for path in paths)
    return " ".join(f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats)


def first_few(names: Sequence[Any], count: int = 3) -> str:
    """`a, b, c and 7 more`: how messages list offenders."""
    shown = ", ".join(str(name) for name in names[:count])
    more = len(names) - count
    return f"{shown} and {more} more" if more > 0 else shown


def optional(module: str, option: str) -> Any:
    """A module of the extra `real`. InputError, which names the option that needs it, without."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise InputError(
            f"{option} needs {module.partition('.')[0]}, which is not installed: "
            "pip install 'crossflow-bench[real]'"
        ) from None


@dataclass(frozen=True)
class Listing:
    """Files of a folder by their names: the path below it without suffix, in one Unicode form."""

    files: dict[str, Path]
    left_out: int  # files of other suffixes


def list_files(folder: Path, suffixes: Collection[str]) -> Listing:
    """Files of these suffixes, upper or lower case, in a folder and those below it, sorted.

    Links are followed. Files and folders that begin with a dot are skipped, as the "._x.JPEG" in
    macOS archives. InputError: two files of one name, a folder that cannot be read.
    """
    files: dict[str, Path] = {}
    left_out = 0
    for path in _walk(folder, frozenset()):
        if path.suffix.lower() not in suffixes:
            left_out += 1
            continue
        name = one_form(path.relative_to(folder).with_suffix("").as_posix())
        if name in files:
            raise InputError(f"{files[name]} and {path} would share one prediction name")
        files[name] = path
    return Listing(files, left_out)


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """Files below a folder; a link to a folder that it lies in is not followed."""
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from None
    here = status.st_dev, status.st_ino
    for entry in entries if here not in above else ():
        path = folder / entry.name
        if entry.name.startswith("."):
            continue
        if path.is_dir() if entry.is_symlink() else entry.is_dir():
            yield from _walk(path, above | {here})
        else:
            yield path


def find_listed(paths: Sequence[Path], what: str, published: str) -> list[Path]:
    """The files that a list names, as they are called on the disk; each folder is read once.

    Names are equal in one Unicode form: archives unpacked on macOS spell "é" as two characters.
    InputError counts what is missing.
    """
    contents: dict[Path, dict[str, Path]] = {}

    def inside(folder: Path) -> dict[str, Path]:
        if folder not in contents:
            real: Path | None = folder
            if not is_folder(folder):
                real = inside(folder.parent).get(one_form(folder.name))
            files = real.iterdir() if real is not None and is_folder(real) else ()
            contents[folder] = {one_form(path.name): path for path in files}
        return contents[folder]

    there = [inside(path.parent).get(one_form(path.name)) for path in paths]
    missing = [path for path, real in zip(paths, there, strict=True) if real is None]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(paths)} {what} are missing: {first_few(missing)}; {published}"
        )
    return [real for real in there if real is not None]


def one_form(name: str) -> str:
    """A name as it is compared: composed characters (NFC)."""
    return unicodedata.normalize("NFC", name)


def weights_folder(field: str, weights: str, download: bool, patterns: Sequence[str]) -> Path:
    """The folder of the files of a network, fetched into the hub's cache only if that is allowed.

    weights: a folder; or, with `download`, a hub's name `owner/model`, a third part naming a folder
    in it (`owner/model/vae`). patterns: the files that are fetched. InputError names `field`.
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
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    owner, model, *below = weights.split("/", 2)
    inside = [f"{below[0]}/{pattern}" if below else pattern for pattern in patterns]
    try:
        return Path(snapshot_download(f"{owner}/{model}", allow_patterns=inside), *below)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise InputError(f"{field}={weights}: could not be downloaded ({_first(error)})") from None


def weights_digest(files: Sequence[Path]) -> str:
    """SHA-256 over names and contents of files of one folder, in the order of their names."""
    rows = sorted((path.name, sha256(path)) for path in files)
    return hashlib.sha256(
        "".join(f"{name} {content}\n" for name, content in rows).encode()
    ).hexdigest()


def safetensors_files(field: str, folder: Path, stem: str) -> list[Path]:
    """`<stem>.safetensors`, or its shards and their index; InputError where there are none.

    Nothing else is read: the older .bin files are pickles, which can run code.
    """
    files = [*folder.glob(f"{stem}.safetensors*"), *folder.glob(f"{stem}-*-of-*.safetensors")]
    if not files:
        raise InputError(f"{field}: {folder} has no {stem}.safetensors; weights must be such files")
    return files


def from_pretrained(field: str, kind: Any, folder: Path) -> Any:
    """A network of diffusers or transformers from a local folder, nothing fetched, no pickle.

    Raises InputError where the files cannot be read or lack a parameter: the libraries would fill
    it with random numbers and only warn.
    """
    from safetensors import SafetensorError

    try:
        network, loading = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{field}: {folder} cannot be read as {kind.__name__} ({_first(error)})"
        ) from None
    if loading["missing_keys"]:
        name = sorted(loading["missing_keys"])[0]
        raise InputError(f"{field}: the weights in {folder} lack {name}")
    return network


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
