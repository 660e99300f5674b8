"""Models that run outside of this harness: the scored split as files, and scores of predictions.

Below the exported folder, one file an item, named by its id: `sources/<id>.png` (8-bit RGB, whole),
`truth/<id>.png`, or `truth/<id>.npy` for depth (float32 metres, 0 = not known). Texts are in
`sources.json` or `truth.json`: [{"id": "7", "texts": ["..."]}]. `export.json` says of which split,
and what the `score_key` of predictions will be.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.config import registry
from benchmarks.config.output import say
from benchmarks.data.predictions import write_depth, write_image
from benchmarks.match import recording
from benchmarks.match.job import Match, unused
from benchmarks.records import keys, samples
from benchmarks.records import record as records
from benchmarks.report.screen import comparison_table, next_command
from crossflow import files
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.data.splits import Report
    from benchmarks.metrics.score import Scored
    from benchmarks.tasks.task import Task


def evaluate(config: Config) -> int:
    """Reads `predictions`, scores them against the task's truth and writes the record. InputError
    for anything wrong with them; then nothing is written."""
    if config.predictions is None:
        raise InputError("predictions: name the folder of predictions, predictions=DIR")
    alone(f"predictions={config.predictions}")
    name = config.name or Path(config.predictions).resolve().name
    registry.check_name("name", name)
    if name in registry.methods():
        raise InputError(f"name={name}: an arm that is trained here is called so; choose another")
    match = Match(config)
    out, kind, truth = match.out, config.task.name, match.task.test
    with closing(match.progress):
        values = truth.read(Path(config.predictions))
        scored = truth.score(values)
    for hint in scored.hints:
        print(hint, file=sys.stderr)
    record = _record(match, name, values, scored)
    records.write_items(out / "items" / kind / f"{record.run_id}.csv", scored.items)
    path = records.write(record, out)
    samples.keep(out, kind, [record.run_id], truth.ids, lambda i: [truth.cell(values, i)])
    ends = samples.ends(record.score_key)
    if not all(samples.path_of(out, kind, row) for row in ends):  # a run's own stay
        try:
            samples.keep(out, kind, ends, truth.ids, truth.cells)
        except InputError as error:  # captions are scored without their pictures
            print(f"{kind}: no samples of source and truth: {error}", file=sys.stderr)
    following = next_command("leaderboard", config.out)  # ranks it in evaluations.csv
    say([f"record: {path}", "", comparison_table([record]), "", following])
    return 0


def _record(match: Match, name: str, values: Any, scored: Scored) -> records.Record:
    """No training was seen, so there is no fair_key. Other contents or rules make another record;
    where one of its run_id has a score that this one lacks, both stand."""
    config, score = match.config, match.score
    contents = values if isinstance(values, list) else [files.sha256(x) for x in values.paths]
    # What an evaluation used: the rest describes a training that nobody here has seen.
    recorded, digest = records.recorded_config(config), keys.digest(contents)
    plain = {key: recorded[key] for key in ("task", "seed", "quick")} | {"name": name}
    facts = plain | {"predictions": digest, "score_key": keys.digest(score)}
    run_id = keys.run_id(config.task.name, name, facts)
    path = records.record_path(match.out, config.task.name, run_id)
    loses = path.exists() and records.read(path).scores.keys() - scored.scores.keys()
    if loses or not config.resume:
        run_id = unused(config, {name: run_id})[name]
    here = recording.about_this_process("evaluate", {"predictions": str(config.predictions)})
    named = {"run_id": run_id, "match": None, "kind": "evaluation", "method": name}
    return recording.make(score, scored, {"predictions": digest}, here, config=plain, **named)


def alone(field: str) -> None:
    """InputError under torchrun."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError(f"{field}: one process writes it, not torchrun's many")


def export(config: Config, report: Report) -> Path:
    """Writes the folder `config.export`, whole or not at all; returns it. InputError where there is
    something of that name, or the data are wrong."""
    alone(f"export={config.export}")
    folder = Path(str(config.export))
    if folder.name in ("", "..") or os.path.lexists(folder):
        raise InputError(f"export={folder}: is there already; name a new folder")
    task: Task[Any] = registry.task_of(config)(config, report)
    score = task.score_fields()
    facts = {name: score[name] for name in ("task", "version", "split", "primary", "options")}
    facts |= {"items": len(task.test.ids), "score_key": keys.digest(score)}
    try:
        with files.published(folder) as partial:
            _fill(partial, task, facts)
    except OSError as error:
        where = error.filename or folder.parent  # a write names no file
        raise InputError(f"export={folder}: {error.strerror} ({where})") from None
    return folder


def _fill(folder: Path, task: Task[Any], facts: dict[str, Any]) -> None:
    texts: dict[str, list[dict[str, Any]]] = {"sources": [], "truth": []}
    ids = task.test.ids
    for index, name in enumerate(ids):
        for part, value in zip(texts, task.test.pair(index), strict=True):
            if not isinstance(value, np.ndarray):
                listed = [value] if isinstance(value, str) else [str(text) for text in value]
                texts[part].append({"id": name, "texts": listed})
            elif value.dtype == np.uint8:
                write_image(folder / part, name, value)
            else:
                write_depth(folder / part, name, value)
        task.report("export", index + 1, len(ids))
    for part, content in {**texts, "export": facts}.items():
        if content:
            text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True)
            (folder / f"{part}.json").write_text(text + "\n", encoding="utf-8")
