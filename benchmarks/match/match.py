"""A match: every arm of a job trained under one budget, sampled, scored and recorded.

Refuse what is wrong, prepare the data once, build arms of equal size, score floor and oracle, train
the arms on the same rows, score them, write one record an arm. Nothing here knows which method
runs; what happens to one arm after training stands in `arm`.
"""

from __future__ import annotations

import inspect
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config import registry
from benchmarks.config.device import resolve
from benchmarks.config.output import say
from benchmarks.match import arm, bounds, recording, refusals
from benchmarks.match.job import Match
from benchmarks.match.progress import Progress, Tracker
from benchmarks.records import keys, samples
from benchmarks.records import record as records
from benchmarks.report import check, references
from benchmarks.report.references import Reference
from benchmarks.report.tables import comparison_table
from crossflow.errors import ArmError, InputError, guard
from crossflow.files import lock, write_atomic

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.tasks.task import Task
    from crossflow.train import Trainer

Rows = dict[str, records.Record]  # by the arm's name, or floor and oracle
GRID_ITEMS = 8  # columns of grid.png


def run_match(config: Config) -> int:
    """Runs one job; 0 when every arm is completed, 1 when one failed. Prints the table."""
    refusals.refuse_what_is_not_built(config)
    expected = refusals.expected(config)
    progress, tracker = Progress(), Tracker(config.tracker)
    device, ids = resolve(config.device), run_ids(config)
    task: Task[Any] = registry.task_of(config)(config, progress)
    try:
        score = task.score_fields()
        rows = finished_rows(config, ids, score)
        if _all_completed(rows, ids):
            print(f"{config.task.name}: all arms are completed, nothing to do", file=sys.stderr)
        else:
            prepared = task.prepare()
            match = Match(config, task, prepared, ids, score, device, progress, tracker)
            refusals.find_arms(match)
            refusals.refuse_sampling_without_effect(match)
            refusals.require_references(match, expected)
            with lock(match.shared / "lock", wait=False), closing(tracker):
                _run(match, rows)
    finally:
        progress.close()
    return _conclude(config, [rows[name] for name in ids if name in rows], expected)


def run_ids(config: Config) -> dict[str, str]:
    """The run_id of every row, floor and oracle included.

    With resume=false all rows get the first suffix (none, -2, -3 ...) that neither a record nor a
    run folder, whose run may be unfinished, has.
    """
    plain, task = records.recorded_config(config), config.task.name
    first = {row: keys.run_id(task, row, plain) for row in (*registry.BOUNDS, *config.methods)}
    out, runs = Path(config.out), Path(config.work) / task

    def is_used(run_id: str) -> bool:
        return (runs / run_id).exists() or records.record_path(out, task, run_id).exists()

    ids, number = first, 1
    while not config.resume and any(map(is_used, ids.values())):
        number += 1
        ids = {row: f"{run_id}-{number}" for row, run_id in first.items()}
    return ids


def finished_rows(config: Config, ids: dict[str, str], score: dict[str, Any]) -> Rows:
    """The completed records among `ids`; failed ones are made again.

    InputError for one that was scored by other rules: old and new numbers must not share a table.
    """
    rows = {}
    for name, run_id in ids.items():
        path = records.record_path(Path(config.out), config.task.name, run_id)
        record = records.read(path) if path.exists() else None
        if record is None or record.status == "failed":
            continue
        if record.score_key != keys.digest(score):
            differ = "; ".join(keys.differing(record.fair.score, score))
            raise InputError(
                f"{path} was scored under other rules ({differ}): keep it and run anew with "
                "resume=false, or choose another out"
            )
        rows[name] = record
    return rows


def _all_completed(rows: Rows, ids: dict[str, str]) -> bool:
    """Whether every row that applies has its record; the floor's says which do not apply."""
    absent = rows["floor"].fair.proof.get("absent") if "floor" in rows else None
    return isinstance(absent, dict) and set(ids) - set(absent) <= set(rows)


def _run(match: Match, rows: Rows) -> None:
    """Scores the bounds, trains what is not finished, scores and records it; completes `rows`."""
    trainers = _built(match, [name for name in match.modules if name not in rows])
    bounds.score(match, rows)
    _train(match, list(trainers.values()))
    proofs = recording.proofs(list(trainers.values()), rows)
    for name in match.modules:
        if name not in rows:
            rows[name] = _scored(match, name, trainers.get(name), proofs)
            records.write(rows[name], match.out)
            match.tracker.record(rows[name])
    _draw_grid(match)


def _built(match: Match, names: Sequence[str]) -> dict[str, Trainer]:
    """Arms of equal size, not yet trained. InputError where a user asked for what cannot be."""
    from crossflow.arm import build_arm
    from crossflow.budget import Budget
    from crossflow.train import Trainer

    config, prepared = match.config, match.prepared
    budget, trainers = Budget(**asdict(config.budget)), {}
    for name in names:
        if name in match.failures:
            continue
        module = match.modules[name]
        try:
            with guard(name, inspect.getfile(module)):
                built = build_arm(
                    module,
                    prepared.problem,
                    config.model,
                    seed=config.seed,
                    batch=config.training.batch,
                    options=registry.arm_options(config, name),
                    name=name,
                )
                place = match.folder(name), config.seed, match.device
                trainers[name] = Trainer(built, prepared.train, budget, config.training, *place)
        except ArmError as error:
            match.failures[name] = error
    return trainers


def _train(match: Match, trainers: Sequence[Trainer]) -> None:
    """Trains to the end of the budgets on the same rows, and tells how far it is.

    Ctrl-C and SIGTERM write checkpoints when the step is done, then end the program.
    """
    from crossflow.train import train_match

    config = match.config
    for trainer in trainers:
        about = records.recorded_config(config)
        match.tracker.open(trainer, match.ids[trainer.name], match.name, about)
    with _signals_that_wait() as received:

        def report(trainer: Trainer) -> None:
            match.tracker.line(trainer)
            loss, rate = trainer.last.get("loss"), trainer.last.get("samples_per_second")
            note = f"of {config.budget.limit:.3g} {config.budget.kind}"
            if loss is not None and rate is not None:
                note += f", loss {loss:.3f}, {rate:.0f} samples/s"
            stage = f"{config.task.name} {trainer.name}: training"
            match.progress(stage, trainer.fraction, 1, note)
            if received:
                for begun in (t for t in trainers if t.spent.steps and t.failure is None):
                    begun.save()
                raise KeyboardInterrupt

        train_match(trainers, report)


@contextmanager
def _signals_that_wait() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM, for a loop that ends by KeyboardInterrupt when it has saved.

    A second signal does not wait. SIGTERM then ends with status 143, whatever called us.
    """
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    numbers = [signal.SIGINT, signal.SIGTERM] if main else []  # others cannot set handlers
    before = {n: signal.getsignal(n) for n in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield received
    except KeyboardInterrupt:
        if signal.SIGTERM in received:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _scored(
    match: Match, name: str, trainer: Trainer | None, proofs: dict[str, Any]
) -> records.Record:
    """The record of an arm; a failure is recorded, the others go on."""
    failure = match.failures.get(name) if trainer is None else trainer.failure
    try:
        if failure is not None:
            raise failure
        assert trainer is not None
        with guard(name, inspect.getfile(match.modules[name])):
            result = arm.evaluate(match, trainer)
            return recording.of_arm(match, name, trainer, proofs, result)
    except (ArmError, InputError) as error:
        failure = error
    log = match.shared / f"{name}.log"
    write_atomic(log, "".join(traceback.format_exception(failure)))
    print(f"{name} failed: {failure} (traceback: {log})", file=sys.stderr)
    return recording.of_arm(match, name, trainer, proofs, failure)


def _draw_grid(match: Match) -> None:
    """Source, truth and one row an arm of the first items, for a person to look at."""
    ends = samples.ends(keys.digest(match.score))
    rows = dict(zip(samples.ENDS, ends, strict=True)) | match.ids
    paths = {n: samples.path_of(match.out, match.config.task.name, r) for n, r in rows.items()}
    kept = {name: samples.read(path) for name, path in paths.items() if path is not None}
    if kept:
        count = min(len(samples.common(kept)), GRID_ITEMS)
        path = match.shared / "grid.png"
        samples.save_grid(path, {name: row.cells[:count] for name, row in kept.items()})
        print(f"picture grid: {path}", file=sys.stderr)


def _conclude(
    config: Config, rows: Sequence[records.Record], expected: list[Reference] | None
) -> int:
    """Prints records, table and, with check=true, the checks; returns the status of the job."""
    paths = [records.record_path(Path(config.out), row.task, row.run_id) for row in rows]
    say([*(f"record: {path}" for path in paths), "", comparison_table(rows).rstrip()])
    status = int(any(row.status == "failed" for row in rows))
    if expected is None:
        return status
    checks = check.compare(rows, expected)
    say([""])
    return max(status, check.conclude(checks, references.default_file()))
