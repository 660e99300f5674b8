"""One arm of a match after training: what is chosen on validation, the scores, the files."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmarks.match import crew
from benchmarks.match.sampling import Result, Sampler, Trial, choose_guidance
from benchmarks.metrics.score import merge
from benchmarks.records import samples
from benchmarks.records.record import write_items
from benchmarks.tasks.task import Trained
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.match.job import Match
    from benchmarks.metrics.score import Scored
    from crossflow.arm import Arm
    from crossflow.train import Trainer

LOSS_POINTS = 200  # rows of a file of losses: enough for a figure, small enough to commit


def evaluate(match: Match, trainer: Trainer) -> Result:
    """Guidance and curve on validation, then the test split once."""
    prepared, arm, name = match.prepared, trainer.average, trainer.name
    sampler, progress = _sampler(match), partial(match.tell, name, "sampling")
    with trainer.clock("tuning"):
        guidance, trials = _guidance(match, arm)
    with trainer.clock("eval"):
        curve = _curve(match, arm, guidance, trials)
        predicted = crew.predict(match, arm, "test", sampler, guidance, progress)
        scored = match.scored(name, predicted.values)
    _write_curves(match, name, trials, curve)
    _write_losses(match, trainer)
    keep(match, name, predicted.values, scored)
    with trainer.clock("other"):

        def more(kind: str, *cells: Any) -> None:
            samples.write(match.out, match.config.task.name, f"{match.ids[name]}-{kind}", *cells)

        place = match.folder(name), more, partial(match.tell, name)
        beside = match.task.draw_more(prepared, Trained(arm, sampler, guidance, *place))
        scored = merge([scored, beside]) if beside else scored
    crew.tell("save", name)
    trainer.save()
    return Result(arm, scored, guidance, predicted.nfe, trials)


def keep(match: Match, row: str, values: Any, scored: Scored) -> None:
    """Predictions in the run folder; items and samples beside the record."""
    truth, name = match.prepared.truth, match.config.task.name
    truth.write(match.folder(row) / "predictions", values)
    for path in (match.beside("items", row), match.folder(row) / "items.csv"):
        write_items(path, scored.items)
    samples.keep(match.out, name, [match.ids[row]], truth.ids, lambda i: [truth.cell(values, i)])


def _sampler(match: Match, steps: int | None = None) -> Sampler:
    from crossflow.solver import Grid

    config, sampling = match.config, match.config.sampling
    grid = Grid(steps or sampling.steps, sampling.solver)
    plain = Sampler(grid, sampling.batch, config.seed, match.device)
    return replace(plain, flip=config.task.flip_test, precision=sampling.precision)


def _guidance(match: Match, arm: Arm) -> tuple[float, list[Trial]]:
    """The weight a user gave, or the best on validation; 1 for a method without a null branch."""
    given = match.config.sampling.guidance
    if match.prepared.problem.null_rate == 0 or not arm.method.guided:
        given = 1.0
    if given is not None:
        return given, []
    return choose_guidance(lambda w: _try_out(match, arm, f"guidance, {w:g}", w))


def _curve(match: Match, arm: Arm, guidance: float, tried: list[Trial]) -> list[Trial]:
    """Quality against network evaluations; one point for a method that takes one pass."""
    known, trials = {(trial.guidance, trial.steps): trial for trial in tried}, list[Trial]()
    for steps in match.config.sampling.curve:
        trial = known.get((guidance, steps))
        trials.append(trial or _try_out(match, arm, f"curve, {steps} steps", guidance, steps))
        if len(trials) > 1 and trials[-1].nfe == trials[-2].nfe:
            return trials[:1]
    return trials


def _try_out(match: Match, arm: Arm, what: str, guidance: float, steps: int | None = None) -> Trial:
    """The primary score of validation items. InputError where it cannot be computed there."""
    prepared, sampler = match.prepared, _sampler(match, steps)
    primary = match.task.primary(len(prepared.validation_truth.ids))
    match.tell(arm.name, what, 0, 1)
    predicted = crew.predict(match, arm, "validation", sampler, guidance)
    scored = prepared.validation_truth.score(predicted.values)
    if primary not in scored.scores:
        why = f"{primary} of validation items: {scored.unavailable.get(primary)}"
        raise InputError(f"{why}; give sampling.guidance and no sampling.curve")
    score = scored.scores[primary]
    match.tell(arm.name, what, 1, 1, f"{primary} {score.value:.4g}")
    return Trial(guidance, sampler.grid.steps, predicted.nfe, primary, score)


def _write_losses(match: Match, trainer: Trainer) -> None:
    """stats.jsonl thinned to LOSS_POINTS rows: means of neighbouring lines, steps of the last."""
    lines = [json.loads(line) for line in trainer.journal.read_text().splitlines()]
    lines = [{**line, **line["terms"], "loss": line["loss"]} for line in lines]
    bins = min(LOSS_POINTS, len(lines))
    parts = [lines[i * len(lines) // bins : (i + 1) * len(lines) // bins] for i in range(bins)]
    columns = {name: [part[-1][name] for part in parts] for name in ("steps", "samples")}
    for name in ["loss", *sorted({name for line in lines for name in line["terms"]})]:
        cells = ([line[name] for line in part if name in line] for part in parts)
        columns[name] = [fmean(cell) if cell else None for cell in cells]  # a stage may lack one
    write_items(match.beside("curves", trainer.name, "-losses.csv"), columns)


def _write_curves(match: Match, arm: str, guidance: list[Trial], steps: list[Trial]) -> None:
    """What was measured on validation: guidance at full steps, then steps at the chosen weight."""
    sweeps = [("guidance", trial) for trial in guidance] + [("steps", trial) for trial in steps]
    rows = [{"sweep": name, **trial._asdict(), **asdict(trial.score)} for name, trial in sweeps]
    names = "sweep guidance steps nfe metric value stderr n".split()
    if rows:
        write_items(match.beside("curves", arm), {n: [row[n] for row in rows] for n in names})
