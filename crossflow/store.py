"""Encoded pairs on disk: one .npy file a field, written once, read by memory map by every arm.

A store is a folder: `<field>.npy` for each field, and `manifest.json`. Fields: `target` (n, [k,] C,
H, W); `source`, a map like the target, word ids (n, [k,] L) or features (n, [k,] L, D); `mask`
(n, [k,] L), True at real tokens, not of maps; `words` (n, [k,] L), ids that the target is the code
of, if the problem has them; `groups` and `ids` (n,). k > 1 are variants of a row, five captions of
an image say: the order draws one. `store_writer` makes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossflow.errors import InputError, differences
from crossflow.files import Damaged, json_digest
from crossflow.problem import Map, Pair, Source, Words

VERSION = 2
MANIFEST = "manifest.json"
DTYPES = ("float16", "float32", "uint8", "int16", "int32", "int64", "bool")

Rows = Sequence[int] | np.ndarray
Channels = Mapping[str, Sequence[float]]  # mean and std, a number a channel


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
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
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
            # No right to read, too many open files, no memory: the store may be sound.
            of_machine = isinstance(error, (OSError, MemoryError))
            if of_machine and not isinstance(error, FileNotFoundError):
                raise
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
        ids = values["words"].long() if "words" in values else None
        return Pair(Source(source, mask), target, values["groups"], ids)


def array_digest(values: np.ndarray) -> str:
    """SHA-256 of the bytes; of names at the width of the longest among them."""
    if values.dtype.kind == "U":
        values = np.asarray(values.tolist(), dtype=np.str_)
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def standardise(values: Tensor, statistics: Channels) -> Map:
    """Maps with zero mean and unit deviation per channel of the training set, in float32."""
    mean, std = _per_channel(statistics, values)
    return (values.float() - mean) / std


def unstandardise(values: Map | Words, statistics: Channels) -> Map | Words:
    """Back to the units that were written: what a sampled target needs before it is decoded."""
    if not values.is_floating_point():
        return values  # words
    mean, std = _per_channel(statistics, values)
    return values * std + mean


def _per_channel(statistics: Channels, like: Tensor) -> list[Tensor]:
    return [torch.tensor(statistics[k], device=like.device)[:, None, None] for k in ("mean", "std")]
