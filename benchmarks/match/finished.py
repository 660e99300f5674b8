"""What earlier runs of a job have left: which run_id each row has, and which records are complete.

The same command continues: a completed row is taken as it is, an unfinished one goes on, a failed
one starts again (see `match`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config import registry
from benchmarks.records import keys
from benchmarks.records import record as records
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.config.schema import Config

Found = tuple[Path, records.Record]


def run_ids(config: Config) -> dict[str, str]:
    """The run_id of every row, framing rows included.

    With resume=false all rows get the first suffix (none, -2, -3 ...) that neither a record nor a
    run folder has: an unfinished run has no record yet, and must not be continued either.
    """
    plain, task = records.recorded_config(config), config.task.name
    methods = (*registry.BOUNDS, *config.methods)
    first = {method: keys.run_id(task, method, plain) for method in methods}
    ids, number = first, 1
    while not config.resume and any(_is_used(config, run_id) for run_id in ids.values()):
        number += 1
        ids = {method: f"{run_id}-{number}" for method, run_id in first.items()}
    return ids


def _is_used(config: Config, run_id: str) -> bool:
    folder = Path(config.work) / config.task.name / run_id
    return (
        folder.exists() or records.record_path(Path(config.out), config.task.name, run_id).exists()
    )


def finished_rows(config: Config, ids: dict[str, str], score: dict[str, Any]) -> dict[str, Found]:
    """The completed records among `ids`, by method.

    InputError for one whose scores mean something else by now (another task version, metric
    protocol or codec): old and new numbers must not share a table.
    """
    found = {}
    for method, run_id in ids.items():
        path = records.record_path(Path(config.out), config.task.name, run_id)
        if not path.exists():
            continue
        record = records.read(path)
        if record.status == "failed":
            continue  # it starts again, and its record is replaced
        if record.score_key != keys.digest(score):
            differ = "; ".join(keys.differing(record.fair.score, score))
            raise InputError(
                f"{path} was scored under other rules ({differ}): keep it and run anew with "
                "resume=false, or choose another out"
            )
        found[method] = (path, record)
    return found


def all_completed(finished: dict[str, Found], ids: dict[str, str]) -> bool:
    """Whether every row that applies has its record; the floor's says which do not apply."""
    if "floor" not in finished:
        return False
    absent = finished["floor"][1].fair.proof.get("absent")
    return set(ids) - set(absent if isinstance(absent, dict) else {}) <= set(finished)
