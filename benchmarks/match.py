"""A match: every arm of a job trained under one budget, sampled, scored and recorded.

The order is: refuse what is wrong, prepare the data once, build arms of equal size, train them on
the same rows, choose what is chosen on validation, score the test split once, write one record an
arm. Nothing here knows which method runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import arm_record, keys, records, registry
from benchmarks.device import resolve
from benchmarks.pictures import save_grid, save_samples
from benchmarks.progress import Progress
from benchmarks.sampling import Predictions, Sampler, Trial, choose_guidance, try_out
from benchmarks.tables import comparison_table
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.conf.schema import Config
    from benchmarks.tasks.task import Prepared, Task
    from crossflow.trainer import Trainer

GRID_ITEMS = 8
SAMPLE_ITEMS = 32


@dataclass
class Match:
    """One job: its configuration, its task made ready, and the names its files go by.

    ids: run_id of each row, by method. absent: methods that do not apply, with the reason.
    """

    config: Config
    task: Task
    prepared: Prepared
    modules: dict[str, Any]
    absent: dict[str, str]
    ids: dict[str, str]
    name: str
    device: str
    progress: Progress

    @property
    def out(self) -> Path:
        return Path(self.config.out)

    @property
    def score_fields(self) -> dict[str, Any]:
        """What makes scores comparable; its digest is the score key."""
        truth = self.prepared.truth
        return keys.score_fields(
            task=self.config.task.name,
            version=self.task.version,
            primary=self.task.primary(len(truth.ids)),
            **truth.key(),
        )

    @property
    def primary_on_validation(self) -> str:
        return self.task.primary(len(self.prepared.validation_truth.ids))

    def folder(self, method: str) -> Path:
        return Path(self.config.work) / self.config.task.name / self.ids[method]


def run_match(config: Config) -> int:
    """Runs one job; 0 when every arm is completed, 1 when one failed. Prints the table."""
    _refuse_what_is_not_built(config)
    progress = Progress()
    task: Task = registry.load_task(config.task.name)
    out = Path(config.out)
    ids = run_ids(config)
    finished = _completed(out, config, ids)
    if finished is not None:
        print(f"{config.task.name}: all arms are completed, nothing to do", file=sys.stderr)
        return _conclude(finished, out)
    try:
        prepared = task.prepare(config, progress)
        modules, absent = _applicable(config, prepared)
        match = Match(
            config,
            task,
            prepared,
            modules,
            absent,
            ids,
            match_name(config),
            resolve(config.device),
            progress,
        )
        _check_validation(match)
        return _conclude(_run(match), out)
    finally:
        progress.close()


def _refuse_what_is_not_built(config: Config) -> None:
    """A field that would be ignored is refused: its user would believe that it had worked."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("torchrun: a match runs in one process so far; start it with python -m")
    if config.track != "defaults":
        raise InputError(f"track={config.track}: only track=defaults is built so far")
    if config.check:
        raise InputError("check=true: comparing with references is not built so far")
    for name in ("predictions", "name", "export"):
        if getattr(config, name) is not None:
            raise InputError(
                f"{name}={getattr(config, name)}: `run` does not use it; predictions are scored by "
                "python -m benchmarks.evaluate"
            )


def run_ids(config: Config) -> dict[str, str]:
    """The run_id of every row, framing rows included; a fresh one each with resume=false."""
    plain = records.recorded_config(config)
    name = config.task.name
    found = {}
    for method in (*registry.FRAMING, *config.methods):
        found[method] = keys.run_id(name, method, plain)
        if not config.resume:
            found[method] = records.free_run_id(Path(config.out), name, found[method])
    return found


def match_name(config: Config) -> str:
    """<task>-s<seed>-<8 hex of the configuration>: the folder of what all arms share."""
    plain = records.recorded_config(config)
    return f"{config.task.name}-s{config.seed}-{keys.digest(plain, 8)}"


def _completed(
    out: Path, config: Config, ids: dict[str, str]
) -> list[tuple[Path, records.Record]] | None:
    """The records of a match whose every applicable arm is completed, else None."""
    found = []
    for run_id in ids.values():
        path = records.record_path(out, config.task.name, run_id)
        if path.exists():
            found.append((path, records.read(path)))
    by_method = {record.method: record for _, record in found}
    floor = by_method.get("floor")
    if floor is None:
        return None
    absent = floor.fair.proof.get("absent")
    needed = set(ids) - set(absent if isinstance(absent, dict) else {})
    done = {name for name, record in by_method.items() if record.status == "completed"}
    return found if needed <= done else None


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
    if tuned and match.primary_on_validation.startswith("kid") and items < 100:
        raise InputError(
            f"task.validation_limit={items}: guidance or a curve by KID needs 100 validation "
            "items; raise it, or give sampling.guidance and no sampling.curve"
        )


def _run(match: Match) -> list[tuple[Path, records.Record]]:
    """Frames, trains, scores; gives the records with their paths."""
    written = [_frame(match, name) for name in registry.FRAMING]
    rows: dict[str, Any] = {name: predictions for name, (_, predictions) in written}
    found = [entry for _, (entry, _) in written]
    waiting = [n for n in match.modules if not _is_completed(match, n)]
    for name in match.modules:
        if name not in waiting:
            path = records.record_path(match.out, match.config.task.name, match.ids[name])
            found.append((path, records.read(path)))
            rows[name] = match.prepared.truth.read(match.folder(name) / "predictions")
    trainers = _train(match, waiting)
    proofs = arm_record.proofs(trainers)
    for trainer in trainers:
        if trainer.failure is not None:
            record = arm_record.failed(match, trainer, proofs)
        else:
            record, rows[trainer.name] = _evaluate(match, trainer, proofs)
        found.append((records.write(record, match.out), record))
    _draw_grid(match, rows)
    return found


def _is_completed(match: Match, method: str) -> bool:
    path = records.record_path(match.out, match.config.task.name, match.ids[method])
    return path.exists() and records.read(path).status == "completed"


def _frame(match: Match, name: str) -> tuple[str, tuple[tuple[Path, records.Record], Any]]:
    """The floor (no source seen) or the oracle (the truth through the codec), scored."""
    prepared = match.prepared
    match.progress(f"{name}: scoring", 0, 1)
    if name == "floor":
        values = prepared.floor()
    else:
        values = arm_record.truth_through_codec(prepared)
    scored = prepared.truth.score(values)
    record = arm_record.framing(match, name, scored)
    _keep(match, name, values, scored)
    match.progress(f"{name}: scoring", 1, 1)
    return name, ((records.write(record, match.out), record), values)


def _train(match: Match, names: Sequence[str]) -> list[Trainer]:
    """Arms of equal size, trained to the end of their budgets on the same rows."""
    from crossflow.budget import Budget
    from crossflow.matching import build_arm
    from crossflow.train import train_match
    from crossflow.trainer import Trainer
    from crossflow.training import Training

    config = match.config
    training, budget = Training(**asdict(config.training)), Budget(**asdict(config.budget))
    trainers = []
    for name in names:
        arm = build_arm(
            match.modules[name],
            match.prepared.problem,
            config.model,
            seed=config.seed,
            batch=config.training.batch,
        )
        arm.name = name
        folder = match.folder(name)
        trainers.append(
            Trainer(arm, match.prepared.train, budget, training, folder, config.seed, match.device)
        )

    def report(trainer: Trainer) -> None:
        loss = trainer.last.get("loss")
        rate = trainer.last.get("samples_per_second")
        note = f"of {budget.limit:.3g} {budget.kind}"
        if loss is not None and rate is not None:
            note += f", loss {loss:.3f}, {rate:.0f} samples/s"
        match.progress(f"{config.task.name} {trainer.name}: training", trainer.fraction, 1, note)

    train_match(trainers, report)
    return trainers


def _evaluate(
    match: Match, trainer: Trainer, proofs: dict[str, Any]
) -> tuple[records.Record, list[Any]]:
    """Guidance and curve on validation, then the test split once; gives record and predictions."""
    config, prepared, arm = match.config, match.prepared, arm_record.averaged(trainer)
    label = f"{config.task.name} {trainer.name}"
    sampler = _sampler(match, config.sampling.steps)
    with trainer.clock("tuning"):
        guidance, trials = _guidance(match, trainer)
    with trainer.clock("eval"):
        curve = [
            try_out(arm, _sampler(match, steps), prepared, match.primary_on_validation, guidance)
            for steps in config.sampling.curve
        ]
        found: Predictions = sampler.predict(
            arm,
            prepared.test,
            prepared.decode,
            guidance,
            lambda done, total: match.progress(f"{label}: sampling", done, total),
        )
        match.progress(f"{label}: scoring", 0, 1)
        scored = prepared.truth.score(found.values)
        match.progress(f"{label}: scoring", 1, 1)
    arm_record.write_curves(match, trainer.name, trials, curve)
    _keep(match, trainer.name, found.values, scored)
    trainer.save()
    record = arm_record.completed(match, trainer, scored, guidance, found.nfe, trials, proofs)
    return record, found.values


def _sampler(match: Match, steps: int) -> Sampler:
    from crossflow.solvers import Grid

    sampling = match.config.sampling
    grid = Grid(steps, sampling.solver)
    return Sampler(grid, sampling.batch, match.config.seed, match.device)


def _guidance(match: Match, trainer: Trainer) -> tuple[float, list[Trial]]:
    """The weight a user gave, or the best on validation; 1 for a method without a null branch."""
    given, arm = match.config.sampling.guidance, arm_record.averaged(trainer)
    if not arm.method.guided or match.prepared.problem.null_rate == 0:
        return 1.0, []
    if given is not None:
        return given, []
    sampler, primary = _sampler(match, match.config.sampling.steps), match.primary_on_validation

    def measure(weight: float) -> Trial:
        label = f"{match.config.task.name} {trainer.name}: guidance {weight:g}"
        match.progress(label, 0, 1)
        trial = try_out(arm, sampler, match.prepared, primary, weight)
        match.progress(label, 1, 1, f"{primary} {trial.score.value:.4g}")
        return trial

    return choose_guidance(measure)


def _keep(match: Match, method: str, values: Any, scored: Any) -> None:
    """Predictions in the run folder; items and a sheet of samples beside the record."""
    from benchmarks.items import write_items

    truth, name = match.prepared.truth, match.config.task.name
    truth.write(match.folder(method) / "predictions", values)
    write_items(match.out / "items" / name / f"{match.ids[method]}.csv", scored.items)
    write_items(match.folder(method) / "items.csv", scored.items)
    count = min(SAMPLE_ITEMS, len(truth.ids))
    cells = [truth.cell(values, index) for index in range(count)]
    save_samples(match.out / "samples" / name / f"{match.ids[method]}.png", cells)


def _draw_grid(match: Match, rows: dict[str, Any]) -> None:
    """Source, truth and one row an arm of the first items, for a person to look at."""
    truth = match.prepared.truth
    shown = range(min(GRID_ITEMS, len(truth.ids)))
    grid = {
        "source": [truth.cells(index)[0] for index in shown],
        "truth": [truth.cells(index)[1] for index in shown],
    }
    order = [name for name in ("floor", "oracle", *match.config.methods) if name in rows]
    grid |= {name: [truth.cell(rows[name], index) for index in shown] for name in order}
    path = Path(match.config.work) / match.config.task.name / match.name / "grid.png"
    save_grid(path, grid)
    print(f"picture grid: {path}", file=sys.stderr)


def _conclude(found: Sequence[tuple[Path, records.Record]], out: Path) -> int:
    """Prints where the records are and the table; the status of the job."""
    for path, _ in found:
        print(f"record: {path}")
    print()
    print(comparison_table([record for _, record in found]), end="", flush=True)
    for _, record in found:
        if record.status == "failed":
            print(f"{record.method} failed: {record.volatile.error}", file=sys.stderr)
    return int(any(record.status == "failed" for _, record in found))
