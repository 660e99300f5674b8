"""Writes a store: batch by batch, whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from crossflow.errors import InputError
from crossflow.problem import MapShape, TokenShape
from crossflow.store import MANIFEST, VERSION, shard_name

DTYPES = ("float16", "float32", "uint8", "int16", "int32", "int64", "bool")


class StoreWriter:
    """Streams encoded pairs into a new store.

        with StoreWriter(folder, problem.source, problem.target, fingerprint) as writer:
            for batch in batches:
                writer.add(target=..., source=..., mask=..., groups=..., ids=...)
        store = Store(folder, fingerprint)

    All is written to a hidden folder beside `folder` and renamed at the end, so an interrupted
    write leaves nothing that opens. An existing `folder` is refused.

    statistics: those of the training store, for validation and test; without them they are
        computed from what is written (this is the training store).
    shared_statistics: standardise the source by the target's statistics too. For a source that is
        itself the start of the flow: only then does a flow that stands still give the source back.
    shard_rows: rows a file; rows in memory are at most that many plus one batch.
    """

    def __init__(
        self,
        folder: Path,
        source: MapShape | TokenShape,
        target: MapShape,
        fingerprint: Mapping[str, Any],
        statistics: Mapping[str, Any] | None = None,
        shard_rows: int = 1024,
        *,
        shared_statistics: bool = False,
    ) -> None:
        self.folder = Path(folder)
        if self.folder.exists():
            raise InputError(f"{self.folder} exists already: delete it to prepare it again")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._entries = {"source": shape_entry(source), "target": shape_entry(target)}
        # Shape of one variant of one row, of the fields that may have variants.
        self._inner = {name: _inner(entry) for name, entry in self._entries.items()}
        if isinstance(source, TokenShape):
            self._inner["mask"] = (source.length,)
        self._fingerprint = json.loads(json.dumps(fingerprint))
        self._given, self._shard_rows = statistics, shard_rows
        maps = [name for name, entry in self._entries.items() if entry["kind"] == "map"]
        if shared_statistics and source != target:
            raise InputError(
                f"store {self.folder.name}: source {source} and target {target} differ in shape, "
                "they cannot share statistics"
            )
        # Field -> the field whose moments standardise it.
        self._standard = {name: "target" if shared_statistics else name for name in maps}
        self._moments = {
            name: Moments(self._entries[name]["sizes"][0]) for name in set(self._standard.values())
        }
        self._variants: dict[str, int] = {}
        self._layout: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._rows: dict[str, list[np.ndarray]] = {}
        self._hashes: dict[str, Any] = {}
        self._shards: list[int] = []
        self._ids: list[np.ndarray] = []
        self._partial = partial_folder(self.folder)

    def add(
        self,
        *,
        target: np.ndarray,
        source: np.ndarray,
        groups: Sequence[int] | np.ndarray,
        ids: Sequence[str],
        mask: np.ndarray | None = None,
    ) -> None:
        """Appends rows.

        target: (n, C, H, W), or (n, k, C, H, W) with k variants each.
        source: a map like the target; word ids (n, k, L); or features (n, k, L, D).
        mask: (n, k, L), True at real tokens; required for tokens, refused for maps.
        Raises InputError on a wrong shape, a non-finite number or a changed dtype.
        """
        tokens = self._entries["source"]["kind"] != "map"
        if tokens != (mask is not None):
            raise InputError("a store of tokens needs a mask, a store of maps takes none")
        batch = {"target": np.asarray(target), "source": np.asarray(source)}
        if mask is not None:
            batch["mask"] = np.asarray(mask, dtype=np.bool_)
        batch["groups"] = np.asarray(groups, dtype=np.int64)
        names = np.asarray(ids, dtype=np.str_)
        for name, values in batch.items():
            self._check(name, values, len(names))
        # Checked whole before anything is kept: a refused batch leaves the writer as it was.
        for name, values in batch.items():
            self._rows.setdefault(name, []).append(values)
            if name in self._moments:
                self._moments[name].update(values)
        self._ids.append(names)
        if sum(map(len, self._rows["groups"])) >= self._shard_rows:
            self._flush(self._shard_rows)

    def _check(self, name: str, values: np.ndarray, rows: int) -> None:
        where = f"store {self.folder.name}, field {name}"
        if len(values) != rows:
            raise InputError(f"{where}: {len(values)} rows for {rows} ids")
        if values.dtype.name not in DTYPES:
            raise InputError(f"{where}: dtype {values.dtype} is not one of {', '.join(DTYPES)}")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"{where}: a number is not finite")
        if name in self._inner:
            inner = self._inner[name]
            extra = values.ndim - 1 - len(inner)
            # Tokens always have the axis of variants; maps have it where k > 1.
            allowed = (1,) if len(inner) < 3 else (0, 1)
            if extra not in allowed or values.shape[1 + extra :] != inner:
                raise InputError(f"{where}: shape {values.shape} does not end in {inner}")
            self._variants[name] = values.shape[1] if extra else 1
        layout = (values.dtype.name, values.shape[1:])
        if self._layout.setdefault(name, layout) != layout:
            raise InputError(f"{where}: {layout} after {self._layout[name]}")

    def _flush(self, rows: int) -> None:
        """Writes shards of `rows` rows until fewer remain in memory."""
        whole = {name: np.concatenate(parts) for name, parts in self._rows.items()}
        whole["ids"] = np.concatenate(self._ids)
        count = len(whole["ids"])
        for start in range(0, count - rows + 1, rows):
            for name, values in whole.items():
                self._write(name, values[start : start + rows])
            self._shards.append(rows)
        rest = count - count % rows
        self._rows = {name: [whole[name][rest:]] for name in self._rows}
        self._ids = [whole["ids"][rest:]]

    def _write(self, name: str, values: np.ndarray) -> None:
        inner = self._inner.get(name)
        if inner is not None and self._variants[name] == 1 and values.ndim > 1 + len(inner):
            values = values[:, 0]
        with (self._partial / shard_name(name, len(self._shards))).open("wb") as file:
            np.save(file, np.ascontiguousarray(values), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        digest = self._hashes.setdefault(name, hashlib.sha256())
        text = "".join(f"{i}\n" for i in values).encode() if name == "ids" else values.tobytes()
        digest.update(text)

    def close(self) -> None:
        """Writes the rest and the manifest, then gives the folder its name."""
        if not self._ids:
            raise InputError(f"store {self.folder} would be empty: no row was added")
        remaining = sum(map(len, self._ids))
        if remaining:
            self._flush(remaining)
        statistics = self._given or {
            name: self._moments[by].statistics(by) for name, by in self._standard.items()
        }
        whole = hashlib.sha256()
        for name in sorted(self._hashes):
            whole.update(
                f"{name} {self._layout.get(name)} {self._hashes[name].hexdigest()}".encode()
            )
        counts = {name: self._variants[name] for name in sorted(self._variants)}
        if len({count for count in counts.values() if count > 1}) > 1:
            raise InputError(f"store {self.folder}: fields differ in their variants {counts}")
        manifest = {
            "version": VERSION,
            "fingerprint": self._fingerprint,
            "digest": whole.hexdigest(),
            "shards": self._shards,
            "variants": counts,
            "dtypes": {name: layout[0] for name, layout in sorted(self._layout.items())},
            "statistics": {name: statistics[name] for name in self._standard},
            **self._entries,
        }
        with (self._partial / MANIFEST).open("w") as file:
            file.write(json.dumps(manifest, indent=1, allow_nan=False))
            file.flush()
            os.fsync(file.fileno())
        try:
            self._partial.rename(self.folder)
        except OSError as error:
            if not self.folder.exists():
                raise
            raise InputError(
                f"{self.folder} was written by another process meanwhile: start again to use it"
            ) from error

    def __enter__(self) -> StoreWriter:
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
            # After a successful close the folder has its name and there is nothing to remove.
            shutil.rmtree(self._partial, ignore_errors=True)


def partial_folder(folder: Path) -> Path:
    """A new hidden folder beside `folder`, after those of dead writers of it are removed.

    A killed writer cannot clean up. Its folder's name holds host and process, so that one whose
    writer still runs, here or on another host, is left alone.
    """
    prefix = f".{folder.name}.partial-{platform.node()}-"
    for left in folder.parent.glob(glob.escape(prefix) + "*"):
        process = int(left.name.removeprefix(prefix).split("-")[0])
        if not _alive(process):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=folder.parent))


class Moments:
    """Mean and variance per channel, batch by batch in float64 (Chan et al. 1983, merged)."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = np.zeros(channels)
        self.squares = np.zeros(channels)

    def update(self, values: np.ndarray) -> None:
        """values: (n, [k,] C, H, W) of any dtype."""
        flat = np.moveaxis(values.astype(np.float64), -3, 0).reshape(len(self.mean), -1)
        count, mean = flat.shape[1], flat.mean(1)
        delta, total = mean - self.mean, self.count + count
        self.squares += ((flat - mean[:, None]) ** 2).sum(1) + delta**2 * self.count * count / total
        self.mean += delta * count / total
        self.count = total

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


def _alive(process: int) -> bool:
    """Whether a process of this host still runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, for another user
        return True
    return True
