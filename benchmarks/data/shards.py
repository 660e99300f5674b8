"""WebDataset: samples in plain tar files, as img2dataset writes LAION and timm ImageNet.

    00000.tar:  000000000.jpg  000000000.txt  000000000.json  000000001.jpg ...

Files of one sample follow one another and share the name before the first dot, their key. The image
is .jpg, .jpeg, .png or .webp; the caption is .txt, else "caption" of .json. The archives are
neither compressed nor unpacked: headers are read once, then every file by its offset.
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
        """Without white space around it; empty where a card says null. InputError: no caption."""
        text: Any = None if self.text is None else self.text.read_bytes()
        try:
            text = text.decode("utf-8-sig")
            if self.text is not None and self.text.name.lower().endswith(".json"):
                text = parse_json(text, str(self.text))["caption"]
            return "" if text is None else text.strip()
        except (AttributeError, KeyError, TypeError, UnicodeDecodeError):
            where = self.text or self.image
            raise InputError(
                f'{where}: no caption; it is in .txt, or "caption" of .json, UTF-8'
            ) from None


def samples(folder: Path, what: str) -> Iterator[Sample]:
    """Samples of `folder`/*.tar, in the order of the archives' names and of their files.

    what: begins the message where there are no archives. InputError names an archive that is
    truncated or damaged, or in which a sample has no image or two.
    """
    archives = sorted(folder.glob("[!.]*.tar")) if is_folder(folder) else []
    if not archives:
        raise InputError(f"{what} needs {folder}/*.tar, none was found")
    webdataset = optional("webdataset.tariterators", "reading tar files")
    for path in archives:
        try:
            for files in webdataset.group_by_keys(_members(path)):
                pictures = [files[suffix] for suffix in IMAGES if suffix in files]
                if len(pictures) != 1:
                    names = ", ".join(f.name for f in files.values() if isinstance(f, Member))
                    raise ValueError(
                        f"sample {files['__key__']} has {len(pictures)} images ({names}), "
                        f"it needs one of {', '.join(IMAGES)}"
                    )
                yield Sample(files["__key__"], pictures[0], files.get("txt", files.get("json")))
        except ValueError as error:
            raise InputError(f"{path}: {error.args[0]}") from None
        except (OSError, tarfile.TarError, EOFError) as error:
            raise InputError(f"{path}: truncated, or not an uncompressed tar ({error})") from None


def _members(path: Path) -> Iterator[dict[str, Any]]:
    """The plain files of an archive, as `group_by_keys` takes them; dot files are skipped.

    ValueError unless the archive can be read to its end.
    """
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
