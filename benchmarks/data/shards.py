"""WebDataset: samples in plain tar files, as img2dataset writes LAION and timm ImageNet.

    00000.tar:  000000000.jpg  000000000.txt  000000000.json  000000001.jpg ...

Files of one sample follow one another and share the name before the first dot, their key. The image
is .jpg, .jpeg, .png or .webp; the caption is .txt, else "caption" of .json. The archives are
neither compressed nor unpacked: headers are read once, then every file by its offset.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from benchmarks.data.files import optional
from crossflow.errors import InputError
from crossflow.files import is_folder, parse_json

IMAGES = ("jpg", "jpeg", "png", "webp")


class Member(NamedTuple):
    """A file inside a tar; has what readers of pictures use of a `Path`, and of its status."""

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
    text: Member | None  # its .txt, else its .json, if there is one

    def caption(self) -> str:
        """Without white space around it; empty where a card says null. InputError: no caption."""
        try:
            if self.text is None:
                raise KeyError("no .txt and no .json")
            text = self.text.read_bytes().decode("utf-8-sig")
            if self.text.name.lower().endswith(".json"):
                card = parse_json(text, str(self.text))
                text = "" if card["caption"] is None else card["caption"]
            return text.strip()
        except (AttributeError, KeyError, TypeError, UnicodeDecodeError):
            need = 'no caption; it is in .txt, or "caption" of .json, UTF-8'
            raise InputError(f"{self.text or self.image}: {need}") from None


def samples(folder: Path, what: str) -> Iterator[Sample]:
    """Samples of `folder`/*.tar, in the order of the archives' names and of their files.

    what: begins the message where there are no archives. InputError names an archive that is
    truncated or damaged, or in which a sample has no image or two.
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
                yield Sample(key, pictures[0], files.get("txt", files.get("json")))
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
