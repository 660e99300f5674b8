"""One shard of a store: a fixed range of rows, a file a field, and a note that says it is whole.

The note `shards/<number>.json` is written last, after the files are on the disk under their names:
a shard with a note is whole, whatever killed its writer. What stands in a note depends on the rows
alone, not on how they were batched, by which process they were written or after how many kills.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from crossflow.errors import InputError
from crossflow.files import sync
from crossflow.problem import MapShape, TokenShape
from crossflow.store import shard_name

DTYPES = ("float16", "float32", "uint8", "int16", "int32", "int64", "bool")
NOTES = "shards"  # folder of the notes, in the store
BLOCK = 64  # rows whose moments are taken at once, in float64


class Fields:
    """The fields that rows of a store must have, from the shapes of a problem.

    name: of the store, for messages.
    """

    def __init__(self, name: str, source: MapShape | TokenShape, target: MapShape) -> None:
        self.name = name
        self.entries = {"source": shape_entry(source), "target": shape_entry(target)}
        # Shape of one variant of one row, of the fields that may have variants.
        self.inner = {field: _inner(entry) for field, entry in self.entries.items()}
        if isinstance(source, TokenShape):
            self.inner["mask"] = (source.length,)
        self.maps = [f for f, entry in self.entries.items() if entry["kind"] == "map"]

    def check(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """A batch as arrays, `ids` last.

        target: (n, C, H, W), or (n, k, C, H, W) with k variants each.
        source: a map like the target; word ids (n, k, L); or features (n, k, L, D).
        mask: (n, k, L), True at real tokens; required for tokens, refused for maps.
        groups: (n,) numbers; ids: n names.
        Raises InputError on a wrong shape, a dtype that is not stored or a non-finite number.
        """
        wanted = {"target", "source", "groups", "ids"}
        if (self.entries["source"]["kind"] != "map") != (batch.get("mask") is not None):
            raise InputError("a store of tokens needs a mask, a store of maps takes none")
        if set(batch) - {"mask"} != wanted:
            raise InputError(f"store {self.name}: a batch has {sorted(batch)}, not {wanted}")
        arrays = {field: np.asarray(batch[field]) for field in ("target", "source")}
        if batch.get("mask") is not None:
            arrays["mask"] = np.asarray(batch["mask"], dtype=np.bool_)
        arrays["groups"] = np.asarray(batch["groups"], dtype=np.int64)
        names = np.asarray(batch["ids"], dtype=np.str_)
        for field, values in arrays.items():
            self._check(field, values, len(names))
            # One variant is stored like none.
            if self.variants(field, values.shape[1:]) == 1 and values.ndim > self._flat(field):
                arrays[field] = values[:, 0]
        return {**arrays, "ids": names}

    def _check(self, field: str, values: np.ndarray, rows: int) -> None:
        where = f"store {self.name}, field {field}"
        if len(values) != rows:
            raise InputError(f"{where}: {len(values)} rows for {rows} ids")
        if values.dtype.name not in DTYPES:
            raise InputError(f"{where}: dtype {values.dtype} is not one of {', '.join(DTYPES)}")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"{where}: a number is not finite")
        if field in self.inner:
            inner = self.inner[field]
            extra = values.ndim - 1 - len(inner)
            # Tokens always have the axis of variants; maps have it where k > 1.
            allowed = (1,) if len(inner) < 3 else (0, 1)
            if extra not in allowed or values.shape[1 + extra :] != inner:
                raise InputError(f"{where}: shape {values.shape} does not end in {inner}")

    def variants(self, field: str, row: tuple[int, ...]) -> int | None:
        """Number of variants of a row of such a shape; None for a field that has none."""
        if field not in self.inner:
            return None
        return row[0] if len(row) > len(self.inner[field]) else 1

    def _flat(self, field: str) -> int:
        """Axes of a batch without that of variants."""
        return 1 + len(self.inner[field])


class ShardWriter:
    """Writes the rows of one shard, batch by batch; nothing counts before `close`.

    moments: the map fields whose mean and variance are wanted. mark: names this process's
    unfinished files, so that two never write into one.
    """

    def __init__(
        self, folder: Path, number: int, rows: int, fields: Fields, moments: set[str], mark: str
    ) -> None:
        self.folder, self.number, self.rows, self.fields = folder, number, rows, fields
        self.done, self.moments, self.mark = 0, moments, mark
        self._columns: dict[str, _Column] = {}
        self._ids: list[np.ndarray] = []

    def add(self, batch: Mapping[str, Any]) -> int:
        """Appends the rows of a batch (see `Fields.check`) and returns their number."""
        arrays = self.fields.check(batch)
        names = arrays.pop("ids")
        if self.done + len(names) > self.rows:
            raise ValueError(f"shard {self.number} of {self.rows} rows was given more")
        for field, values in arrays.items():
            if field not in self._columns:
                variants = self.fields.variants(field, values.shape[1:])
                self._columns[field] = _Column(self._path(field), values, variants, self.rows)
            column, layout = self._columns[field], (values.dtype, values.shape[1:])
            if column.layout != layout:
                where = f"store {self.fields.name}, field {field}"
                raise InputError(f"{where}: {layout} after {column.layout}")
            column.append(values)
        self._ids.append(names)
        self.done += len(names)
        return len(names)

    def close(self) -> None:
        """Names the files, then writes the note."""
        if self.done != self.rows:
            raise ValueError(f"shard {self.number}: {self.done} rows were made of {self.rows}")
        # In one array, so that the width of the names does not depend on the batches.
        names = np.asarray([name for part in self._ids for name in part.tolist()], dtype=np.str_)
        self._columns["ids"] = _Column(self._path("ids"), names, None, self.rows)
        self._columns["ids"].append(names)
        note: dict[str, Any] = {"rows": self.rows, "fields": {}}
        for field, column in sorted(self._columns.items()):
            entry = column.close(self.folder / shard_name(field, self.number))
            if field in self.moments:
                entry["moments"] = self._moments(field).as_dict()
            note["fields"][field] = entry
        sync(self.folder)
        write_whole(note_path(self.folder, self.number), json.dumps(note, indent=1), self.mark)

    def _moments(self, field: str) -> Moments:
        """From the file, in blocks of fixed size: how the rows were batched plays no part."""
        values = np.load(self.folder / shard_name(field, self.number), mmap_mode="r")
        found = Moments(self.fields.inner[field][0])
        for start in range(0, self.rows, BLOCK):
            found.update(np.array(values[start : start + BLOCK]))
        return found

    def _path(self, field: str) -> Path:
        return self.folder / f"{shard_name(field, self.number)}.{self.mark}"

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            for column in self._columns.values():
                column.drop()


class _Column:
    """The file of one field, its header written before its rows: their number is known."""

    def __init__(self, path: Path, like: np.ndarray, variants: int | None, rows: int) -> None:
        self.path, self.variants = path, variants
        self.layout = (like.dtype, like.shape[1:])
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        header = {
            "descr": np.lib.format.dtype_to_descr(like.dtype),
            "fortran_order": False,
            "shape": (rows, *like.shape[1:]),
        }
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, values: np.ndarray) -> None:
        content = values.tobytes()
        self._file.write(content)
        self._hash.update(content)

    def close(self, path: Path) -> dict[str, Any]:
        """Puts the file on the disk under its name; returns its part of the note."""
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._file.close()
        self.path.replace(path)
        dtype, shape = self.layout
        entry: dict[str, Any] = {"dtype": dtype.name, "shape": list(shape)}
        if self.variants is not None:
            entry["variants"] = self.variants
        return {**entry, "bytes": size, "sha256": self._hash.hexdigest()}

    def drop(self) -> None:
        """Removes what was not closed."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def read_note(folder: Path, number: int) -> dict[str, Any] | None:
    """The note of a whole shard; None where there is none or a file is not as it says."""
    try:
        note: dict[str, Any] = json.loads(note_path(folder, number).read_text())
    except FileNotFoundError:
        return None
    for field, entry in note["fields"].items():
        path = folder / shard_name(field, number)
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            return None
    return note


def note_path(folder: Path, number: int) -> Path:
    return folder / NOTES / f"{number:05d}.json"


def write_whole(path: Path, text: str, mark: str) -> None:
    """A file that is there whole and on the disk, or not at all."""
    new = path.with_name(f"{path.name}.{mark}")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync(path.parent)


class Moments:
    """Mean and variance per channel, part by part in float64 (Chan et al. 1983, merged)."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = np.zeros(channels)
        self.squares = np.zeros(channels)

    def update(self, values: np.ndarray) -> None:
        """values: (n, [k,] C, H, W) of any dtype."""
        flat = np.moveaxis(values.astype(np.float64), -3, 0).reshape(len(self.mean), -1)
        mean = flat.mean(1)
        self._merge(flat.shape[1], mean, ((flat - mean[:, None]) ** 2).sum(1))

    def merge(self, other: Mapping[str, Any]) -> None:
        """Adds what `as_dict` gave: to be called in the order of the shards."""
        self._merge(other["count"], np.array(other["mean"]), np.array(other["squares"]))

    def _merge(self, count: int, mean: np.ndarray, squares: np.ndarray) -> None:
        delta, total = mean - self.mean, self.count + count
        self.squares += squares + delta**2 * self.count * count / total
        self.mean += delta * count / total
        self.count = total

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which keeps every bit of a float64."""
        mean, squares = self.mean.tolist(), self.squares.tolist()
        return {"count": self.count, "mean": mean, "squares": squares}

    def statistics(self, name: str) -> dict[str, list[float]]:
        """`mean` and `std` of each channel. InputError where a channel never changes."""
        std = np.sqrt(self.squares / self.count)
        if (std <= 0).any():
            channel = int(np.argmin(std))
            raise InputError(f"channel {channel} of {name} is constant: it cannot be standardised")
        return {"mean": self.mean.tolist(), "std": std.tolist()}


def shape_entry(shape: MapShape | TokenShape) -> dict[str, Any]:
    """The problem's shape as it stands in the manifest."""
    if isinstance(shape, MapShape):
        return {"kind": "map", "sizes": list(shape.sizes)}
    if shape.vocabulary is not None:
        return {"kind": "words", "length": shape.length, "vocabulary": shape.vocabulary}
    return {"kind": "features", "length": shape.length, "width": shape.width}


def _inner(entry: Mapping[str, Any]) -> tuple[int, ...]:
    if entry["kind"] == "map":
        return tuple(entry["sizes"])
    return (entry["length"],) if entry["kind"] == "words" else (entry["length"], entry["width"])
