"""Models that run outside of this harness: the scored split as files, and scores of predictions.

    python -m benchmarks.prepare task=sr_tabletop export=DIR
    (your model: DIR/sources -> OWN)
    python -m benchmarks.evaluate task=sr_tabletop predictions=OWN name=mymodel

Below DIR, one file an item, named by its id: `sources/<id>.png` (8-bit RGB), `truth/<id>.png`, or
`truth/<id>.npy` for depth (float32 metres, 0 = not known). Texts are in `sources.json` or
`truth.json`: [{"id": "7", "texts": ["..."]}]. `export.json` says of which split, and what the
`score_key` of predictions will be. Sources are what a task has before an arm makes anything of
them: captions, whole photographs, small pictures.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.config import registry
from benchmarks.config.output import say
from benchmarks.data.predictions import write_depth, write_image
from benchmarks.match import host
from benchmarks.match.progress import Progress
from benchmarks.records import keys, samples
from benchmarks.records import record as records
from benchmarks.records.record import write_items
from benchmarks.report.tables import comparison_table
from crossflow import files
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.data.splits import Report
    from benchmarks.metrics.score import Scored
    from benchmarks.tasks.task import Items, Task


def evaluate(config: Config) -> int:
    """Reads `predictions`, scores them against the task's truth and writes the record.

    No training was seen, so there is no fair_key. Other contents or rules make another record.
    InputError for anything wrong with the predictions; then nothing is written.
    """
    if config.predictions is None:
        raise InputError("predictions: name the folder of predictions, predictions=DIR")
    name = config.name or Path(config.predictions).resolve().name
    registry.check_name("name", name)
    if name in registry.methods():
        raise InputError(f"name={name}: an arm that is trained here is called so; choose another")
    progress = Progress()
    task: Task[Any] = registry.task_of(config)(config, progress)
    try:
        truth = task.test
        values = truth.read(Path(config.predictions))
        captions = isinstance(values, list)
        contents = keys.digest(values if captions else [files.sha256(x) for x in values.paths])
        scored = truth.score(values)
    finally:
        progress.close()
    for hint in scored.hints:
        print(hint, file=sys.stderr)
    record = _record(config, name, contents, scored, task.score_fields())
    out, task_name = Path(config.out), config.task.name
    write_items(out / "items" / task_name / f"{record.run_id}.csv", scored.items)
    path = records.write(record, out)
    _keep_samples(out, record, truth, values)
    say([f"record: {path}", "", comparison_table([record]).rstrip()])
    return 0


def _record(
    config: Config, name: str, contents: str, scored: Scored, score: dict[str, Any]
) -> records.Record:
    """The record; where one of its run_id has a score that this one lacks, both stand."""
    out, task, score_key = Path(config.out), config.task.name, keys.digest(score)
    # What an evaluation used: the rest describes a training that nobody here has seen.
    recorded = records.recorded_config(config)
    plain = {key: recorded[key] for key in ("task", "seed", "quick")} | {"name": name}
    facts = plain | {"predictions": contents, "score_key": score_key}
    run_id = keys.run_id(task, name, facts)
    before = records.record_path(out, task, run_id)
    if not config.resume or (
        before.exists() and records.read(before).scores.keys() - scored.scores.keys()
    ):
        run_id = records.free_run_id(out, task, run_id)
    proof: dict[str, Any] = {"counts": scored.counts, "predictions": contents}
    return records.Record(
        run_id=run_id,
        match=None,
        kind="evaluation",
        task=task,
        method=name,
        status="completed",
        score_key=score_key,
        fair_key=None,
        fair=records.Fair(score=score, fair=None, proof=proof),
        config=plain,
        scores=scored.scores,
        unavailable=scored.unavailable,
        model=None,
        budget=None,
        source=None,
        volatile=records.Volatile(
            **host.about_this_process("evaluate", {"predictions": str(config.predictions)})
        ),
    )


def _keep_samples(out: Path, record: records.Record, truth: Items, values: Any) -> None:
    """The first items, for grids and the page's gallery, with source and truth beside them.

    Captions are scored without their pictures; where these are not there, it is said. Source and
    truth that a run has kept stay: captions have one score_key for pictures of every size.
    """
    task, ends = record.task, samples.ends(record.score_key)
    samples.keep(out, task, [record.run_id], truth.ids, lambda i: [truth.cell(values, i)])
    if all(samples.path_of(out, task, row) for row in ends):
        return
    try:
        samples.keep(out, task, ends, truth.ids, truth.cells)
    except InputError as error:
        print(f"{task}: no samples of source and truth: {error}", file=sys.stderr)


def export(config: Config, report: Report) -> Path:
    """Writes the folder `config.export`, whole or not at all; returns it.

    InputError where there is something of that name, or the data are wrong.
    """
    folder = Path(str(config.export))
    if folder.name in ("", "..") or os.path.lexists(folder):
        raise InputError(f"export={folder}: is there already; name a new folder")
    task: Task[Any] = registry.task_of(config)(config, report)
    truth, score = task.test, task.score_fields()
    facts = {
        **{name: score[name] for name in ("task", "version", "split", "primary", "options")},
        "items": len(truth.ids),
        "score_key": keys.digest(score),
    }
    try:
        with files.published(folder) as partial:
            _fill(partial, truth, facts, report)
    except OSError as error:
        raise InputError(f"export={folder}: {error.strerror} ({error.filename})") from None
    return folder


def _fill(folder: Path, truth: Items, facts: dict[str, Any], report: Report) -> None:
    texts: dict[str, list[dict[str, Any]]] = {"sources": [], "truth": []}
    for index, name in enumerate(truth.ids):
        report("export", index, len(truth.ids))
        for part, value in zip(texts, truth.pair(index), strict=True):
            if not isinstance(value, np.ndarray):
                listed = [value] if isinstance(value, str) else [str(text) for text in value]
                texts[part].append({"id": name, "texts": listed})
            elif value.dtype == np.uint8:
                write_image(folder / part, name, value)
            else:
                write_depth(folder / part, name, value)
    report("export", len(truth.ids), len(truth.ids))
    for part, content in {**texts, "export": facts}.items():
        if content:
            text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True)
            (folder / f"{part}.json").write_text(text + "\n", encoding="utf-8")
