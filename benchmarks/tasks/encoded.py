"""Stores that name themselves by what they were made from, so that a stale one is never opened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tasks.task import digest

if TYPE_CHECKING:
    from crossflow.problem import Problem
    from crossflow.store import Store


def open_store(
    folder: Path,
    problem: Problem,
    fingerprint: Mapping[str, Any],
    batches: Iterable[Mapping[str, Any]],
    statistics: Mapping[str, Any] | None = None,
) -> Store:
    """The store of `batches` under `folder`, written if it is not there.

    fingerprint: everything the content depends on (data, codecs, sizes). Its digest is part of the
    folder's name, and the store compares it whole when it is opened. batches: what
    `StoreWriter.add` takes; not touched where the store exists. statistics: of the training store.

    Where the source is taken as it is (encoder "identity") it is standardised by the target's
    statistics: the flow starts from the source itself, not from an amplified one.
    """
    from crossflow.store import Store
    from crossflow.store_writer import StoreWriter

    shared = problem.encoder == "identity"
    if shared:
        fingerprint = {**fingerprint, "standardised_by": "target"}
    name = folder.name + "-" + digest(json.dumps(fingerprint, sort_keys=True))
    folder = folder.with_name(name)
    if not folder.is_dir():
        with StoreWriter(
            folder,
            problem.source,
            problem.target,
            fingerprint,
            statistics,
            shared_statistics=shared,
        ) as writer:
            for batch in batches:
                writer.add(**batch)
    return Store(folder, fingerprint)
