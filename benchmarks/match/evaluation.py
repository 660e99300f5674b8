"""Scoring of predictions that were made elsewhere: no training, so a score_key but no fair_key."""

from __future__ import annotations

import hashlib
import re
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config import registry
from benchmarks.config.schema import Config
from benchmarks.match import host
from benchmarks.match.progress import Progress
from benchmarks.records import keys, samples
from benchmarks.records import record as records
from benchmarks.records.record import write_items
from benchmarks.report.tables import comparison_table
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.tasks.task import Items, Task


def evaluate(config: Config) -> int:
    """Reads `predictions`, scores them against the task's truth and writes the record.

    Other contents of the files, or other rules of scoring, make another record beside the old one.
    Raises InputError for anything wrong with the predictions; then nothing is written.
    """
    if config.predictions is None:
        raise InputError("predictions: name the folder of predictions, predictions=DIR")
    name = config.name or Path(config.predictions).resolve().name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name in registry.BOUNDS:
        raise InputError(
            f"name={name}: a name for the table, of letters, digits, dots, dashes and underscores"
        )
    progress = Progress()
    task: Task[Any] = registry.task_of(config)(config, progress)
    try:
        truth = task.test
        values = truth.read(Path(config.predictions))
        contents = predictions_digest(values)
        scored = truth.score(values)
    finally:
        progress.close()
    for hint in scored.hints:
        print(hint, file=sys.stderr)
    score = task.score_fields()
    out = Path(config.out)
    # What an evaluation used: the rest describes a training that nobody here has seen.
    recorded = records.recorded_config(config)
    plain = {key: recorded[key] for key in ("task", "seed", "quick")} | {"name": name}
    run_id = keys.run_id(
        config.task.name, name, plain | {"predictions": contents, "score_key": keys.digest(score)}
    )
    if not config.resume:
        run_id = records.free_run_id(out, config.task.name, run_id)
    proof: dict[str, Any] = {"counts": scored.counts, "predictions": contents}
    record = records.Record(
        run_id=run_id,
        match=None,
        kind="evaluation",
        task=config.task.name,
        method=name,
        status="completed",
        score_key=keys.digest(score),
        fair_key=None,
        fair=records.Fair(score=score, fair=None, proof=proof),
        config=plain,
        scores=scored.scores,
        unavailable=scored.unavailable,
        model=None,
        budget=None,
        source=None,
        volatile=records.Volatile(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=host.commit(),
            command=shlex.join(["python", "-m", "benchmarks.evaluate", *sys.argv[1:]]),
            versions=host.versions(),
            paths={"predictions": config.predictions},
        ),
    )
    items = out / "items" / config.task.name / f"{record.run_id}.csv"
    write_items(items, scored.items)
    print(f"record: {records.write(record, out)}\n")
    _keep_samples(out, record, truth, values)
    print(comparison_table([record]), end="")
    return 0


def _keep_samples(out: Path, record: records.Record, truth: Items, values: Any) -> None:
    """The first items, for grids and the page's gallery, with source and truth beside them.

    Captions are scored without their pictures; where these are not there, it is said. Source and
    truth that a run has kept stay: captions have one score_key for pictures of every size.
    """
    ids = truth.ids[: samples.ITEMS]
    cells = [truth.cell(values, index) for index in range(len(ids))]
    samples.write(out, record.task, record.run_id, ids, cells)
    ends = (f"{end}-{record.score_key}" for end in samples.FRAMES)
    if all(samples.path_of(out, record.task, row) for row in ends):
        return
    try:
        pairs = [truth.cells(index) for index in range(len(ids))]
    except InputError as error:
        print(f"{record.task}: no samples of source and truth: {error}", file=sys.stderr)
    else:
        samples.keep_ends(out, record.task, record.score_key, ids, pairs)


def predictions_digest(values: Any) -> str:
    """12 hex of what was predicted: of the files, in item order, or of the captions themselves."""
    paths: Sequence[Path] | None = getattr(values, "paths", None)
    if paths is None:
        return keys.digest(list(values))
    return keys.digest([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
