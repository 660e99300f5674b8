"""One arm of a match after training: what is chosen on validation, the scores, the files."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.match import recording
from benchmarks.match.sampling import Sampler, Trial, choose_guidance, try_out
from benchmarks.records import samples
from benchmarks.records.record import write_items
from benchmarks.tasks.task import Trained

if TYPE_CHECKING:
    from benchmarks.match.job import Match
    from benchmarks.metrics.score import Scored
    from benchmarks.records.record import Record
    from crossflow.train import Trainer

LOSS_POINTS = 200  # rows of a file of losses: enough for a figure, small enough to commit

T = TypeVar("T")


def evaluate(match: Match, trainer: Trainer, proofs: dict[str, Any]) -> Record:
    """Guidance and curve on validation, then the test split once."""
    prepared, arm, name = match.prepared, recording.averaged(trainer), trainer.name
    label = f"{match.config.task.name} {name}"
    with trainer.clock("tuning"):
        guidance, trials = _guidance(match, trainer)
    with trainer.clock("eval"):
        curve = _curve(match, trainer, guidance)
        predicted = _sampler(match).predict(
            arm,
            prepared.test,
            prepared.decode,
            guidance,
            lambda done, total: match.progress(f"{label}: sampling", done, total),
        )
        match.progress(f"{label}: scoring", 0, 1)
        scored = prepared.truth.score(predicted.values)
        match.progress(f"{label}: scoring", 1, 1)
    _write_curves(match, name, trials, curve)
    _write_losses(match, trainer)
    keep(match, name, predicted.values, scored)
    with trainer.clock("other"):
        _sample_extra(match, trainer, guidance)
        match.task.draw_more(prepared, _trained(match, trainer, guidance))
    trainer.save()
    return recording.completed(match, trainer, scored, guidance, predicted.nfe, trials, proofs)


def keep(match: Match, row: str, values: Any, scored: Scored) -> None:
    """Predictions in the run folder; items and samples beside the record."""
    truth = match.prepared.truth
    truth.write(match.folder(row) / "predictions", values)
    for path in (match.beside("items", row), match.folder(row) / "items.csv"):
        write_items(path, scored.items)
    ids, cells = first_items(match, lambda index: truth.cell(values, index))
    samples.write(match.out, match.config.task.name, match.ids[row], ids, cells)


def first_items(match: Match, cell: Callable[[int], T]) -> tuple[Sequence[str], list[T]]:
    """Ids of the test items that samples are kept of, and what `cell` makes of their numbers."""
    ids = match.prepared.truth.ids[: samples.ITEMS]
    return ids, [cell(index) for index in range(len(ids))]


def _sampler(match: Match, steps: int | None = None) -> Sampler:
    from crossflow.solver import Grid

    sampling = match.config.sampling
    grid = Grid(steps or sampling.steps, sampling.solver)
    flip = match.config.task.flip_test
    return Sampler(grid, sampling.batch, match.config.seed, match.device, flip=flip)


def _measure(match: Match, trainer: Trainer, what: str) -> Callable[[Sampler, float], Trial]:
    """The primary score of validation items at a setting, shown while it is measured."""
    arm, primary = recording.averaged(trainer), match.primary_on_validation

    def measure(sampler: Sampler, weight: float) -> Trial:
        setting = f"{sampler.grid.steps} steps" if what == "curve" else f"{weight:g}"
        label = f"{match.config.task.name} {trainer.name}: {what}, {setting}"
        match.progress(label, 0, 1)
        trial = try_out(arm, sampler, match.prepared, primary, weight)
        match.progress(label, 1, 1, f"{primary} {trial.score.value:.4g}")
        return trial

    return measure


def _guidance(match: Match, trainer: Trainer) -> tuple[float, list[Trial]]:
    """The weight a user gave, or the best on validation; 1 for a method without a null branch."""
    given, arm = match.config.sampling.guidance, recording.averaged(trainer)
    if not arm.method.guided or match.prepared.problem.null_rate == 0:
        return 1.0, []
    if given is not None:
        return given, []
    measure, sampler = _measure(match, trainer, "guidance"), _sampler(match)
    return choose_guidance(lambda weight: measure(sampler, weight))


def _curve(match: Match, trainer: Trainer, guidance: float) -> list[Trial]:
    """Quality against network evaluations; one point for a method that takes one pass."""
    measure, trials = _measure(match, trainer, "curve"), []
    for steps in match.config.sampling.curve:
        trials.append(measure(_sampler(match, steps), guidance))
        if len(trials) > 1 and trials[-1].nfe == trials[-2].nfe:
            return trials[:1]
    return trials


def _sample_extra(match: Match, trainer: Trainer, guidance: float) -> None:
    """Samples of the task's further sources, into a folder of the run that is made anew."""
    extra = match.prepared.extra
    if extra is None:
        return
    label = f"{match.config.task.name} {trainer.name}: sampling for {extra.name}"
    rows = len(extra.store)
    drawn = [
        replace(_sampler(match), draw=draw)
        .predict(
            recording.averaged(trainer),
            extra.store,
            match.prepared.decode,
            guidance,
            lambda done, _, before=draw * rows: match.progress(  # type: ignore[misc]
                label, before + done, extra.draws * rows
            ),
        )
        .values
        for draw in range(extra.draws)
    ]
    folder = match.folder(trainer.name) / extra.name
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed here
    extra.write(folder, drawn)
    print(f"{extra.name}: {folder}", file=sys.stderr)


def _trained(match: Match, trainer: Trainer, guidance: float) -> Trained:
    """The arm, as its task may draw more of it."""
    arm, task = recording.averaged(trainer), match.config.task.name

    def keep(kind: str, ids: Sequence[str], cells: Sequence[samples.Cell]) -> None:
        samples.write(match.out, task, f"{match.ids[trainer.name]}-{kind}", ids, cells)

    def report(stage: str, done: int, total: int) -> None:
        match.progress(f"{task} {trainer.name}: {stage}", done, total)

    return Trained(arm, _sampler(match), guidance, match.folder(trainer.name), keep, report)


def _write_losses(match: Match, trainer: Trainer) -> None:
    """stats.jsonl thinned to LOSS_POINTS rows: means of neighbouring lines, steps of the last."""
    lines = [json.loads(line) for line in trainer.journal.path.read_text().splitlines()]
    bins = min(LOSS_POINTS, len(lines))
    parts = [lines[i * len(lines) // bins : (i + 1) * len(lines) // bins] for i in range(bins)]
    columns: dict[str, Sequence[Any]] = {
        "steps": [part[-1]["steps"] for part in parts],
        "samples": [part[-1]["samples"] for part in parts],
        "loss": [fmean(line["loss"] for line in part) for part in parts],
    }
    for name in sorted({name for line in lines for name in line["terms"]}):
        columns[name] = [fmean(line["terms"][name] for line in part) for part in parts]
    write_items(match.beside("curves", trainer.name, "-losses.csv"), columns)


def _write_curves(
    match: Match, arm: str, guidance: Sequence[Trial], steps: Sequence[Trial]
) -> None:
    """What was measured on validation: guidance at full steps, then steps at the chosen weight."""
    trials = [*guidance, *steps]
    if not trials:
        return
    columns: dict[str, Sequence[Any]] = {
        "sweep": ["guidance"] * len(guidance) + ["steps"] * len(steps),
        "guidance": [trial.guidance for trial in trials],
        "steps": [trial.steps for trial in trials],
        "nfe": [trial.nfe for trial in trials],
        "metric": [match.primary_on_validation] * len(trials),
        "value": [trial.score.value for trial in trials],
        "stderr": [trial.score.stderr for trial in trials],
        "n": [trial.score.n for trial in trials],
    }
    write_items(match.beside("curves", arm), columns)
