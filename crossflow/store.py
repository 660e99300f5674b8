"""Encoded pairs on disk: one .npy file a field, written once, read by memory map by every arm.

A store is a folder: `<field>.npy` for each field, and `manifest.json`. Fields: `target` (n, [k,] C,
H, W); `source`, a map like the target, word ids (n, [k,] L) or features (n, [k,] L, D); `mask`
(n, [k,] L) for tokens; `groups` and `ids` (n,). k > 1 are variants of a row, five captions of an
image say: the order draws one.
The writer is in `store_writer.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossflow.errors import InputError, differences
from crossflow.problem import Pair, Source

VERSION = 2
MANIFEST = "manifest.json"


class Store:
    """Reads pairs by row; maps come out standardised per channel, in float32.

    fingerprint: what the data were made from; a store of something else is refused (InputError).
    A block of rows is compared with its hash when it is first read: InputError where it is damaged.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.manifest = _read_manifest(self.folder)
        there = self.manifest["fingerprint"]
        if fingerprint is not None and (differ := differences(there, fingerprint)):
            raise InputError(
                f"store {self.folder} was made from something else ({differ}): delete it to "
                "prepare it again, or name another work folder"
            )
        self.digest: str = self.manifest["digest"]  # SHA-256 over all fields
        # Mean and standard deviation of each channel, by field.
        self.statistics: dict[str, dict[str, list[float]]] = self.manifest["statistics"]
        self.captions = max(self.manifest["variants"].values())  # that the order draws from
        self._maps: dict[str, np.ndarray] = {}
        self._sound: set[tuple[str, int]] = set()  # blocks that were compared with their hash

    def __len__(self) -> int:
        return self.manifest["rows"]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}  # a map would be pickled with all its rows

    @property
    def ids(self) -> list[str]:
        """Names of all rows, in order."""
        return self.read("ids", range(len(self)), ()).tolist()

    def check(self) -> None:
        """Compares every block with its hash, so that no later read has to."""
        for field, hashes in self.manifest["hashes"].items():
            for block in range(len(hashes)):
                self._compare(field, block)

    def read(
        self, field: str, rows: Sequence[int] | np.ndarray, variants: Sequence[int] | np.ndarray
    ) -> np.ndarray:
        """Raw rows of a field, as they were written; `variants` picks one where it has several."""
        where = np.asarray(rows, dtype=np.int64)
        if where.size and (where.min() < 0 or where.max() >= len(self)):
            raise IndexError(f"rows {where.min()}..{where.max()} of a store of {len(self)}")
        for block in np.unique(where // self.manifest["block"]).tolist():
            self._compare(field, block)
        several = self.manifest["variants"].get(field, 1) > 1
        picked = (where, np.asarray(variants, dtype=np.int64)) if several else where
        return np.asarray(self._map(field)[picked])

    def _map(self, field: str) -> np.ndarray:
        if field not in self._maps:
            path = self.folder / f"{field}.npy"
            try:
                values = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise _damaged(self.folder, f"{path.name}: {error}") from error
            expected = self.manifest["dtypes"][field], self.manifest["shapes"][field]
            if (values.dtype.name, list(values.shape)) != expected:
                raise _damaged(self.folder, f"{path.name} is not what the manifest says")
            self._maps[field] = values
        return self._maps[field]

    def _compare(self, field: str, block: int) -> None:
        if (field, block) not in self._sound:
            first = block * self.manifest["block"]
            values = self._map(field)[first : first + self.manifest["block"]]
            if array_digest(values) != self.manifest["hashes"][field][block]:
                raise _damaged(self.folder, f"{field}.npy, rows from {first} on")
            self._sound.add((field, block))

    def pairs(
        self, rows: Sequence[int] | np.ndarray, captions: Sequence[int] | np.ndarray | None = None
    ) -> Pair:
        """A batch: row `rows[i]` with its variant `captions[i]` (the first where not given)."""
        chosen = np.zeros(len(rows), dtype=np.int64) if captions is None else captions
        fields = [name for name in self.manifest["shapes"] if name != "ids"]
        values = {f: torch.from_numpy(self.read(f, rows, chosen)) for f in fields}
        kind, source = self.manifest["source"]["kind"], values["source"]
        if kind == "map":
            built = Source(standardise(source, self.statistics["source"]))
        else:
            built = Source(source.long() if kind == "words" else source.float(), values["mask"])
        target = standardise(values["target"], self.statistics["target"])
        return Pair(built, target, values["groups"])


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        version = manifest["version"]
    except FileNotFoundError:
        raise InputError(f"{folder} is not a store: it has no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, MANIFEST) from error
    if version != VERSION:
        raise _damaged(folder, f"store format {version}, this program reads {VERSION}")
    if manifest.pop("check", None) != json_digest(manifest):
        raise _damaged(folder, MANIFEST)
    return manifest


def _damaged(folder: Path, what: str) -> InputError:
    return InputError(f"store {folder} is damaged ({what}): delete it to prepare it again")


def json_digest(value: Any) -> str:
    """SHA-256 of canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def array_digest(values: np.ndarray) -> str:
    """SHA-256 of the bytes; of names at the width of the longest among them."""
    if values.dtype.kind == "U":
        values = np.asarray(values.tolist(), dtype=np.str_)
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def standardise(
    values: Tensor, statistics: Mapping[str, Sequence[float]]
) -> Float[Tensor, "b c h w"]:
    """Maps with zero mean and unit deviation per channel of the training set, in float32."""
    mean, std = _moments(statistics, values)
    return (values.float() - mean) / std


def unstandardise(
    values: Float[Tensor, "b c h w"], statistics: Mapping[str, Sequence[float]]
) -> Float[Tensor, "b c h w"]:
    """Back to the units that were written: what a sampled target needs before it is decoded."""
    mean, std = _moments(statistics, values)
    return values * std + mean


def _moments(statistics: Mapping[str, Sequence[float]], like: Tensor) -> list[Tensor]:
    return [torch.tensor(statistics[k], device=like.device)[:, None, None] for k in ("mean", "std")]
