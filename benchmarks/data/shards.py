"""WebDataset: samples in plain tar files, as img2dataset writes LAION and timm ImageNet.

Files of one sample follow one another and share the name before the first dot, their key:

    00000.tar:  000000000.jpg  000000000.txt  000000000.json  000000001.jpg ...

The image is .jpg, .jpeg, .png or .webp; the caption is .txt, else "caption" of .json; other files
(.cls) are not looked at. The archives are neither compressed nor unpacked: their headers are read
once, then every file by its offset.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.data.files import optional
from crossflow.errors import InputError
from crossflow.files import is_folder, parse_json

IMAGES = ("jpg", "jpeg", "png", "webp")
BLOCK = 512  # bytes of a header, and of the mark at the end of a tar


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a tar; has what readers of pictures use of a `Path`, and of its status."""

    tar: Path
    name: str
    offset: int  # of its first byte in the tar
    st_size: int
    st_mtime_ns: int  # of the tar

    def __str__(self) -> str:
        return f"{self.tar}:{self.name}"

    def stat(self) -> Member:
        """Size and time, named as in `os.stat`."""
        return self

    def read_bytes(self, count: int | None = None) -> bytes:
        """The whole file, or its first `count` bytes. InputError where the archive changed."""
        wanted = self.st_size if count is None else min(count, self.st_size)
        try:
            with self.tar.open("rb", buffering=0) as file:
                file.seek(self.offset)
                content = file.read(wanted)
        except OSError as error:
            raise InputError(f"{self}: {error.strerror}") from None
        if len(content) < wanted:
            raise InputError(f"{self}: the archive is shorter than when it was opened")
        return content


@dataclass(frozen=True, slots=True)
class Sample:
    """One key and its files."""

    key: str
    image: Member
    text: Member | None  # its .txt, else its .json, if there is one

    def caption(self) -> str:
        """The caption without white space around it; empty where the card says null.

        InputError where there is none, or its file is not UTF-8 or JSON.
        """
        if self.text is None:
            raise InputError(f"{self.image}: the sample has neither .txt nor .json for its caption")
        try:
            text: Any = self.text.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError(f"{self.text}: no caption in it, the file is not UTF-8") from None
        if self.text.name.lower().endswith(".json"):
            card = parse_json(text, str(self.text))
            text = card.get("caption", False) if isinstance(card, dict) else False
            text = "" if text is None else text
        if not isinstance(text, str):
            raise InputError(f'{self.text}: no caption in it; "caption" of .json holds it')
        return text.strip()


def samples(folder: Path, what: str) -> Iterator[Sample]:
    """Samples of `folder`/*.tar, in the order of the archives' names and of their files.

    what: begins the message where there are no archives. Raises InputError for a truncated or
    damaged archive, a sample without image or with two, a name that leads out of its folder.
    """
    archives = sorted(folder.glob("[!.]*.tar")) if is_folder(folder) else []
    if not archives:
        raise InputError(f"{what} needs {folder}/*.tar, none was found")
    webdataset = optional("webdataset.tariterators", "reading tar files")
    for path in archives:
        try:
            for files in webdataset.group_by_keys(_named(path)):
                yield _sample(path, files)
        except InputError:
            raise
        except ValueError as error:  # one suffix twice
            raise InputError(f"{path}: {error.args[0]}") from None


def _sample(path: Path, files: dict[str, Any]) -> Sample:
    pictures = [files[suffix] for suffix in IMAGES if suffix in files]
    if len(pictures) != 1:
        names = ", ".join(str(file.name) for file in files.values() if isinstance(file, Member))
        raise InputError(
            f"{path}: sample {files['__key__']} has {len(pictures)} images ({names}), it needs one "
            f"of {', '.join(IMAGES)}"
        )
    return Sample(files["__key__"], pictures[0], files.get("txt", files.get("json")))


def _named(path: Path) -> Iterator[dict[str, Any]]:
    """The files of an archive as `group_by_keys` takes them, those that begin with a dot not."""
    for member in _members(path):
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise InputError(f"{member}: the name leads out of its folder")
        if not any(part.startswith(".") for part in name.parts):
            yield {"fname": name.as_posix(), "data": member, "__url__": str(path)}


def _members(path: Path) -> Iterator[Member]:
    """The plain files of an archive; InputError unless it can be read to its end."""
    end = 0
    try:
        time = path.stat().st_mtime_ns
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                end = entry.offset_data
                if entry.isreg():
                    end += -(-entry.size // BLOCK) * BLOCK
                    yield Member(path, entry.name, entry.offset_data, entry.size, time)
                elif not entry.isdir():
                    raise InputError(f"{path}:{entry.name}: not a plain file")
        # tarfile stops without a word at a header it cannot read, and where the file just ends.
        with path.open("rb") as file:
            file.seek(end)
            mark = file.read(BLOCK)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise InputError(f"{path}: truncated, or not an uncompressed tar ({error})") from None
    if len(mark) < BLOCK or any(mark):
        raise InputError(f"{path}: truncated or damaged, no end of archive at byte {end}")
