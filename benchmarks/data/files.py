"""Folders, tars and files that users name: what lies in them, under which names.

A tar is a WebDataset as img2dataset writes LAION and timm ImageNet (000000000.jpg, 000000000.txt,
000000001.jpg ...), neither compressed nor unpacked: headers are read once, then every file by its
offset. Files of one sample follow one another and share the name before the first dot, their key.
"""

from __future__ import annotations

import importlib
import json
import os
import tarfile
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from benchmarks.config.inputs import is_file, is_folder, read_json
from crossflow.errors import InputError
from crossflow.files import Damaged, sha256

Form = TypeVar("Form")
IMAGES = ("jpg", "jpeg", "png", "webp")  # of a sample in a tar
SEAL = "sha256.json"  # of the files of a folder of ours


class Listing(NamedTuple):
    """Files of a folder by their names: the path below it without suffix, in one Unicode form."""

    files: dict[str, Any]  # each a Path, or a Member of a tar
    left_out: int  # files of other suffixes


class Member(NamedTuple):
    """A file inside a tar, with what readers use of a `Path` and of its status."""

    tar: Path
    name: str
    offset: int  # of its first byte in the tar
    st_size: int
    st_mtime_ns: int  # of the tar

    def __str__(self) -> str:
        return f"{self.tar}:{self.name}"

    def stat(self) -> Member:
        return self

    def read_bytes(self) -> bytes:
        with self.tar.open("rb", buffering=0) as file:
            file.seek(self.offset)
            return file.read(self.st_size)


class Sample(NamedTuple):
    """One key and its files."""

    key: str
    image: Member
    text: Member | None

    def caption(self) -> str:
        """Without white space around it. InputError where there is none."""
        if self.text is None:
            raise InputError(f"{self.image}: no caption: .txt is missing")
        try:
            return self.text.read_bytes().decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise InputError(f"{self.text}: not UTF-8 ({error})") from None


def list_files(folder: Path, suffixes: Collection[str]) -> Listing:
    """Files of these suffixes, upper or lower case, in a folder and those below it, sorted.

    Links are followed. What begins with a dot is skipped, as the "._x.JPEG" in macOS archives. No
    folder is an empty one.
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


def samples(folder: Path, what: str) -> Iterator[Sample]:
    """Samples of `folder`/*.tar, in the order of the archives' names and of their files.

    what: needs them. InputError names an archive that is damaged, or a sample without one image.
    """
    archives = sorted(folder.glob("[!.]*.tar")) if is_folder(folder) else []
    if not archives:
        raise InputError(f"{what} needs {folder}/*.tar, none was found")
    group_by_keys = optional("webdataset.tariterators", "reading tar files").group_by_keys
    for path in archives:
        try:
            for files in group_by_keys(_members(path)):
                key, pictures = files["__key__"], [files[kind] for kind in IMAGES if kind in files]
                if len(pictures) != 1:
                    need = f"needs one of {', '.join(IMAGES)}"
                    raise ValueError(f"sample {key} has {len(pictures)} images, {need}")
                yield Sample(key, pictures[0], files.get("txt"))
        except ValueError as error:
            raise InputError(f"{path}: {error.args[0]}") from None
        except (OSError, tarfile.TarError, EOFError) as error:
            raise InputError(f"{path}: truncated, or not an uncompressed tar ({error})") from None


def _members(path: Path) -> Iterator[dict[str, Any]]:
    """The plain files of an archive, as `group_by_keys` takes them; dot files are skipped."""
    time = path.stat().st_mtime_ns
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for entry in archive:
            name = PurePosixPath(entry.name)
            if entry.isdir():
                continue
            if not entry.isreg() or name.is_absolute() or ".." in name.parts:
                raise ValueError(f"{name} is not a plain file in the archive's folder")
            if not any(part.startswith(".") for part in name.parts):
                member = Member(path, entry.name, entry.offset_data, entry.size, time)
                yield {"fname": name.as_posix(), "data": member, "__url__": str(path)}
        # tarfile stops without a word at a header that it cannot read, and where the file ends.
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise ValueError(f"truncated or damaged, no end of archive at byte {archive.offset}")


def stamp_of(*files: Path | Member) -> str:
    """Sizes and times of files: changes when they do, without reading them."""
    stats = (file.stat() for file in files)
    return " ".join(f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats)


def require_listed(paths: Sequence[Path], what: str, published: str) -> None:
    """InputError that counts the files of a list which are missing."""
    if missing := [path for path in paths if not is_file(path)]:
        raise InputError(
            f"{len(missing)} of {len(paths)} {what} are missing: {first_few(missing)}; {published}"
        )


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


def optional(module: str, option: str, extra: str = "real") -> Any:
    """A module of an extra. InputError, which names the option that needs it, without."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        name = module.partition(".")[0]
        install = f"pip install 'crossflow-bench[{extra}]'"
        raise InputError(f"{option} needs {name}, which is not installed: {install}") from None


def first_few(names: Sequence[Any], count: int = 3) -> str:
    """`a, b, c and 7 more`: how messages list offenders."""
    shown, more = ", ".join(map(str, names[:count])), len(names) - count
    return f"{shown} and {more} more" if more > 0 else shown


def one_form(name: str) -> str:
    """A name as it is compared: composed characters (NFC)."""
    return unicodedata.normalize("NFC", name)


def seal(folder: Path) -> str:
    """SHA-256 of the files of a folder, as JSON: what SEAL holds, of all but itself."""
    paths = sorted(path for path in folder.iterdir() if path.name != SEAL)
    return json.dumps({path.name: sha256(path) for path in paths})


def check_seal(folder: Path) -> None:
    """Damaged where the files of a folder are not those of its SEAL."""
    there = folder / SEAL
    if not there.is_file() or there.read_bytes() != seal(folder).encode():
        raise Damaged(folder, f"its files are not those of {SEAL}")
