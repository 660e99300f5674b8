"""Stores that name themselves by what they were made from, so that a stale one is never opened."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data.splits import Report, digest

if TYPE_CHECKING:
    from crossflow.problem import Problem
    from crossflow.store import Store

Batch = Mapping[str, Any]
Batches = Callable[[int, int], Iterable[Batch]]


def open_store(
    folder: Path,
    problem: Problem,
    fingerprint: Mapping[str, Any],
    rows: int,
    batches: Batches,
    statistics: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> Store:
    """The store of `rows` encoded pairs under `folder`, written if it is not there.

    fingerprint: everything the content depends on (data, codecs, sizes). Its digest is part of the
    folder's name, and the store compares it whole when it is opened. batches: `batches(start,
    stop)` yields rows start to stop - 1 as dictionaries (target, source, groups, ids; mask for
    tokens), batched by their range alone; not called for what is on the disk. statistics: of the
    training store. Several processes share the work.

    Where the source is taken as it is (encoder "identity") it is standardised by the target's
    statistics: the flow starts from the source itself, not from an amplified one.
    """
    from crossflow.store_writer import write_store

    shared = problem.encoder == "identity"
    if shared:
        fingerprint = {**fingerprint, "standardised_by": "target"}
    stage = f"{folder.name}: encoding"
    name = folder.name + "-" + digest(json.dumps(fingerprint, sort_keys=True))
    return write_store(
        folder.with_name(name),
        problem.source,
        problem.target,
        fingerprint,
        rows,
        batches,
        statistics,
        shared_statistics=shared,
        report=None if report is None else lambda done, total: report(stage, done, total),
    )


def in_batches(load: Callable[[], Callable[[slice], Batch]], size: int) -> Batches:
    """`batches` for `open_store` from rows that are made by slices, `size` at a time.

    load: called once, when the first rows are asked for, and only then: it may render or encode a
    whole split. It gives a function from a slice to a batch.
    """
    loaded = cache(load)

    def batches(start: int, stop: int) -> Iterator[Batch]:
        for first in range(start, stop, size):
            yield loaded()(slice(first, min(first + size, stop)))

    return batches
