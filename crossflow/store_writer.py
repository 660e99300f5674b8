"""Writes a store: shard by shard, by one process or several, going on where a killed one stopped.

The store grows in a hidden folder beside it, `.<name>.partial-<digest>`, whose name follows from
what the store is made of: the next process finds it, and one made of something else is never used.
Each shard is a function of its range of rows alone (`store_shards`), so the finished store is the
same byte for byte however many processes wrote it and however often they were killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossflow.errors import InputError
from crossflow.files import sync
from crossflow.problem import MapShape, TokenShape
from crossflow.store import MANIFEST, VERSION, Store
from crossflow.store_locks import POLL_SECONDS, Share, attempt, held, is_working
from crossflow.store_shards import (
    NOTES,
    Fields,
    Moments,
    ShardWriter,
    note_path,
    read_note,
    write_whole,
)

Batches = Callable[[int, int], Iterable[Mapping[str, Any]]]
"""Rows [start, stop) in batches, each of them what `Fields.check` takes."""

FACTS = "made_of.json"
SHARD_ROWS, MOST_SHARDS = 1024, 4096
PATIENCE = 300.0  # seconds in which a process that is not running may still start


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
    shard_rows: int | None = None,
    share: Share | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Store:
    """The store `folder` of `rows` encoded pairs; written unless it is there.

        store = write_store(folder, problem.source, problem.target, facts, len(items), batches)

    batches: `batches(start, stop)` yields rows start to stop - 1 in batches of its choice. It is
        called once a shard with the shard's range, so no batch crosses from one into the next, and
        must depend on the range alone: a network's numbers depend on how its input is batched.
    statistics: those of the training store, for validation and test; without them they are
        computed from what is written (this is the training store).
    shared_statistics: standardise the source by the target's statistics too. For a source that is
        itself the start of the flow: only then does a flow that stands still give the source back.
    shard_rows: rows a file, `default_shard_rows(rows)` unless given.
    share: which of several processes this is; every one of them makes the same call and gets the
        store when the last shard is written. By default the only one.
    report: called with (rows done by all processes, rows).

    Raises InputError for a store of another fingerprint and for bad rows; what is whole stays for
    the next call. Raises RuntimeError where another process of the share died.
    """
    folder, share = Path(folder), share or Share()
    if rows < 1:
        raise InputError(f"store {folder} would be empty: there is no row")
    if shared_statistics and source != target:
        raise InputError(
            f"store {folder.name}: source {source} and target {target} differ in shape, "
            "they cannot share statistics"
        )
    if not folder.exists():
        fields = Fields(folder.name, source, target)
        size = shard_rows or default_shard_rows(rows)
        standard = {name: "target" if shared_statistics else name for name in fields.maps}
        plan = _Plan(folder, fields, dict(fingerprint), rows, size, standard, statistics)
        _Writer(plan, batches, share, report or (lambda done, total: None)).run()
    return Store(folder, fingerprint)


def default_shard_rows(rows: int) -> int:
    """1,024, more where there would be above 4,096 shards: a whole multiple of 1,024."""
    return SHARD_ROWS * max(1, -(-rows // (SHARD_ROWS * MOST_SHARDS)))


@dataclass(frozen=True)
class _Plan:
    """What the store is to be. standard: field -> the field whose moments standardise it."""

    folder: Path
    fields: Fields
    fingerprint: dict[str, Any]
    rows: int
    shard_rows: int
    standard: dict[str, str]
    given: Mapping[str, Any] | None

    @property
    def facts(self) -> dict[str, Any]:
        """Everything the bytes follow from."""
        facts = {
            "version": VERSION,
            "fingerprint": self.fingerprint,
            "rows": self.rows,
            "shard_rows": self.shard_rows,
            "standardised_by": self.standard,
            "statistics": self.given,
            **self.fields.entries,
        }
        return json.loads(json.dumps(facts))

    @property
    def partial(self) -> Path:
        text = json.dumps(self.facts, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return self.folder.with_name(f".{self.folder.name}.partial-{digest}")

    @property
    def shards(self) -> list[tuple[int, int]]:
        """Range of rows of each shard."""
        starts = range(0, self.rows, self.shard_rows)
        return [(start, min(start + self.shard_rows, self.rows)) for start in starts]

    @property
    def moments(self) -> set[str]:
        """Fields whose moments are needed."""
        return set() if self.given else set(self.standard.values())


class _Writer:
    """One process's part in writing a store."""

    def __init__(
        self, plan: _Plan, batches: Batches, share: Share, report: Callable[[int, int], None]
    ) -> None:
        self.plan, self.batches, self.share = plan, batches, share
        self.partial, self.ranges = plan.partial, plan.shards
        self.report = report

    def run(self) -> None:
        """Writes the shards of this process, waits for the others', and publishes if first."""
        # Beside the folder: what lies in it when it gets its name is the store.
        writers = self.partial.with_name(f"{self.partial.name}.writers.lock")
        published = self.plan.folder.is_dir
        # The same process of another job that shares `work` waits here, and tells how far the
        # working one is.
        lock = self.share.lock(self.partial)
        with held(lock, shared=False, unless=self._published_else_report) as mine:
            if not mine:
                return
            try:
                with held(writers, shared=True, unless=published) as may_write:
                    if may_write:
                        self._write_own()
                self._await_others()
                # Alone: nobody writes in the folder while it gets its name.
                with held(writers, shared=False, unless=published) as may_publish:
                    if may_publish:
                        self._publish()
            except BaseException:
                self._drop_if_empty(writers)
                raise

    def _published_else_report(self) -> bool:
        published = self.plan.folder.is_dir()
        if not published:
            self.report(self._rows_done(), self.plan.rows)
        return published

    def _write_own(self) -> None:
        (self.partial / NOTES).mkdir(parents=True, exist_ok=True)
        for where in (self.partial, self.partial / NOTES):
            for left in where.glob(f"*.{self.share.mark}"):  # of a killed predecessor
                left.unlink()
        # For people who wonder what the folder is: its name says it to programs.
        write_whole(self.partial / FACTS, json.dumps(self.plan.facts, indent=1), self.share.mark)
        for number in range(self.share.rank, len(self.ranges), self.share.world):
            if read_note(self.partial, number) is None:
                self._write(number)

    def _write(self, number: int) -> None:
        start, stop = self.ranges[number]
        note_path(self.partial, number).unlink(missing_ok=True)  # of files that are not whole
        done = self._rows_done()
        self.report(done, self.plan.rows)
        with ShardWriter(
            self.partial,
            number,
            stop - start,
            self.plan.fields,
            self.plan.moments,
            self.share.mark,
        ) as shard:
            for batch in self.batches(start, stop):
                done += shard.add(batch)
                self.report(done, self.plan.rows)

    def _whole(self) -> set[int]:
        """Numbers of the shards that have their note."""
        try:
            names = os.listdir(self.partial / NOTES)  # noqa: PTH208 - iterdir is no quicker here
        except FileNotFoundError:  # not begun, or published a moment ago
            return set()
        return {int(name.removesuffix(".json")) for name in names if name.endswith(".json")}

    def _rows_done(self) -> int:
        ranges = (self.ranges[number] for number in self._whole())
        return sum(stop - start for start, stop in ranges)

    def _await_others(self) -> None:
        """Until all shards are whole. RuntimeError when a process that owes some has died."""
        absent: dict[int, float] = {}
        while not self.plan.folder.is_dir():
            missing = set(range(len(self.ranges))) - self._whole()
            if not missing:
                return
            self.report(self._rows_done(), self.plan.rows)
            for rank in {number % self.share.world for number in missing}:
                other = Share(rank, self.share.world)
                if is_working(other.lock(self.partial)):
                    absent.pop(rank, None)
                elif time.monotonic() - absent.setdefault(rank, time.monotonic()) > PATIENCE:
                    raise RuntimeError(
                        f"store {self.plan.folder.name}: process {rank} of {self.share.world} is "
                        f"not running and owes {len(missing)} of {len(self.ranges)} shards; see "
                        "what it said. The same command continues with the shards that are whole"
                    )
            time.sleep(POLL_SECONDS)

    def _publish(self) -> None:
        """Writes the manifest and gives the folder its name."""
        notes = [read_note(self.partial, number) for number in range(len(self.ranges))]
        whole = [note for note in notes if note is not None]
        if len(whole) < len(notes):
            raise RuntimeError(
                f"{self.partial}: shard {notes.index(None)} was changed by another program; the "
                "same command writes it again"
            )
        try:
            manifest = _manifest(self.plan, whole)
        except InputError:  # of all rows together: there is nothing to continue with
            shutil.rmtree(self.partial)
            raise
        write_whole(self.partial / MANIFEST, json.dumps(manifest, indent=1), self.share.mark)
        for path in self.partial.iterdir():
            if path.name not in (MANIFEST, NOTES) and not re.fullmatch(r".*-\d+\.npy", path.name):
                path.unlink()
        for path in self.partial.glob(f"{NOTES}/*.tmp"):
            path.unlink()
        sync(self.partial)
        self.partial.rename(self.plan.folder)
        sync(self.plan.folder.parent)
        self.report(self.plan.rows, self.plan.rows)

    def _drop_if_empty(self, writers: Path) -> None:
        """Removes the hidden folder where nobody writes and there is nothing to continue with."""
        file = attempt(writers, shared=False)
        if file is not None:
            with file:
                if not self._whole():
                    shutil.rmtree(self.partial, ignore_errors=True)
                writers.unlink()


def _manifest(plan: _Plan, notes: list[dict[str, Any]]) -> dict[str, Any]:
    """From the notes of all shards, in their order."""
    fields = notes[0]["fields"]
    name = plan.folder.name
    digest = hashlib.sha256()
    for field, first in fields.items():
        for number, note in enumerate(notes):
            entry = note["fields"][field]
            layout, wanted = (entry["dtype"], entry["shape"]), (first["dtype"], first["shape"])
            if layout != wanted and field != "ids":  # names are as wide as a shard's longest
                raise InputError(
                    f"store {name}, field {field}: {layout} in shard {number} after {wanted}"
                )
            digest.update(f"{field} {layout} {note['rows']} {entry['sha256']}\n".encode())
    counts = {f: entry["variants"] for f, entry in fields.items() if "variants" in entry}
    if len({count for count in counts.values() if count > 1}) > 1:
        raise InputError(f"store {name}: fields differ in their variants {counts}")
    return {
        "version": VERSION,
        "fingerprint": plan.facts["fingerprint"],
        "digest": digest.hexdigest(),
        "shards": [note["rows"] for note in notes],
        "variants": counts,
        "dtypes": {f: entry["dtype"] for f, entry in fields.items() if f != "ids"},
        "statistics": _statistics(plan, notes),
        **plan.fields.entries,
    }


def _statistics(plan: _Plan, notes: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each map: those given, else the shards' moments merged in their order."""
    if plan.given is not None:
        return {field: plan.given[field] for field in plan.standard}
    found = {}
    for field in sorted(plan.moments):
        moments = Moments(plan.fields.inner[field][0])
        for note in notes:
            moments.merge(note["fields"][field]["moments"])
        found[field] = moments.statistics(field)
    return {field: found[by] for field, by in plan.standard.items()}
