"""Folders and files that users name: what lies in them, under which names."""

from __future__ import annotations

import importlib
import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossflow.errors import InputError
from crossflow.files import is_folder


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
