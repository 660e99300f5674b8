"""What may be compared with what: digests of everything that decides a score or a fair race.

score_key: the same items, truth and metric protocols, so that two numbers mean the same thing.
fair_key: also the same budget and the same rules of training and sampling, so that two ranks do.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.config.schema import PLACES
from benchmarks.records.digits import exact

Fields = dict[str, Any]
ABSENT = object()  # a field that is not there: to a digest another thing than null


def canonical(value: Any) -> str:
    """One text per value: sorted keys, no spaces, 2.0 written as 2. ValueError for NaN, Infinity.

    A limit typed as 1e6 or 1000000 is one limit, hence the rule about whole floats.
    """
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: Any, length: int = 12) -> str:
    """The first `length` hex digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def digest_ids(ids: Iterable[Any]) -> str:
    """12 hex of a list of item ids, in their order."""
    return digest([str(one) for one in ids])


def score_fields(
    *,
    task: str,
    version: int,
    split: str,
    items: str,
    truth: str,
    protocols: Mapping[str, int],
    primary: str,
    options: Mapping[str, Any] | None = None,
) -> Fields:
    """What `score_key` is the digest of.

    items, truth: digests of the item ids and of the ground truth. protocols: number per metric
    family, raised by hand when a value may change. primary: name of the primary score. options:
    what else a user may choose that changes a number (size, scale, rule for bad depth).
    """
    return {
        "task": task,
        "version": version,
        "split": split,
        "items": items,
        "truth": truth,
        "protocols": dict(protocols),
        "primary": primary,
        "options": dict(options or {}),
    }


def fair_fields(
    score: Fields,
    *,
    budget_kind: str,
    budget_limit: float,
    model: str,
    batch: int,
    precision: str,
    track: str,
    codecs: Mapping[str, str],
    trials: int,
    largest_nfe: int,
    null_rate: float,
    draws: int,
    ema: str,
    rules: Mapping[str, Any] | None = None,
    device: str | None = None,
    devices: int | None = None,
    threads: int | None = None,
) -> Fields:
    """What `fair_key` is the digest of.

    codecs: name -> digest of its weights. trials: tuning trials per arm. largest_nfe: most network
    calls a sample may take. draws: samples per test item. ema: the averaging rule, in words and
    numbers. rules: what else all arms must share (training data, optimizer, solver, guidance).
    device, devices, threads: only under `device_seconds`, where they decide what a second
    buys; refused otherwise.
    """
    machine = {"device": device, "devices": devices, "threads": threads}
    timed = budget_kind == "device_seconds"
    if timed != all(value is not None for value in machine.values()):
        raise ValueError("device, devices and threads are fair only under device_seconds, and all")
    return {
        "score_key": digest(score),
        "budget_kind": budget_kind,
        "budget_limit": budget_limit,
        "model": model,
        "batch": batch,
        "precision": precision,
        "track": track,
        "codecs": dict(codecs),
        "trials": trials,
        "largest_nfe": largest_nfe,
        "null_rate": null_rate,
        "draws": draws,
        "ema": ema,
        "rules": dict(rules or {}),
        **(machine if timed else {}),
    }


def differing(one: Fields, other: Fields, prefix: str = "") -> list[str]:
    """`name: this / that` for every field in which two field sets differ, nested names dotted.

    Nothing only where both have one digest; a field that one of them lacks is `absent` there.
    """
    found = []
    for name in sorted(one.keys() | other.keys()):
        this, that = one.get(name, ABSENT), other.get(name, ABSENT)
        if isinstance(this, dict) and isinstance(that, dict):
            found += differing(this, that, f"{prefix}{name}.")
        elif ABSENT in (this, that) or canonical(this) != canonical(that):
            found.append(f"{prefix}{name}: {_told_apart(this, that)}")
    return found


def run_id(task: str, method: str, config: Fields) -> str:
    """task-method-s<seed>-<8 hex of the resolved configuration without its places>."""
    settled = {name: value for name, value in config.items() if name not in PLACES}
    return f"{task}-{method}-s{config['seed']}-{digest(settled, 8)}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value


def _told_apart(this: Any, that: Any) -> str:
    """`this / that`, as JSON where they would read the same: 1 and "1", two long numbers."""
    short = _shown(this), _shown(that)
    if short[0] == short[1]:
        short = _exact(this), _exact(that)
    return " / ".join(short)


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "absent"
    return exact(value) if isinstance(value, float) else str(value)


def _exact(value: Any) -> str:
    return _shown(value) if value is ABSENT else canonical(value)
