"""One arm of a match after training: what is chosen on validation, the scores, the files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmarks.match import recording
from benchmarks.match.sampling import Result, Sampler, Trial, choose_guidance
from benchmarks.records import samples
from benchmarks.records.record import write_items
from benchmarks.tasks.task import Trained
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.match.job import Match
    from benchmarks.metrics.score import Scored
    from crossflow.train import Trainer

LOSS_POINTS = 200  # rows of a file of losses: enough for a figure, small enough to commit


def evaluate(match: Match, trainer: Trainer) -> Result:
    """Guidance and curve on validation, then the test split once."""
    prepared, arm, name = match.prepared, recording.averaged(trainer), trainer.name
    label = f"{match.config.task.name} {name}"

    def progress(done: int, total: int) -> None:
        match.progress(f"{label}: sampling", done, total)

    with trainer.clock("tuning"):
        guidance, trials = _guidance(match, trainer)
    with trainer.clock("eval"):
        curve = _curve(match, trainer, guidance)
        sampler = _sampler(match)
        predicted = sampler.predict(arm, prepared.test, prepared.decode, guidance, progress)
        match.progress(f"{label}: scoring", 0, 1)
        scored = prepared.truth.score(predicted.values)
        match.progress(f"{label}: scoring", 1, 1)
    _write_curves(match, name, trials, curve)
    _write_losses(match, trainer)
    keep(match, name, predicted.values, scored)
    with trainer.clock("other"):
        match.task.draw_more(prepared, _trained(match, trainer, guidance))
    trainer.save()
    return Result(scored, guidance, predicted.nfe, trials)


def keep(match: Match, row: str, values: Any, scored: Scored) -> None:
    """Predictions in the run folder; items and samples beside the record."""
    truth, name = match.prepared.truth, match.config.task.name
    truth.write(match.folder(row) / "predictions", values)
    for path in (match.beside("items", row), match.folder(row) / "items.csv"):
        write_items(path, scored.items)
    samples.keep(match.out, name, [match.ids[row]], truth.ids, lambda i: [truth.cell(values, i)])


def _sampler(match: Match, steps: int | None = None) -> Sampler:
    from crossflow.solver import Grid

    sampling = match.config.sampling
    grid = Grid(steps or sampling.steps, sampling.solver)
    return Sampler(
        grid, sampling.batch, match.config.seed, match.device, flip=match.config.task.flip_test
    )


def _guidance(match: Match, trainer: Trainer) -> tuple[float, list[Trial]]:
    """The weight a user gave, or the best on validation; 1 for a method without a null branch."""
    given, arm = match.config.sampling.guidance, recording.averaged(trainer)
    if not arm.method.guided or match.prepared.problem.null_rate == 0:
        return 1.0, []
    if given is not None:
        return given, []
    return choose_guidance(lambda w: _try_out(match, trainer, f"guidance, {w:g}", w))


def _curve(match: Match, trainer: Trainer, guidance: float) -> list[Trial]:
    """Quality against network evaluations; one point for a method that takes one pass."""
    trials: list[Trial] = []
    for steps in match.config.sampling.curve:
        trials.append(_try_out(match, trainer, f"curve, {steps} steps", guidance, steps))
        if len(trials) > 1 and trials[-1].nfe == trials[-2].nfe:
            return trials[:1]
    return trials


def _try_out(
    match: Match, trainer: Trainer, what: str, guidance: float, steps: int | None = None
) -> Trial:
    """The primary score of validation items. InputError where it cannot be computed there."""
    prepared, primary, sampler = match.prepared, match.primary_on_validation, _sampler(match, steps)
    label = f"{match.config.task.name} {trainer.name}: {what}"
    match.progress(label, 0, 1)
    arm = recording.averaged(trainer)
    predicted = sampler.predict(arm, prepared.validation, prepared.decode, guidance)
    scored = prepared.validation_truth.score(predicted.values)
    if primary not in scored.scores:
        raise InputError(
            f"{primary} is unavailable on {len(predicted.values)} validation items "
            f"({scored.unavailable.get(primary, 'unknown score')}): raise task.validation_limit, "
            "or give sampling.guidance and no sampling.curve"
        )
    score = scored.scores[primary]
    match.progress(label, 1, 1, f"{primary} {score.value:.4g}")
    return Trial(guidance, sampler.grid.steps, predicted.nfe, score)


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
    lines = [json.loads(line) for line in trainer.journal.read_text().splitlines()]
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
