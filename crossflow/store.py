"""Encoded pairs on disk: one .npy file a field, written once, read by memory map by every arm.

A store is a folder: `<field>.npy` for each field, and `manifest.json`. Fields: `target` (n, [k,] C,
H, W); `source`, a map like the target, word ids (n, [k,] L) or features (n, [k,] L, D); `mask`
(n, [k,] L), True at real tokens, not of maps; `groups` and `ids` (n,). k > 1 are variants of a row,
five captions of an image say: the order draws one.

Several processes may write a store: each takes the next block of rows that nobody has, and notes
it, with its hashes, when it is on the disk. The store is the same byte for byte whoever wrote it.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossflow import files
from crossflow.errors import InputError, differences
from crossflow.files import Damaged, json_digest
from crossflow.problem import Map, MapShape, Pair, Source, TokenShape

VERSION = 2
MANIFEST = "manifest.json"
BLOCK = 1024  # rows; part of the digest
MOMENTS = 64  # rows whose moments are taken at once, in float64
DTYPES = ("float16", "float32", "uint8", "int16", "int32", "int64", "bool")
KINDS = {"groups": np.int64, "mask": np.bool_, "ids": np.str_}

Rows = Sequence[int] | np.ndarray
Channels = Mapping[str, Sequence[float]]  # mean and std, a number a channel
Batches = Callable[[int, int], Iterable[Mapping[str, Any]]]  # rows [start, stop), by field


class Store:
    """Reads pairs by row; maps come out standardised per channel, in float32.

    fingerprint: what the data were made from; a store of something else is refused (InputError).
    A block of rows is compared with its hash when it is first read: InputError where it is damaged.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.manifest = self._read_manifest()
        there = self.manifest["fingerprint"]
        if fingerprint is not None and (differ := differences(there, fingerprint)):
            hint = "delete it to prepare it again, or name another work folder"
            raise InputError(f"store {folder} was made from something else ({differ}): {hint}")
        self.digest: str = self.manifest["digest"]  # SHA-256 over all fields
        self.statistics: dict[str, Channels] = self.manifest["statistics"]  # by field
        self.captions = max(self.manifest["variants"].values())  # that the order draws from
        self._maps: dict[str, np.ndarray] = {}
        self._sound: set[tuple[str, int]] = set()  # blocks that were compared with their hash

    def __len__(self) -> int:
        return self.manifest["rows"]

    def _read_manifest(self) -> dict[str, Any]:
        path = self.folder / MANIFEST
        if not (path.is_file() or any(self.folder.glob("*.npy"))):
            raise InputError(f"{self.folder} is not a store: it has no {MANIFEST}")
        try:
            manifest = json.loads(path.read_bytes())
            same = manifest.pop("check") == json_digest(manifest)
            sound = same and manifest["version"] == VERSION
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            sound = False
        if not sound:
            raise Damaged(self.folder, f"{MANIFEST} is not whole, or of another version")
        return manifest

    @property
    def ids(self) -> list[str]:
        """Names of all rows, in order."""
        return self.read("ids", range(len(self)), ()).tolist()

    def check(self) -> None:
        """Compares every block with its hash, so that no later read has to."""
        hashes = self.manifest["hashes"]
        blocks = [(field, [block]) for field in hashes for block in range(len(hashes[field]))]
        with ThreadPoolExecutor() as pool:  # hashing leaves Python's lock to others
            list(pool.map(self._map, *zip(*blocks, strict=True)))

    def read(self, field: str, rows: Rows, variants: Rows) -> np.ndarray:
        """Raw rows of a field, as they were written; `variants` picks one where it has several."""
        where = np.asarray(rows, dtype=np.int64)
        if where.size and (where.min() < 0 or where.max() >= len(self)):
            raise IndexError(f"rows {where.min()}..{where.max()} of a store of {len(self)}")
        values = self._map(field, np.unique(where // self.manifest["block"]).tolist())
        several = self.manifest["variants"].get(field, 1) > 1
        return np.asarray(values[(where, np.asarray(variants)) if several else where])

    def _map(self, field: str, blocks: Iterable[int]) -> np.ndarray:
        """The field's file by memory map, these blocks compared with their hashes."""
        size, what = self.manifest["block"], f"{field}.npy is no array that was written"
        try:
            if field not in self._maps:
                values = np.load(self.folder / f"{field}.npy", mmap_mode="r")
                known = field == "ids" or values.dtype.name in DTYPES
                if not (known and values.dtype.isnative):
                    raise ValueError(values.dtype)
                self._maps[field] = values
            for block in blocks:
                if (field, block) not in self._sound:
                    what = f"{field}.npy, rows from {block * size} on"
                    rows = self._maps[field][block * size : (block + 1) * size]
                    if array_digest(rows) != self.manifest["hashes"][field][block]:
                        raise ValueError(what)
                    self._sound.add((field, block))
        except Exception as error:  # whatever numpy's reading of a broken header runs into
            raise Damaged(self.folder, what) from error
        return self._maps[field]

    def pairs(self, rows: Rows, captions: Rows | None = None) -> Pair:
        """A batch: row `rows[i]` with its variant `captions[i]` (the first where not given)."""
        chosen = np.zeros(len(rows), dtype=np.int64) if captions is None else captions
        fields = [field for field in self.manifest["hashes"] if field != "ids"]
        values = {field: torch.from_numpy(self.read(field, rows, chosen)) for field in fields}
        source, mask = values["source"], values.get("mask")
        if mask is None:
            source = standardise(source, self.statistics["source"])
        else:
            words = source.ndim == 2 and not source.is_floating_point()
            source = source.long() if words else source.float()
        target = standardise(values["target"], self.statistics["target"])
        return Pair(Source(source, mask), target, values["groups"])


def array_digest(values: np.ndarray) -> str:
    """SHA-256 of the bytes; of names at the width of the longest among them."""
    if values.dtype.kind == "U":
        values = np.asarray(values.tolist(), dtype=np.str_)
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def standardise(values: Tensor, statistics: Channels) -> Map:
    """Maps with zero mean and unit deviation per channel of the training set, in float32."""
    mean, std = _per_channel(statistics, values)
    return (values.float() - mean) / std


def unstandardise(values: Map, statistics: Channels) -> Map:
    """Back to the units that were written: what a sampled target needs before it is decoded."""
    mean, std = _per_channel(statistics, values)
    return values * std + mean


def _per_channel(statistics: Channels, like: Tensor) -> list[Tensor]:
    return [torch.tensor(statistics[k], device=like.device)[:, None, None] for k in ("mean", "std")]


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
    """The store `folder` of `rows` encoded pairs; written unless it is there. Put aside: a damaged
    one, or one of another version.

    batches: called once a block; what it yields must depend on the range alone.
    statistics: of the training store, for validation and test; None: of what is written.
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
        # In this order: the note goes into the folder.
        return self._note(block).is_file() or self.folder.is_dir()

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
                self._publish([json.loads(self._note(b).read_text()) for b in self.blocks])
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

    def _publish(self, notes: list[dict[str, Any]]) -> None:
        """Writes ids and manifest, and gives the folder its name."""
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
        for name in ("files", *self.blocks):
            self._beside(f"{name}.lock").unlink(missing_ok=True)  # of killed processes
        self.partial.rename(self.folder)
        files.sync(self.folder.parent)
        shutil.rmtree(self.folder / "blocks")

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
