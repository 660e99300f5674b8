"""Writes a store, by one process or several.

Each takes the next block of rows that nobody has, and notes it, with its hashes, when it is on the
disk. The store is the same byte for byte whoever wrote it.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossflow import files
from crossflow.errors import InputError
from crossflow.files import json_digest
from crossflow.problem import MapShape, TokenShape
from crossflow.store import DTYPES, MANIFEST, VERSION, Store, array_digest

BLOCK = 1024  # rows; part of the digest
MOMENTS = 64  # rows whose moments are taken at once, in float64
KINDS = {"groups": np.int64, "mask": np.bool_, "ids": np.str_}

Batches = Callable[[int, int], Iterable[Mapping[str, Any]]]  # rows [start, stop), by field


def write_store(
    folder: Path,
    source: MapShape | TokenShape,
    target: MapShape,
    fingerprint: Mapping[str, Any],
    rows: int,
    batches: Batches,
    statistics: Mapping[str, Any] | None = None,
    *,
    words: TokenShape | None = None,
    shared_statistics: bool = False,
    report: Callable[[int, int], None] = lambda done, rows: None,
) -> Store:
    """The store `folder` of `rows` encoded pairs; written unless it is there. Put aside: a damaged
    one, or one of another version.

    batches: called once a block; what it yields must depend on the range alone.
    statistics: of the training store, for validation and test; None: of what is written.
    words: shape of the ids that targets are the codes of, where rows have them.
    shared_statistics: the target's standardise the source too, where it is itself the start of the
        flow: only then does a flow that stands still give the source back.
    report: called with (rows done by all processes, rows).

    Raises InputError for a store of another fingerprint, bad rows or a full disk.
    """
    folder = Path(folder)
    if rows < 1:
        raise InputError(f"store {folder} would be empty: there is no row")

    def opened() -> Store:
        store = Store(folder, fingerprint)
        store.check()  # all of it: an order draws from every block within its first batches
        return store

    if (store := files.whole(folder, opened)) is not None:
        return store
    if not folder.is_dir():
        shapes = {"target": target.sizes, "source": source.sizes, "groups": (), "ids": ()}
        if isinstance(source, TokenShape):
            shapes["mask"] = source.sizes[:1]
        if words is not None:
            shapes["words"] = words.sizes
        facts = {"fingerprint": fingerprint, "rows": rows, "shapes": shapes}
        facts |= {"statistics": statistics, "shared": shared_statistics}
        _Writer(folder, shapes, json.loads(json.dumps(facts)), batches, report).run()
    return Store(folder, fingerprint)


@dataclass
class _Writer:
    """One process's part in writing a store."""

    folder: Path
    shapes: dict[str, tuple[int, ...]]  # of a row of each field, without its variants
    facts: dict[str, Any]  # all that the bytes follow from
    batches: Batches
    report: Callable[[int, int], None]

    def __post_init__(self) -> None:
        self.rows: int = self.facts["rows"]
        self.blocks = range(-(-self.rows // BLOCK))
        self.partial = self._beside(f"{json_digest([VERSION, BLOCK, self.facts])[:12]}.partial")

    def _beside(self, name: str) -> Path:
        return self.folder.with_name(f".{self.folder.name}.{name}")

    def _note(self, block: int) -> Path:
        return self.partial / "blocks" / f"{block}.json"

    def _done(self, block: int) -> bool:
        # In this order: the note goes before the manifest is alone, and both into the folder.
        return any(map(Path.exists, (self._note(block), self.partial / MANIFEST, self.folder)))

    def _refused(self, what: str) -> InputError:
        return InputError(f"store {self.folder.name}: {what}")

    def run(self) -> None:
        """Writes what nobody else does, waits for the others, and publishes if first."""
        for wait in (False, True):  # in the second round, for blocks that others began
            for block in self.blocks:
                if not self._done(block):
                    held = self._beside(f"{block}.lock")
                    with suppress(files.InUse), files.lock(held, wait=wait):
                        if not self._done(block):
                            self._write(block)
        with files.lock(self._beside("lock")):
            if not self.folder.is_dir():
                self._publish()
        self.report(self.rows, self.rows)

    def _write(self, block: int) -> None:
        """Writes the rows of a block, and its note. While that is not there, nobody publishes."""
        start, stop = block * BLOCK, min((block + 1) * BLOCK, self.rows)
        done = BLOCK * len(list(self.partial.glob("blocks/*.json")))
        parts: dict[str, list[np.ndarray]] = {field: [] for field in sorted(self.shapes)}
        for batch in self.batches(start, stop):
            self.report(min(done + sum(map(len, parts["ids"])), self.rows), self.rows)
            if batch.keys() != self.shapes.keys():
                raise self._refused(f"a batch has {sorted(batch)}, not {sorted(self.shapes)}")
            for field, values in batch.items():
                parts[field].append(np.asarray(values, dtype=KINDS.get(field)))
        fields = {f: np.concatenate(parts.pop(f)) for f in list(parts)}
        fields = {f: self._checked(f, values, stop - start) for f, values in fields.items()}
        variants = {v.shape[1] for f, v in fields.items() if v.ndim > 1 + len(self.shapes[f])}
        if len(variants) > 1:
            raise self._refused(f"variants differ, {' and '.join(map(str, sorted(variants)))}")
        note: dict[str, Any] = {"names": fields["ids"].tolist()}
        for field, values in fields.items():
            note[field] = values.dtype.name, values.shape[1:], array_digest(values)
            if field != "ids":
                self._append(field, start, values)
        files.write_atomic(self._note(block), json.dumps(note))

    def _checked(self, field: str, values: np.ndarray, rows: int) -> np.ndarray:
        """Rows that can be stored; one variant is stored like none."""
        shape, row = self.shapes[field], values.shape[1:]
        variants = row[: len(row) - len(shape)]
        if len(values) != rows or row != (*variants, *shape) or len(variants) > bool(shape):
            raise self._refused(f"{field}: {values.shape} is not {rows} rows of {shape}")
        if field in ("source", "target"):
            if values.dtype.name not in DTYPES:
                raise self._refused(f"{field}: {values.dtype}, not one of {', '.join(DTYPES)}")
            if not np.isfinite(values).all():
                raise self._refused(f"{field}: a number is not finite")
        return values[:, 0] if variants == (1,) else values

    def _append(self, field: str, start: int, values: np.ndarray) -> None:
        """Writes rows to the field's file, made with room for all where it is not there."""
        path = self.partial / f"{field}.npy"
        with files.lock(self._beside("files.lock")):
            if not path.exists():
                shape = (self.rows, *values.shape[1:])
                about = {"descr": values.dtype.str, "fortran_order": False, "shape": shape}
                with files.replacing(path) as new, new.open("wb") as file:
                    np.lib.format.write_array_header_1_0(file, about)
                    files.reserve(file, file.tell() + values.itemsize * math.prod(shape))
        there = np.load(path, mmap_mode="r")
        if (values.dtype, values.shape[1:]) != (there.dtype, there.shape[1:]):
            raise self._refused(f"{field}: {values.dtype} after {there.dtype}, or other variants")
        # Not through the map: several machines that share a folder would write whole pages.
        with path.open("r+b") as file:
            file.seek(there.offset + start * there.strides[0])
            file.write(np.ascontiguousarray(values).data)
        files.sync(path)

    def _publish(self) -> None:
        """Gives the folder its name, and leaves nothing else; a process may be killed anywhere."""
        if not (self.partial / MANIFEST).is_file():
            self._finish([json.loads(self._note(block).read_text()) for block in self.blocks])
        shutil.rmtree(self.partial / "blocks", ignore_errors=True)
        for name in ("files", *self.blocks):
            self._beside(f"{name}.lock").unlink(missing_ok=True)  # of killed processes
        self.partial.rename(self.folder)
        files.sync(self.folder.parent)

    def _finish(self, notes: list[dict[str, Any]]) -> None:
        """Writes ids and manifest."""
        try:
            statistics = self.facts["statistics"] or self._statistics()
        except InputError:  # of all rows together: there is nothing to go on with
            shutil.rmtree(self.partial)
            raise
        np.save(self.partial / "ids.npy", [name for note in notes for name in note["names"]])
        files.sync(self.partial / "ids.npy")
        digest, hashes = hashlib.sha256(), {}
        for field in sorted(self.shapes):
            for block, note in enumerate(notes):
                dtype, shape, content = note[field]
                count = min(BLOCK, self.rows - block * BLOCK)
                digest.update(f"{field} {(dtype, shape)} {count} {content}\n".encode())
            hashes[field] = [note[field][2] for note in notes]
        variants = {f: (*notes[0][f][1][: -len(s)], 1)[0] for f, s in self.shapes.items() if s}
        manifest = {"version": VERSION, "fingerprint": self.facts["fingerprint"], "rows": self.rows}
        manifest |= {"block": BLOCK, "digest": digest.hexdigest(), "variants": variants}
        manifest |= {"statistics": statistics, "hashes": hashes}
        manifest["check"] = json_digest(manifest)
        files.write_atomic(self.partial / MANIFEST, json.dumps(manifest, indent=1))

    def _statistics(self) -> dict[str, Any]:
        """Mean and deviation of each channel of each map, by the law of total variance."""
        maps = [field for field in ("target", "source") if len(self.shapes[field]) == 3]
        statistics = {}
        for field in ["target"] if self.facts["shared"] else maps:
            values, parts = np.load(self.partial / f"{field}.npy", mmap_mode="r"), []
            for first in range(0, self.rows, MOMENTS):
                part = np.moveaxis(values[first : first + MOMENTS].astype(np.float64), -3, 0)
                flat = part.reshape(len(part), -1)
                parts.append((flat.shape[1], flat.mean(1), flat.var(1)))
            counts, means, variances = (np.array(column) for column in zip(*parts, strict=True))
            mean = np.average(means, axis=0, weights=counts)
            std = np.sqrt(np.average(variances + (means - mean) ** 2, axis=0, weights=counts))
            if (std <= 0).any():
                raise self._refused(f"channel {int(np.argmin(std))} of {field} is constant")
            statistics[field] = {"mean": mean.tolist(), "std": std.tolist()}
        return {field: statistics.get(field, statistics["target"]) for field in maps}
