"""Folders and files that users name: what lies in them, under which names."""

from __future__ import annotations

import importlib
import os
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from crossflow.errors import InputError
from crossflow.files import is_file, is_folder, read_json

if TYPE_CHECKING:
    from benchmarks.data.shards import Member

Form = TypeVar("Form")


def stamp_of(*files: Path | Member) -> str:
    """Sizes and times of files: changes when they do, without reading them."""
    stats = (file.stat() for file in files)
    return " ".join(f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats)


def first_few(names: Sequence[Any], count: int = 3) -> str:
    """`a, b, c and 7 more`: how messages list offenders."""
    shown, more = ", ".join(map(str, names[:count])), len(names) - count
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


class Listing(NamedTuple):
    """Files of a folder by their names: the path below it without suffix, in one Unicode form."""

    files: dict[str, Any]  # each a Path, or a Member of a tar
    left_out: int  # files of other suffixes


def list_files(folder: Path, suffixes: Collection[str]) -> Listing:
    """Files of these suffixes, upper or lower case, in a folder and those below it, sorted.

    Links are followed. Files and folders that begin with a dot are skipped, as the "._x.JPEG" in
    macOS archives. No folder is an empty one. InputError: two files of one name, no permission.
    """
    every = list(_walk(folder, frozenset())) if is_folder(folder) else []
    chosen = [path for path in every if path.suffix.lower() in suffixes]
    names = (path.relative_to(folder).with_suffix("").as_posix() for path in chosen)
    return Listing(by_name(zip(names, chosen, strict=True)), len(every) - len(chosen))


def by_name(named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Files by the names of their predictions, in one Unicode form. InputError: two of one name."""
    files: dict[str, Any] = {}
    for name, file in named:
        if (other := files.setdefault(one_form(name), file)) is not file:
            raise InputError(f"{other} and {file} would share one prediction name")
    return files


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
