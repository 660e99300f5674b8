"""A file inside an uncompressed tar, read by its offset: nothing is unpacked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crossflow.errors import InputError


@dataclass(frozen=True, slots=True)
class Tar:
    """One archive, with what tells that it was changed."""

    path: Path
    st_size: int
    st_mtime_ns: int


@dataclass(frozen=True, slots=True)
class Member:
    """Bytes [offset, offset + st_size) of a tar. Has what readers of pictures use of a `Path`."""

    tar: Tar
    name: str
    offset: int
    st_size: int

    def __str__(self) -> str:
        return f"{self.tar.path}:{self.name}"

    @property
    def st_mtime_ns(self) -> int:
        return self.tar.st_mtime_ns

    def stat(self) -> Member:
        """Size and time, named as in `os.stat`: the time is that of the archive."""
        return self

    def read_bytes(self) -> bytes:
        """The whole file. InputError where the archive is gone or shorter than it was."""
        return self.head(self.st_size)

    def head(self, count: int) -> bytes:
        """The first `count` bytes, or all if there are fewer."""
        wanted = min(count, self.st_size)
        try:
            with self.tar.path.open("rb", buffering=0) as file:
                file.seek(self.offset)
                content = file.read(wanted)
        except OSError as error:
            raise InputError(f"{self}: {error.strerror}") from None
        if len(content) < wanted:
            raise InputError(f"{self}: the archive is shorter than when it was opened")
        return content
