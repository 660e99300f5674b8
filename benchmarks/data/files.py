"""Folders and files that users name: what lies in them, under which names."""

from __future__ import annotations

import importlib
import os
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from crossflow.errors import InputError
from crossflow.files import is_file, read_json

Form = TypeVar("Form")


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


def read_form(path: Path, form: type[Form], published: str = "") -> Form:
    """A user's JSON file as pydantic's `form`. InputError names the file and its first fault."""
    if not is_file(path):
        raise InputError(f"{path}: no such file; {published}")
    try:
        return TypeAdapter(form).validate_python(read_json(path), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        fault = f"{where}: {first['msg']}, not {first['input']!r:.50}"
        raise InputError(f"{path}: {fault} ({error.error_count()} faults); {published}") from None


def require_listed(paths: Sequence[Path], what: str, published: str) -> None:
    """InputError that counts the files of a list which are missing."""
    if missing := [path for path in paths if not is_file(path)]:
        raise InputError(
            f"{len(missing)} of {len(paths)} {what} are missing: {first_few(missing)}; {published}"
        )


def one_form(name: str) -> str:
    """A name as it is compared: composed characters (NFC)."""
    return unicodedata.normalize("NFC", name)
