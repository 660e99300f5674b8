"""A match: every arm of a job trained under one budget, sampled, scored and recorded.

Nothing here knows which method runs; what happens to one arm after training stands in `arm`.
"""

from __future__ import annotations

import inspect
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config import registry, signals
from benchmarks.config.device import resolve
from benchmarks.config.output import say
from benchmarks.match import arm, crew, job, order_proof, recording, tuning
from benchmarks.match.job import Match, Rows
from benchmarks.records import keys, samples
from benchmarks.records import record as records
from benchmarks.report import check, references
from benchmarks.report.screen import comparison_table
from crossflow import world
from crossflow.errors import ArmError, InputError, guard
from crossflow.files import lock, write_atomic

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from crossflow.arm import Arm
    from crossflow.train import Trainer

GRID_ITEMS = 8  # columns of grid.png


def run_match(config: Config, done: list[records.Record]) -> int:
    """Runs one job; prints records, their table and, with check=true, the checks; adds the records
    to those `done`.

    0 when every arm is completed and no check fails, else 1.
    """
    import torch

    world.join(torch.device(resolve(config.device)))
    world.divided(config.training, config.parallel)  # here all fail alike, and a sweep goes on
    match = crew.agreed(lambda: Match(config))
    try:
        return _follow(match) if world.rank() else _lead(match, done)
    except InputError:
        crew.tell()  # the others wait for a word, or raise this too: each says it, or hears it
        raise


def _follow(match: Match) -> int:
    """What a process does that does not lead, until it hears that all is done."""
    arms: dict[str, Arm] = {}
    trainers: dict[str, Trainer] = {}
    nothing: tuple[Any, ...] = ()
    while word := world.from_first(nothing):
        what, *given = word
        if what == "build":
            (match.rows,) = given
            arms = crew.alike(match, _build)
        elif what == "train":
            trainers = _train(match, arms)
        elif what == "save":
            trainers[given[0]].save()
        else:
            name, *how = given
            crew.part(match, trainers[name].average, *how)
    return 0


def _lead(match: Match, done: list[records.Record]) -> int:
    """`run_match` in the first process, or in the only one."""
    config = match.config
    expected = references.read(references.default_file()) if config.check else None
    with closing(match.progress):
        match.rows = finished_rows(config, match.ids, match.score)
        floor = match.rows.get("floor")  # its record says which arms do not apply
        absent = floor.fair.proof.get("absent") if floor else None
        if isinstance(absent, dict) and match.ids.keys() - absent <= match.rows.keys():
            print(f"{config.task.name}: all arms are completed, nothing to do", file=sys.stderr)
            (match.shared / "lock").unlink(missing_ok=True)  # of a process killed at its end
        else:
            crew.tell("build", match.rows)
            arms = crew.alike(match, _build)
            for name, reason in match.absent.items():
                print(f"{config.task.name}: no arm {name}: {reason}", file=sys.stderr)
            job.refuse_sampling_without_effect(match)
            if expected is not None:
                job.require_references(match, expected)
            with lock(match.shared / "lock", wait=False), closing(match.tracker):
                _run(match, arms)
    crew.tell()
    rows = [match.rows[name] for name in match.ids if name in match.rows]
    paths = [records.record_path(match.out, row.task, row.run_id) for row in rows]
    say([*(f"record: {path}" for path in paths), "", comparison_table(rows)])
    done += rows
    status = int(any(row.status == "failed" for row in rows))
    if expected is None:
        return status
    say([""])
    checks = check.compare(rows, expected)
    return max(status, check.conclude(checks, references.default_file()))


def finished_rows(config: Config, ids: Mapping[str, str], score: dict[str, Any]) -> Rows:
    """The completed records among `ids`; failed ones are made again. InputError for one that was
    scored by other rules: old and new numbers must not share a table."""
    rows = {}
    for name, run_id in ids.items():
        path = records.record_path(Path(config.out), config.task.name, run_id)
        record = records.read(path) if path.exists() else None
        if record is None or record.status == "failed":
            continue
        if record.score_key != keys.digest(score):
            differ = "; ".join(keys.differing(record.fair.score, score))
            what = f"{path} was scored under other rules ({differ})"
            raise InputError(f"{what}: run anew with resume=false, or choose another out")
        rows[name] = record
    return rows


@contextmanager
def _code_of(match: Match, name: str, *kept: type[Exception]) -> Iterator[None]:
    """Where an arm's own code runs: how it fails is kept in `match.failures`, the others go on."""
    try:
        with guard(name, inspect.getfile(registry.method_of(match.config, name))):
            yield
    except Exception as error:
        if not isinstance(error, (ArmError, *kept)):
            raise
        match.failures[name] = error


def _build(match: Match) -> dict[str, Arm]:
    """The arms that are to be trained, of equal size; notes those that do not apply. InputError
    where none does, or where a user asked for what cannot be."""
    from crossflow.arm import build_arm
    from crossflow.solver import Grid

    config, problem = match.config, match.prepared.problem
    arms: dict[str, Arm] = {}
    build = partial(build_arm, model=config.model, seed=config.seed, batch=config.training.batch)
    for name in config.methods:
        with _code_of(match, name):
            module, options = registry.method_of(config, name), registry.arm_options(config, name)
            reason = module.applies(problem)
            if reason is not None:
                match.absent[name] = reason
            elif name not in match.rows:
                tuning.refuse_untried(match.tried, config, name)
                arms[name] = build(module, problem, options=options, name=name)
                arms[name].method.solver_name(Grid(config.sampling.steps, config.sampling.solver))
    if not match.arms:
        raise InputError(f"methods: none of them applies to {config.task.name}: {match.absent}")
    return arms


def _run(match: Match, arms: Mapping[str, Arm]) -> None:
    """Scores the bounds, trains what is not finished, scores and records it; completes the rows."""
    _score_bounds(match)
    crew.tell("train")
    trainers = _train(match, arms)
    match.proofs = order_proof.proofs(match, list(trainers.values()))
    for name in match.arms:
        if name not in match.rows:
            record = _record(match, name, trainers.get(name))
            match.rows[name] = record
            records.write(record, match.out)
            match.tracker.scores(name, record.scores, record.budget.steps if record.budget else 0)
    _draw_grid(match)


def _score_bounds(match: Match) -> None:
    """Floor and oracle, before anything is trained or written: what is wrong with a score is told
    while it costs nothing. InputError where the one that ranks cannot be computed."""
    from benchmarks.tasks import bounds

    prepared, primary, scored = match.prepared, match.score["primary"], {}
    task = match.config.task.name
    for name in (name for name in registry.BOUNDS if name not in match.rows):
        oracle = name == "oracle"
        values = bounds.oracle(prepared.test, prepared.decode) if oracle else prepared.floor()
        scored[name] = values, match.scored(name, values)
        reason = scored[name][1].unavailable.get(primary)
        if reason is not None and not match.config.quick:
            what = f"{primary}, which ranks the arms of {task}, cannot be computed"
            raise InputError(f"{what}: {reason}; quick=true runs without it, to compare nothing")
    if scored:
        truth, ends = prepared.truth, samples.ends(keys.digest(match.score))
        samples.keep(match.out, task, ends, truth.ids, truth.cells)
    for name, (values, scores) in scored.items():
        arm.keep(match, name, values, scores)
        match.rows[name] = recording.of_bound(match, name, scores)
        records.write(match.rows[name], match.out)


def _train(match: Match, arms: Mapping[str, Arm]) -> dict[str, Trainer]:
    """Trains to the end of the budgets on the same rows, and says how far it is. Ctrl-C and
    other signals write checkpoints when the step is done, then end the program."""
    import torch

    from crossflow.race import train_match
    from crossflow.train import Trainer, TrainingError

    config, by_name = match.config, dict[str, Trainer]()
    same = match.prepared.train, config.budget, config.training
    where = config.seed, match.device
    for name, built in arms.items():
        with _code_of(match, name), world.alike(torch.device(match.device), name, "Trainer"):
            folder, parallel = match.folder(name), config.parallel
            by_name[name] = Trainer(built, *same, folder, *where, parallel=parallel)
    trainers, budget, about = [*by_name.values()], config.budget, records.recorded_config(config)

    def open_trackers() -> None:
        for trainer in trainers:
            names = {"match": match.name, "run_id": match.ids[trainer.name]}
            own = {**about, **names, "method": trainer.name}
            match.tracker.open(trainer.name, trainer.folder, own)

    crew.agreed(open_trackers)
    with _signals_that_wait() as received:

        def report(trainer: Trainer) -> None:
            last, note = trainer.last, f"of {budget.limit:.3g} {budget.kind}"
            if last.get("steps") == trainer.spent.steps:  # it wrote a line
                match.tracker.line(trainer.name, last)
            if rate := last.get("samples_per_second"):
                note += f", loss {last['loss']:.3f}, {rate:.0f} samples/s"
            match.tell(trainer.name, "training", trainer.fraction, 1, note)
            if number := world.largest(received[0] if received else 0):
                received.append(number)  # where another process has heard it
                for begun in (t for t in trainers if t.spent.steps and t.failure is None):
                    begun.save()
                signals.stop(received[0])

        train_match(trainers, report)
        for trainer in (t for t in trainers if t.failure is None):
            if unlike := world.differing(trainer.arm):
                why = "differ between processes, each of which saw its own rows alone"
                trainer.abandon(TrainingError(f"{trainer.name}: buffers {', '.join(unlike)} {why}"))
            elif match.config.training.compile:
                trainer.average.net.compile()  # for sampling
    match.failures |= {t.name: t.failure for t in trainers if t.failure is not None}
    return by_name


@contextmanager
def _signals_that_wait() -> Iterator[list[int]]:
    """Collects signals, for a loop that stops when it has saved. One that comes a second after the
    first does not wait; sooner, it is torchrun passing on what its processes had themselves."""
    received, times = list[int](), list[float]()

    def note(number: int, frame: object) -> None:
        received.append(number)
        times.append(time.monotonic())
        if times[-1] - times[0] > 1:
            signals.stop(number)

    with signals.heard(note):
        yield received
    if received:  # after the last step
        signals.stop(received[0])


def _record(match: Match, name: str, trainer: Trainer | None) -> records.Record:
    """The scored arm; of one that failed, before or now, why."""
    if trainer is not None and name not in match.failures:
        with _code_of(match, name, InputError):
            return recording.of_arm(match, name, trainer, arm.evaluate(match, trainer))
    failure, log = match.failures[name], match.shared / f"{name}.log"
    write_atomic(log, "".join(traceback.format_exception(failure)))
    print(f"{name} failed: {failure} (traceback: {log})", file=sys.stderr)
    return recording.of_arm(match, name, trainer, None)


def _draw_grid(match: Match) -> None:
    """Source, truth and one row an arm of the first items, for a person to look at."""
    ends = zip(samples.ENDS, samples.ends(keys.digest(match.score)), strict=True)
    rows, kept = dict(ends) | match.ids, dict[str, samples.Samples]()
    for name, row in rows.items():
        path = samples.path_of(match.out, match.config.task.name, row)
        try:
            kept |= {name: samples.read(path)} if path is not None else {}
        except InputError as error:  # of an earlier run: the records stand
            print(f"picture grid without {name}: {error}", file=sys.stderr)
    if kept:
        count, path = min(len(samples.common(kept)), GRID_ITEMS), match.shared / "grid.png"
        samples.save_grid(path, {name: row.cells[:count] for name, row in kept.items()})
        print(f"picture grid: {path}", file=sys.stderr)
