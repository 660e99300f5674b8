"""Encoded pairs on disk: written once, read by memory map, the same for every arm.

A store is a folder: `manifest.json` (shapes, statistics, fingerprint, digest), and per field a row
of shards `<field>-00000.npy`. Fields: `target` (n, [k,] C, H, W); `source`, a map (n, [k,] C, H,
W), word ids (n, k, L) or features (n, k, L, D); `mask` (n, k, L) for tokens; `groups` (n,) and
`ids` (n,). k > 1 are variants of one row, five captions of an image say: the order draws one.
The writer is in `store_writer.py`.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from crossflow.errors import InputError
from crossflow.problem import MapShape, Pair, Source, TokenShape

VERSION = 1
MANIFEST = "manifest.json"
MOST_MAPS = 16_384  # a process may have 65,530 on Linux


class Store:
    """Reads pairs by row; maps come out standardised per channel, in float32.

    Opening reads the manifest only. Each process maps the shards itself on first use (a map
    inherited over fork or pickle would share file positions or copy the data).

    fingerprint: what the data were made from. If given, a store made from something else is
        refused (InputError) instead of being trained on unnoticed.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        try:
            self.manifest = json.loads((self.folder / MANIFEST).read_text())
        except FileNotFoundError:
            raise InputError(f"{self.folder} is not a store: it has no {MANIFEST}") from None
        if self.manifest["version"] != VERSION:
            raise InputError(
                f"{self.folder} has store format {self.manifest['version']}, this program reads "
                f"{VERSION}: delete the folder and prepare it again"
            )
        if fingerprint is not None:
            self._check_fingerprint(json.loads(json.dumps(fingerprint)))
        self._starts = np.cumsum([0, *self.manifest["shards"]])
        self._maps: dict[tuple[str, int], np.ndarray] = {}
        self._process = os.getpid()

    def _check_fingerprint(self, expected: Mapping[str, Any]) -> None:
        found = self.manifest["fingerprint"]
        keys = sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
        if keys:
            differ = "; ".join(
                f"{k}: {found.get(k)!r} there, {expected.get(k)!r} now" for k in keys
            )
            raise InputError(
                f"store {self.folder} was made from something else ({differ}): delete it to "
                "prepare it again, or name another work folder"
            )

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    @property
    def digest(self) -> str:
        """SHA-256 over all fields: two stores with equal digests hold the same numbers."""
        return self.manifest["digest"]

    @property
    def statistics(self) -> dict[str, dict[str, list[float]]]:
        """Mean and standard deviation of each channel, by field; what reading standardises with."""
        return self.manifest["statistics"]

    @property
    def source_shape(self) -> MapShape | TokenShape:
        return _shape(self.manifest["source"])

    @property
    def target_shape(self) -> MapShape:
        shape = _shape(self.manifest["target"])
        assert isinstance(shape, MapShape)
        return shape

    @property
    def captions(self) -> int:
        """Number of variants of a row: what the order draws from. 1 where there is no choice."""
        return max(self.manifest["variants"].values())

    @property
    def ids(self) -> list[str]:
        """Names of all rows, in order."""
        return self._column("ids").tolist()

    @property
    def groups(self) -> Int[np.ndarray, " n"]:
        """Number of the image (scene, drive) of each row."""
        return self._column("groups")

    def _column(self, field: str) -> np.ndarray:
        shards = range(len(self.manifest["shards"]))
        # Copies: references would keep every file open.
        return np.concatenate([np.array(self._map(field, shard)) for shard in shards])

    def _map(self, field: str, shard: int) -> np.ndarray:
        if self._process != os.getpid():
            self._maps, self._process = {}, os.getpid()
        opened = self._maps.pop((field, shard), None)
        if opened is None:
            path = self.folder / shard_name(field, shard)
            opened = np.load(path, mmap_mode="r", allow_pickle=False)
            while len(self._maps) >= most_maps():
                self._maps.pop(next(iter(self._maps)))  # the one used longest ago
        self._maps[field, shard] = opened
        return opened

    def read(
        self, field: str, rows: Sequence[int] | np.ndarray, variants: Sequence[int] | np.ndarray
    ) -> np.ndarray:
        """Raw rows of a field, copied out of the map, as they were written.

        `variants` picks one of k where the field has several and is not looked at where it has
        one: an image and its five captions share a row.
        """
        where = np.asarray(rows, dtype=np.int64)
        if where.size and (where.min() < 0 or where.max() >= len(self)):
            raise IndexError(f"rows {where.min()}..{where.max()} of a store of {len(self)}")
        shards = np.searchsorted(self._starts, where, side="right") - 1
        first = self._map(field, 0)
        many = self.manifest["variants"].get(field, 1) > 1
        out = np.empty((len(where), *first.shape[2 if many else 1 :]), dtype=first.dtype)
        picks = np.asarray(variants, dtype=np.int64)
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            offsets = where[here] - self._starts[shard]
            data = self._map(field, int(shard))
            out[here] = data[offsets, picks[here]] if many else data[offsets]
        return out

    def pairs(
        self, rows: Sequence[int] | np.ndarray, captions: Sequence[int] | np.ndarray | None = None
    ) -> Pair:
        """A batch: row `rows[i]` with its variant `captions[i]` (the first where not given)."""
        chosen = np.zeros(len(rows), dtype=np.int64) if captions is None else captions
        source = self.manifest["source"]
        values = torch.from_numpy(self.read("source", rows, chosen))
        if source["kind"] == "map":
            built = Source(standardise(values, self.statistics["source"]))
        else:
            mask = torch.from_numpy(self.read("mask", rows, chosen))
            words = source["kind"] == "words"
            built = Source(values.long() if words else values.float(), mask)
        target = torch.from_numpy(self.read("target", rows, chosen))
        groups = torch.from_numpy(self.read("groups", rows, chosen))
        return Pair(built, standardise(target, self.statistics["target"]), groups)


@cache
def most_maps() -> int:
    """Shards mapped at once: each map keeps a file open, and a process may open 1,024 or so."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_MAPS if allowed == resource.RLIM_INFINITY else min(MOST_MAPS, allowed // 2)


def shard_name(field: str, shard: int) -> str:
    return f"{field}-{shard:05d}.npy"


def _shape(entry: Mapping[str, Any]) -> MapShape | TokenShape:
    """The problem's shape from its manifest entry (`store_writer.shape_entry` backwards)."""
    if entry["kind"] == "map":
        return MapShape(*entry["sizes"])
    if entry["kind"] == "words":
        return TokenShape(entry["length"], vocabulary=entry["vocabulary"])
    return TokenShape(entry["length"], width=entry["width"])


def _channels(numbers: Sequence[float]) -> Float[Tensor, "c 1 1"]:
    return torch.tensor(numbers, dtype=torch.float32)[:, None, None]


def standardise(
    values: Tensor, statistics: Mapping[str, Sequence[float]]
) -> Float[Tensor, "b c h w"]:
    """Maps with zero mean and unit deviation per channel of the training set, in float32."""
    return (values.float() - _channels(statistics["mean"])) / _channels(statistics["std"])


def unstandardise(
    values: Float[Tensor, "b c h w"], statistics: Mapping[str, Sequence[float]]
) -> Float[Tensor, "b c h w"]:
    """Back to the units that were written: what a sampled target needs before it is decoded."""
    mean, std = _channels(statistics["mean"]), _channels(statistics["std"])
    return values * std.to(values.device) + mean.to(values.device)
