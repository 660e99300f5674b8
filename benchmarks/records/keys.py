"""What may be compared with what: digests of everything that decides a score or a fair race.

score_key: the same items, truth and metric protocols, so that two numbers mean the same thing.
fair_key: also the same budget and the same rules of training and sampling, so that two ranks do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.config.schema import PLACES

Fields = dict[str, Any]
ABSENT = object()  # a field that is not there: to a digest another thing than null
MACHINE = ("device", "devices", "threads")


@dataclass(kw_only=True)
class ScoreFields:
    """What `score_key` is the digest of."""

    task: str
    version: int  # of the task
    split: str
    items: str  # digest of the item ids
    truth: str  # digest of the ground truth
    protocols: dict[str, int]  # a number per metric family, raised by hand when a value may change
    primary: str  # name of the primary score
    # What else a user may choose that changes a number: size, scale, rule for bad depth.
    options: Fields = field(default_factory=dict)


@dataclass(kw_only=True)
class FairFields:
    """What `fair_key` is the digest of."""

    score_key: str
    budget_kind: str
    budget_limit: float
    model: str
    batch: int
    precision: str
    track: str
    codecs: dict[str, str]  # name -> digest of its weights
    trials: int  # of tuning, per arm
    largest_nfe: int  # most network calls a sample may take
    null_rate: float
    draws: int  # samples per test item
    ema: str  # the averaging rule, in words and numbers
    rules: Fields = field(default_factory=dict)  # what else all arms share: data, optimizer, solver
    # Of the machine: under a budget of device_seconds, where alone it decides what a second buys.
    device: str | None = None
    devices: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        given = {getattr(self, name) is not None for name in MACHINE}
        if given != {self.budget_kind == "device_seconds"}:
            raise ValueError(f"{', '.join(MACHINE)} are fair only under device_seconds, and all")


def score_fields(**fields: Any) -> Fields:
    """`ScoreFields` as a record keeps them."""
    return asdict(ScoreFields(**fields))


def fair_fields(score: Fields, **fields: Any) -> Fields:
    """`FairFields` of arms scored by `score`, as a record keeps them."""
    fair = asdict(FairFields(score_key=digest(score), **fields))
    return {name: value for name, value in fair.items() if name not in MACHINE or value is not None}


def canonical(value: Any) -> str:
    """One text per value: sorted keys, no spaces, 2.0 written as 2. ValueError for NaN, Infinity.

    A limit typed as 1e6 or 1000000 is one limit, hence the rule about whole floats.
    """
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def digest(value: Any, length: int = 12) -> str:
    """The first `length` hex digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def run_id(task: str, method: str, config: Fields) -> str:
    """task-method-s<seed>-<8 hex of the resolved configuration without its places>."""
    settled = {name: value for name, value in config.items() if name not in PLACES}
    return f"{task}-{method}-s{config['seed']}-{digest(settled, 8)}"


def differing(one: Fields, other: Fields, prefix: str = "") -> list[str]:
    """`name: this / that` for every field in which two field sets differ, nested names dotted.

    Nothing only where both have one digest; a field that one of them lacks is `absent` there.
    """
    lines = []
    for name in sorted(one.keys() | other.keys()):
        if isinstance(one.get(name), dict) and isinstance(other.get(name), dict):
            lines += differing(one[name], other[name], f"{prefix}{name}.")
            continue
        pair = [fields.get(name, ABSENT) for fields in (one, other)]
        exactly = ["absent" if value is ABSENT else canonical(value) for value in pair]
        if exactly[0] != exactly[1]:
            # For people, unless they would read the same there: 1 and "1", two long numbers.
            texts = ["absent" if value is ABSENT else _shown(value) for value in pair]
            lines.append(f"{prefix}{name}: {' / '.join(exactly if len({*texts}) == 1 else texts)}")
    return lines


def _shown(value: Any) -> str:
    return exact(value) if isinstance(value, float) else str(value)


def exact(value: float) -> str:
    """The shortest text that is this number: 2e+14, 0.1, 1234561 (`g` alone prints six digits)."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value).removesuffix(".0")
