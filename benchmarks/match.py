"""A match: every arm of a job trained under one budget, sampled, scored and recorded.

The order is: refuse what is wrong, prepare the data once, build arms of equal size, train them on
the same rows, choose what is chosen on validation, score the test split once, write one record an
arm. Nothing here knows which method runs; what happens to one arm stands in `arms`.
"""

from __future__ import annotations

import fcntl
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import arm_record, arms, keys, match_check, records, registry, status, trackers
from benchmarks.device import resolve
from benchmarks.finished import Found, all_completed, finished_rows, run_ids
from benchmarks.pictures import save_grid
from benchmarks.progress import Progress
from benchmarks.report.references import Reference
from benchmarks.report.tables import comparison_table
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.conf.schema import Config
    from benchmarks.tasks.task import Prepared, Task
    from crossflow.trainer import Trainer

GRID_ITEMS = 8


@dataclass
class Match:
    """One job: its configuration, its task made ready, and the names its files go by.

    ids: run_id of each row, by method. absent: methods that do not apply, with the reason.
    score_fields: what makes scores comparable; its digest is the score key.
    """

    config: Config
    task: Task
    prepared: Prepared
    modules: dict[str, Any]
    absent: dict[str, str]
    ids: dict[str, str]
    score_fields: dict[str, Any]
    device: str
    progress: status.Show
    status: status.Status
    mirror: trackers.Mirror

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
        """The folder of what all arms share: lock, status.json, grid.png, logs of failures."""
        return Path(self.config.work) / self.config.task.name / self.name

    @property
    def primary_on_validation(self) -> str:
        return self.task.primary(len(self.prepared.validation_truth.ids))

    def folder(self, method: str) -> Path:
        return Path(self.config.work) / self.config.task.name / self.ids[method]


def run_match(config: Config) -> int:
    """Runs one job; 0 when every arm is completed, 1 when one failed. Prints the table."""
    _refuse_what_is_not_built(config)
    references = match_check.expected(config)
    trackers.require(config.tracker)
    progress = Progress()
    task: Task = registry.task_of(config)
    device, ids = resolve(config.device), run_ids(config)
    try:
        truth = task.truth(config, progress)
        score = keys.score_fields(
            task=config.task.name,
            version=task.version,
            primary=task.primary(len(truth.ids)),
            **truth.key(),
        )
        # What can be refused before the data are prepared, which may take hours, is.
        match_check.require(references, config.task.name, {m: {"score": score} for m in ids})
        finished = finished_rows(config, ids, score)
        if all_completed(finished, ids):
            print(f"{config.task.name}: all arms are completed, nothing to do", file=sys.stderr)
            return _conclude(list(finished.values()), references)
        prepared = task.prepare(config, progress)
        modules, absent = _applicable(config, prepared)
        told = status.Status()
        mirror = trackers.Mirror(config.tracker, told.note)
        relayed = told.relay(progress)
        match = Match(
            config, task, prepared, modules, absent, ids, score, device, relayed, told, mirror
        )
        _check_validation(match)
        match_check.require(references, config.task.name, match_check.protocols(match))
        with _alone(match.shared), told.kept(match, finished), closing(mirror):
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


def _refuse_what_is_not_built(config: Config) -> None:
    """A field that would be ignored is refused: its user would believe that it had worked."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("torchrun: a match runs in one process so far; start it with python -m")
    if config.track != "defaults":
        raise InputError(f"track={config.track}: only track=defaults is built so far")
    for name in ("predictions", "name", "export"):
        if getattr(config, name) is not None:
            raise InputError(
                f"{name}={getattr(config, name)}: `run` does not use it; predictions are scored by "
                "python -m benchmarks.evaluate"
            )


def _applicable(config: Config, prepared: Prepared) -> tuple[dict[str, Any], dict[str, str]]:
    """Modules of the methods that apply to the problem, and why the others do not."""
    modules, absent = {}, {}
    for name in config.methods:
        module = registry.load_method(name, config.method_file)
        reason = module.applies(prepared.problem)
        if reason is None:
            modules[name] = module
        else:
            absent[name] = reason
            print(f"{config.task.name}: no arm {name}: {reason}", file=sys.stderr)
    if not modules:
        raise InputError(f"methods: none of them applies to {config.task.name}: {absent}")
    return modules, absent


def _check_validation(match: Match) -> None:
    """Refuses a tuning that could not be scored, before anything is trained."""
    sampling = match.config.sampling
    items = len(match.prepared.validation_truth.ids)
    guided = match.prepared.problem.null_rate > 0
    tuned = (guided and sampling.guidance is None) or sampling.curve
    if tuned and match.prepared.unscored is not None:
        raise InputError(
            f"guidance or a curve is chosen by {match.primary_on_validation}, which cannot be "
            f"computed: {match.prepared.unscored}; or give sampling.guidance and no sampling.curve"
        )
    if tuned and match.primary_on_validation.startswith("kid") and items < 100:
        raise InputError(
            f"task.validation_limit={items}: guidance or a curve by KID needs 100 validation "
            "items; raise it, or give sampling.guidance and no sampling.curve"
        )


def _run(match: Match, finished: dict[str, Found]) -> list[Found]:
    """Trains what is not finished, then frames, scores and records it; all rows of the match."""
    trainers = _train(match, [name for name in match.modules if name not in finished])
    proofs = arm_record.proofs(trainers, {name: r for name, (_, r) in finished.items()})
    rows: dict[str, Any] = {}
    arms.keep_ends(match)
    for name in registry.FRAMING:
        record, rows[name] = arms.frame(match, name)
        finished[name] = (records.write(record, match.out), record)
    for name in match.modules:
        folder = match.folder(name) / "predictions"
        if name in finished and folder.is_dir():
            rows[name] = match.prepared.truth.read(folder)
    for trainer in trainers:
        if trainer.failure is None:
            match.status.arm(trainer.name, "evaluating")
        record, values = _scored(match, trainer, proofs)
        finished[trainer.name] = (records.write(record, match.out), record)
        match.mirror.record(record)
        ended: status.State = "done" if record.status == "completed" else "failed"
        match.status.arm(trainer.name, ended, record.volatile.error)
        if values is not None:
            rows[trainer.name] = values
    _draw_grid(match, rows)
    return [finished[name] for name in match.ids if name in finished]


def _train(match: Match, names: Sequence[str]) -> list[Trainer]:
    """Arms of equal size, trained to the end of their budgets on the same rows."""
    from crossflow.budget import Budget
    from crossflow.matching import build_arm
    from crossflow.train import train_match
    from crossflow.trainer import Trainer
    from crossflow.training import Training

    config, problem = match.config, match.prepared.problem
    training, budget = Training(**asdict(config.training)), Budget(**asdict(config.budget))
    built = {}
    match.status.stage("building and warming up the arms")
    for name in names:
        module = match.modules[name]
        built[name] = build_arm(
            module, problem, config.model, seed=config.seed, batch=config.training.batch
        )
        built[name].name = name
    trainers = [
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

    for trainer in trainers:
        about = records.recorded_config(config)
        match.mirror.open(trainer, match.ids[trainer.name], match.name, about)

    def report(trainer: Trainer) -> None:
        match.status.arm(trainer.name, "trained" if trainer.done else "training")
        for other in trainers:  # an arm that fails leaves without a last report
            if other.failure is not None:
                match.status.arm(other.name, "failed", str(other.failure))
        match.mirror.line(trainer)
        loss = trainer.last.get("loss")
        rate = trainer.last.get("samples_per_second")
        note = f"of {budget.limit:.3g} {budget.kind}"
        if loss is not None and rate is not None:
            note += f", loss {loss:.3f}, {rate:.0f} samples/s"
        match.progress(f"{config.task.name} {trainer.name}: training", trainer.fraction, 1, note)

    train_match(trainers, report)
    return trainers


def _scored(
    match: Match, trainer: Trainer, proofs: dict[str, Any]
) -> tuple[records.Record, Any | None]:
    """The record of an arm and its predictions; a failure is recorded, the other arms go on."""
    failure: Exception | None = trainer.failure
    if failure is None:
        try:
            return arms.evaluate(match, trainer, proofs)
        except Exception as error:
            failure = error
    log = match.shared / f"{trainer.name}.log"
    records.write_text(log, "".join(traceback.format_exception(failure)))
    print(f"{trainer.name} failed: {failure} (traceback: {log})", file=sys.stderr)
    return arm_record.failed(match, trainer, proofs, failure), None


def _draw_grid(match: Match, rows: dict[str, Any]) -> None:
    """Source, truth and one row an arm of the first items, for a person to look at."""
    truth = match.prepared.truth
    shown = range(min(GRID_ITEMS, len(truth.ids)))
    cells = [truth.cells(index) for index in shown]
    grid = {"source": [source for source, _ in cells], "truth": [true for _, true in cells]}
    order = [name for name in ("floor", "oracle", *match.config.methods) if name in rows]
    grid |= {name: [truth.cell(rows[name], index) for index in shown] for name in order}
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
