"""A match: every arm of a job trained under one budget, sampled, scored and recorded.

The order is: refuse what is wrong, prepare the data once, build arms of equal size, train them on
the same rows, choose what is chosen on validation, score the test split once, write one record an
arm. Nothing here knows which method runs; what happens to one arm stands in `arms`.
"""

from __future__ import annotations

import fcntl
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config import registry
from benchmarks.config.device import resolve
from benchmarks.match import arm as arms
from benchmarks.match import arm_record, match_check, refusals
from benchmarks.match.finished import Found, all_completed, finished_rows, run_ids
from benchmarks.match.progress import Progress, Tracker
from benchmarks.records import keys
from benchmarks.records import record as records
from benchmarks.records.samples import save_grid
from benchmarks.report.references import Reference
from benchmarks.report.tables import comparison_table
from crossflow.errors import InputError
from crossflow.files import write_atomic

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.records.samples import Cell
    from benchmarks.tasks.task import Prepared, Task
    from crossflow.train import Trainer


@dataclass
class Match:
    """One job: its configuration, its task made ready, and the names its files go by.

    ids: run_id of each row, by method. absent: methods that do not apply, with the reason.
    score_fields: what makes scores comparable; its digest is the score key.
    """

    config: Config
    task: Task[Any]
    prepared: Prepared
    modules: dict[str, Any]
    absent: dict[str, str]
    ids: dict[str, str]
    score_fields: dict[str, Any]
    device: str
    progress: Progress
    tracker: Tracker

    @property
    def name(self) -> str:
        """<task>-s<seed>-<8 hex of the configuration>: what all arms share goes by it."""
        plain = records.recorded_config(self.config)
        return f"{self.config.task.name}-s{self.config.seed}-{keys.digest(plain, 8)}"

    @property
    def out(self) -> Path:
        return Path(self.config.out)

    @property
    def shared(self) -> Path:
        """The folder of what all arms share: lock, grid.png, logs of failures."""
        return Path(self.config.work) / self.config.task.name / self.name

    @property
    def primary_on_validation(self) -> str:
        return self.task.primary(len(self.prepared.validation_truth.ids))

    def folder(self, method: str) -> Path:
        return Path(self.config.work) / self.config.task.name / self.ids[method]


def run_match(config: Config) -> int:
    """Runs one job; 0 when every arm is completed, 1 when one failed. Prints the table."""
    refusals.refuse_what_is_not_built(config)
    references = match_check.expected(config)
    progress, tracker = Progress(), Tracker(config.tracker)
    task: Task[Any] = registry.task_of(config)(config, progress)
    device, ids = resolve(config.device), run_ids(config)
    try:
        score = task.score_fields()
        # What can be refused before the data are prepared, which may take hours, is.
        match_check.require(references, config.task.name, {m: {"score": score} for m in ids})
        finished = finished_rows(config, ids, score)
        if all_completed(finished, ids):
            print(f"{config.task.name}: all arms are completed, nothing to do", file=sys.stderr)
            return _conclude(list(finished.values()), references)
        prepared = task.prepare()
        modules, absent = refusals.applicable(config, prepared)
        match = Match(
            config, task, prepared, modules, absent, ids, score, device, progress, tracker
        )
        refusals.refuse_sampling_without_effect(config, task, prepared)
        match_check.require(references, config.task.name, match_check.protocols(match))
        with _alone(match.shared), closing(tracker):
            return _conclude(_run(match, finished), references)
    finally:
        progress.close()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the match's lock: two processes would write one checkpoint in turns.

    InputError where another process holds it. The lock goes with the process, killed or not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder} is in use by another process: wait for it, or choose another work"
            ) from None
        yield


def _run(match: Match, finished: dict[str, Found]) -> list[Found]:
    """Frames, trains what is not finished, scores and records it; all rows of the match.

    Floor and oracle are scored before anything is trained: what is wrong with the weights or the
    options of a score is told then, while it costs nothing, and nothing is written.
    """
    trainers = _built(match, [name for name in match.modules if name not in finished])
    grid = _framed(match, finished)
    _train(match, trainers)
    proofs = arm_record.proofs(trainers, {name: r for name, (_, r) in finished.items()})
    for name in match.modules:
        folder = match.folder(name) / "predictions"
        if name in finished and folder.is_dir():
            grid[name] = arms.grid_cells(match, match.prepared.truth.read(folder))
    for trainer in trainers:
        record, cells = _scored(match, trainer, proofs)
        finished[trainer.name] = (records.write(record, match.out), record)
        match.tracker.record(record)
        if cells is not None:
            grid[trainer.name] = cells
    _draw_grid(match, grid)
    return [finished[name] for name in match.ids if name in finished]


def _framed(match: Match, finished: dict[str, Found]) -> dict[str, list[Cell]]:
    """Scores and records floor and oracle, into `finished`; their cells of the grid."""
    scored = {name: arms.frame(match, name) for name in registry.BOUNDS}
    arms.keep_ends(match)
    grid = {}
    for name, (values, scores) in scored.items():
        record, grid[name] = arms.keep_frame(match, name, values, scores)
        finished[name] = (records.write(record, match.out), record)
    return grid


def _built(match: Match, names: Sequence[str]) -> list[Trainer]:
    """Arms of equal size, not yet trained. InputError where one cannot be built."""
    from crossflow.arm import build_arm
    from crossflow.budget import Budget
    from crossflow.train import Trainer

    config, problem = match.config, match.prepared.problem
    training, budget = config.training, Budget(**asdict(config.budget))
    built = {}
    for name in names:
        module = match.modules[name]
        built[name] = build_arm(
            module,
            problem,
            config.model,
            seed=config.seed,
            batch=config.training.batch,
            options=registry.arm_options(config, name),
            name=name,
        )
    return [
        Trainer(
            arm,
            match.prepared.train,
            budget,
            training,
            match.folder(name),
            config.seed,
            match.device,
        )
        for name, arm in built.items()
    ]


def _train(match: Match, trainers: Sequence[Trainer]) -> None:
    """Trains to the end of the budgets on the same rows, and tells how far it is."""
    from crossflow.train import train_match

    config = match.config
    for trainer in trainers:
        about = records.recorded_config(config)
        match.tracker.open(trainer, match.ids[trainer.name], match.name, about)

    def report(trainer: Trainer) -> None:
        match.tracker.line(trainer)
        loss = trainer.last.get("loss")
        rate = trainer.last.get("samples_per_second")
        note = f"of {config.budget.limit:.3g} {config.budget.kind}"
        if loss is not None and rate is not None:
            note += f", loss {loss:.3f}, {rate:.0f} samples/s"
        match.progress(f"{config.task.name} {trainer.name}: training", trainer.fraction, 1, note)

    train_match(trainers, report)


def _scored(
    match: Match, trainer: Trainer, proofs: dict[str, Any]
) -> tuple[records.Record, list[Cell] | None]:
    """The record of an arm and its cells of the grid; a failure is recorded, the others go on."""
    failure: Exception | None = trainer.failure
    if failure is None:
        try:
            return arms.evaluate(match, trainer, proofs)
        except Exception as error:
            failure = error
    log = match.shared / f"{trainer.name}.log"
    write_atomic(log, "".join(traceback.format_exception(failure)))
    print(f"{trainer.name} failed: {failure} (traceback: {log})", file=sys.stderr)
    return arm_record.failed(match, trainer, proofs, failure), None


def _draw_grid(match: Match, rows: dict[str, list[Cell]]) -> None:
    """Source, truth and one row an arm of the first items, for a person to look at."""
    cells = arms.end_cells(match, arms.GRID_ITEMS)
    grid = {"source": [source for source, _ in cells], "truth": [true for _, true in cells]}
    grid |= {name: rows[name] for name in (*registry.BOUNDS, *match.config.methods) if name in rows}
    path = match.shared / "grid.png"
    save_grid(path, grid)
    print(f"picture grid: {path}", file=sys.stderr)


def _conclude(found: Sequence[Found], references: list[Reference] | None) -> int:
    """Prints where the records are, the table and, with check=true, the checks; the job's status.

    InputError where a record must not be compared with the references.
    """
    for path, _ in found:
        print(f"record: {path}")
    print()
    rows = [record for _, record in found]
    print(comparison_table(rows), end="", flush=True)
    failed = int(any(record.status == "failed" for record in rows))
    return max(failed, match_check.conclude(references, rows))
