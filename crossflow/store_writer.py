"""Writes a store: block by block, by one process or several, going on where a killed one stopped.

Each process takes the next block of rows that nobody has, and notes it, with its hashes, when it is
on the disk. The store is the same byte for byte whoever wrote it. It grows in
`.<name>.<digest of what it is made of>.partial`.
"""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossflow.errors import InputError
from crossflow.files import InUse, lock, replacing, reserve, sync, write_atomic
from crossflow.problem import MapShape, TokenShape
from crossflow.store import MANIFEST, VERSION, Store, array_digest, json_digest

BLOCK = 1024  # rows; part of the digest
MOMENTS = 64  # rows whose moments are taken at once, in float64
DTYPES = ("float16", "float32", "uint8", "int16", "int32", "int64", "bool")

Batches = Callable[[int, int], Iterable[Mapping[str, Any]]]
"""Rows [start, stop) in batches, each of them what `_checked` takes."""


def write_store(
    folder: Path,
    source: MapShape | TokenShape,
    target: MapShape,
    fingerprint: Mapping[str, Any],
    rows: int,
    batches: Batches,
    statistics: Mapping[str, Any] | None = None,
    *,
    shared_statistics: bool = False,
    report: Callable[[int, int], None] = lambda done, rows: None,
) -> Store:
    """The store `folder` of `rows` encoded pairs; written unless it is there.

    batches: `batches(start, stop)`, called once a block, yields its rows in batches of its choice;
        they must depend on the range alone.
    statistics: of the training store, for validation and test; None: of what is written.
    shared_statistics: the target's standardise the source too, where it is itself the start of the
        flow: only then does a flow that stands still give the source back.
    report: called with (rows done by all processes, rows).

    Raises InputError for a store of another fingerprint, bad rows or a full disk.
    """
    folder = Path(folder)
    if rows < 1:
        raise InputError(f"store {folder} would be empty: there is no row")
    if shared_statistics and source != target:
        raise InputError(f"store {folder}: {source} and {target} cannot share statistics")
    if not folder.is_dir():
        facts = {
            "version": VERSION,
            "fingerprint": fingerprint,
            "rows": rows,
            "block": BLOCK,
            "source": _entry(source),
            "target": _entry(target),
            "statistics": statistics,
            "shared": shared_statistics,
        }
        _Writer(folder, json.loads(json.dumps(facts)), batches, report).run()
    return Store(folder, fingerprint)


@dataclass
class _Writer:
    """One process's part in writing a store."""

    folder: Path
    facts: dict[str, Any]  # all that the bytes follow from
    batches: Batches
    report: Callable[[int, int], None]

    def __post_init__(self) -> None:
        self.rows: int = self.facts["rows"]
        self.blocks = range(-(-self.rows // BLOCK))
        self.partial = self._beside(f"{json_digest(self.facts)[:12]}.partial")
        self.maps = [field for field in ("source", "target") if self.facts[field]["kind"] == "map"]

    def _beside(self, name: str) -> Path:
        return self.folder.with_name(f".{self.folder.name}.{name}")

    def _note(self, block: int) -> Path:
        return self.partial / "blocks" / f"{block}.json"

    def _done(self, block: int) -> bool:
        return self.folder.is_dir() or self._note(block).is_file()

    def run(self) -> None:
        """Writes what nobody else does, waits for the others, and publishes if first."""
        for wait in (False, True):  # in the second round, for blocks that others began
            for block in self.blocks:
                if not self._done(block):
                    with suppress(InUse), lock(self._beside(f"{block}.lock"), wait=wait):
                        if not self._done(block):
                            self._write(block)
        with lock(self._beside("lock")):
            if not self.folder.is_dir():
                self._publish([json.loads(self._note(b).read_text()) for b in self.blocks])
        self.report(self.rows, self.rows)

    def _write(self, block: int) -> None:
        """Writes the rows of a block, and its note. While that is not there, nobody publishes."""
        start, stop = block * BLOCK, min((block + 1) * BLOCK, self.rows)
        done = BLOCK * len(list(self.partial.glob("blocks/*.json")))
        names: list[str] = []
        files: dict[str, np.memmap] = {}
        for batch in self.batches(start, stop):
            self.report(min(done + len(names), self.rows), self.rows)
            row = start + len(names)
            for field, values in _checked(self.folder.name, self.facts, batch).items():
                if field not in files:
                    files[field] = self._open(field, values)
                self._append(field, files[field], row, values[: stop - row])
            names += map(str, batch["ids"])
        if len(names) != stop - start:
            raise ValueError(f"block {block}: {len(names)} rows were made of {stop - start}")
        for field in files:
            sync(self.partial / f"{field}.npy")
        fields = {field: there[start:stop] for field, there in files.items()}
        fields["ids"] = np.asarray(names, dtype=np.str_)
        content = {
            "names": names,
            "fields": {
                field: [values.dtype.name, values.shape[1:], array_digest(values)]
                for field, values in sorted(fields.items())
            },
            "moments": {field: _moments(fields[field]) for field in self.maps},
        }
        write_atomic(self._note(block), json.dumps(content))

    def _open(self, field: str, like: np.ndarray) -> np.memmap:
        """The field's file by memory map, made with room for all rows where it is not there."""
        path, shape = self.partial / f"{field}.npy", (self.rows, *like.shape[1:])
        with lock(self._beside("files.lock")):
            if not path.exists():
                with replacing(path) as new:
                    np.lib.format.open_memmap(new, "w+", like.dtype, shape)
                    with new.open("r+b") as file:
                        reserve(file, new.stat().st_size)
        return np.load(path, mmap_mode="r")

    def _append(self, field: str, there: np.memmap, row: int, values: np.ndarray) -> None:
        if (values.dtype, values.shape[1:]) != (there.dtype, there.shape[1:]):
            now, before = (f"{a.dtype} {list(a.shape[1:])}" for a in (values, there))
            raise InputError(f"store {self.folder.name}, field {field}: {now} after {before}")
        # Not through the map: several machines that share a folder would write whole pages.
        with (self.partial / f"{field}.npy").open("r+b") as file:
            file.seek(there.offset + row * there.strides[0])
            file.write(values.tobytes())

    def _publish(self, notes: list[dict[str, Any]]) -> None:
        """Writes ids and manifest, and gives the folder its name."""
        try:
            statistics = self._statistics(notes)
        except InputError:  # of all rows together: there is nothing to go on with
            shutil.rmtree(self.partial)
            raise
        names = np.asarray([name for note in notes for name in note["names"]], dtype=np.str_)
        np.save(self.partial / "ids.npy", names)
        sync(self.partial / "ids.npy")
        first: dict[str, list[Any]] = notes[0]["fields"]
        digest = hashlib.sha256()
        for field in first:
            for block, note in enumerate(notes):
                dtype, shape, content = note["fields"][field]
                count = min(BLOCK, self.rows - block * BLOCK)
                digest.update(f"{field} {(dtype, shape)} {count} {content}\n".encode())
        inner = {f: _inner(self.facts, f) for f in first if f not in ("groups", "ids")}
        manifest = {
            **{k: self.facts[k] for k in ("version", "fingerprint", "rows", "source", "target")},
            "block": BLOCK,
            "digest": digest.hexdigest(),
            "dtypes": {f: entry[0] for f, entry in first.items()} | {"ids": names.dtype.name},
            "shapes": {field: [self.rows, *entry[1]] for field, entry in first.items()},
            "variants": {field: _variants(first[field][1], row) for field, row in inner.items()},
            "statistics": statistics,
            "hashes": {field: [note["fields"][field][2] for note in notes] for field in first},
        }
        manifest["check"] = json_digest(manifest)
        write_atomic(self.partial / MANIFEST, json.dumps(manifest, indent=1))
        self.partial.rename(self.folder)
        sync(self.folder.parent)
        shutil.rmtree(self.folder / "blocks")
        for left in self.folder.parent.glob(f".{glob.escape(self.folder.name)}.*.lock"):
            left.unlink(missing_ok=True)  # by killed processes

    def _statistics(self, notes: list[dict[str, Any]]) -> dict[str, Any]:
        """Of each map: those given, else the blocks' moments merged in their order."""
        if self.facts["statistics"] is not None:
            return {field: self.facts["statistics"][field] for field in self.maps}
        statistics = {}
        for field in ["target"] if self.facts["shared"] else self.maps:
            whole: Any = (0, 0.0, 0.0)
            for note in notes:
                whole = _merge(whole, [np.array(part) for part in note["moments"][field]])
            std = np.sqrt(whole[2] / whole[0])
            if (std <= 0).any():
                channel = f"store {self.folder.name}: channel {int(np.argmin(std))} of {field}"
                raise InputError(f"{channel} is constant, it cannot be standardised")
            statistics[field] = {"mean": whole[1].tolist(), "std": std.tolist()}
        return {field: statistics.get(field, statistics["target"]) for field in self.maps}


def _checked(
    store: str, facts: Mapping[str, Any], batch: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """A batch as arrays, without its ids: the shapes of `crossflow.store`, tokens always with k.

    mask: True at real tokens; required for tokens, refused for maps. ids: n names.
    Raises InputError on a wrong shape, a dtype that is not stored or a non-finite number.
    """
    fields = ["target", "source", "groups", "ids"]
    fields += ["mask"] if facts["source"]["kind"] != "map" else []
    if {name for name, value in batch.items() if value is not None} != set(fields):
        raise InputError(f"store {store}: a batch has {sorted(batch)}, not {sorted(fields)}")
    kinds = {"mask": np.bool_, "groups": np.int64}
    arrays = {f: np.asarray(batch[f], dtype=kinds.get(f)) for f in fields if f != "ids"}
    counts = {1}
    for field, values in arrays.items():
        where = f"store {store}, field {field}"
        if len(values) != len(batch["ids"]):
            raise InputError(f"{where}: {len(values)} rows for {len(batch['ids'])} ids")
        if values.dtype.name not in DTYPES:
            raise InputError(f"{where}: dtype {values.dtype} is not one of {', '.join(DTYPES)}")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"{where}: a number is not finite")
        inner = () if field == "groups" else _inner(facts, field)
        extra = values.ndim - 1 - len(inner)
        # Tokens always have the axis of variants; maps may have it.
        allowed = {0: (0,), 3: (0, 1)}.get(len(inner), (1,))
        if extra not in allowed or values.shape[1 + extra :] != inner:
            raise InputError(f"{where}: shape {values.shape} does not end in {inner}")
        counts.add(_variants(values.shape[1:], inner))
        if extra and values.shape[1] == 1:
            arrays[field] = values[:, 0]  # one variant is stored like none
    if len(counts) > 2:
        raise InputError(f"store {store}: fields differ in their variants, {sorted(counts)}")
    return arrays


def _entry(shape: MapShape | TokenShape) -> dict[str, Any]:
    """The problem's shape as it stands in the manifest."""
    if isinstance(shape, MapShape):
        return {"kind": "map", "sizes": list(shape.sizes)}
    if shape.vocabulary is not None:
        return {"kind": "words", "length": shape.length, "vocabulary": shape.vocabulary}
    return {"kind": "features", "length": shape.length, "width": shape.width}


def _inner(facts: Mapping[str, Any], field: str) -> tuple[int, ...]:
    """Shape of one variant of one row."""
    entry = facts["source" if field == "mask" else field]
    if entry["kind"] == "map":
        return tuple(entry["sizes"])
    wide = entry["kind"] == "features" and field == "source"
    return (entry["length"], entry["width"]) if wide else (entry["length"],)


def _variants(row: Sequence[int], inner: Sequence[int]) -> int:
    return row[0] if len(row) > len(inner) else 1


def _moments(values: np.ndarray) -> tuple[int, list[float], list[float]]:
    """Count, mean and sum of squares of each channel of maps (n, [k,] C, H, W), in float64."""
    whole: Any = (0, 0.0, 0.0)
    for first in range(0, len(values), MOMENTS):
        part = np.moveaxis(values[first : first + MOMENTS].astype(np.float64), -3, 0)
        flat = part.reshape(len(part), -1)
        mean = flat.mean(1)
        whole = _merge(whole, (flat.shape[1], mean, ((flat - mean[:, None]) ** 2).sum(1)))
    return whole[0], whole[1].tolist(), whole[2].tolist()


def _merge(one: Any, other: Any) -> Any:
    """Counts, means and sums of squares of two parts together (Chan et al. 1983)."""
    count, delta = one[0] + other[0], other[1] - one[1]
    squares = one[2] + (other[2] + delta**2 * one[0] * other[0] / count)
    return count, one[1] + delta * other[0] / count, squares
