"""One row of a match after training: what is chosen on validation, the scores, the files."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmarks.match import arm_record
from benchmarks.match.sampling import Sampler, Trial, choose_guidance, try_out
from benchmarks.records import keys, samples
from benchmarks.records.record import write_items
from benchmarks.tasks.task import Trained

if TYPE_CHECKING:
    from benchmarks.match.match import Match
    from benchmarks.metrics.score import Scored
    from benchmarks.records.record import Record
    from crossflow.train import Trainer

GRID_ITEMS = 8  # columns of grid.png
LOSS_POINTS = 200  # rows of a file of losses: enough for a figure, small enough to commit


def frame(match: Match, name: str) -> tuple[Any, Scored]:
    """The floor (no source seen) or the oracle (the truth through the codec): values and scores."""
    from benchmarks.tasks import bounds

    prepared = match.prepared
    match.progress(f"{name}: scoring", 0, 1)
    if name == "floor":
        values = prepared.floor()
    else:
        values = bounds.oracle(prepared.test, prepared.decode)
    scored = prepared.truth.score(values)
    match.progress(f"{name}: scoring", 1, 1)
    return values, scored


def keep_frame(
    match: Match, name: str, values: Any, scored: Scored
) -> tuple[Record, list[samples.Cell]]:
    """The record of a framing row and its cells of the grid; writes what stands beside it."""
    _keep(match, name, values, scored)
    return arm_record.framing(match, name, scored), grid_cells(match, values)


def evaluate(
    match: Match, trainer: Trainer, proofs: dict[str, Any]
) -> tuple[Record, list[samples.Cell]]:
    """Guidance and curve on validation, then the test split once; gives record and grid cells."""
    prepared, arm = match.prepared, arm_record.averaged(trainer)
    label = f"{match.config.task.name} {trainer.name}"
    with trainer.clock("tuning"):
        guidance, trials = _guidance(match, trainer)
    with trainer.clock("eval"):
        curve = _curve(match, trainer, guidance)
        found = _sampler(match).predict(
            arm,
            prepared.test,
            prepared.decode,
            guidance,
            lambda done, total: match.progress(f"{label}: sampling", done, total),
            prepared.mirror,
        )
        match.progress(f"{label}: scoring", 0, 1)
        scored = prepared.truth.score(found.values)
        match.progress(f"{label}: scoring", 1, 1)
    _write_curves(match, trainer.name, trials, curve)
    _write_losses(match, trainer)
    _keep(match, trainer.name, found.values, scored)
    with trainer.clock("other"):
        _sample_extra(match, trainer, guidance)
        match.task.draw_more(prepared, _trained(match, trainer, guidance))
    trainer.save()
    record = arm_record.completed(match, trainer, scored, guidance, found.nfe, trials, proofs)
    return record, grid_cells(match, found.values)


def _sampler(match: Match, steps: int | None = None) -> Sampler:
    from crossflow.solver import Grid

    sampling = match.config.sampling
    grid = Grid(steps or sampling.steps, sampling.solver)
    return Sampler(grid, sampling.batch, match.config.seed, match.device)


def _measure(match: Match, trainer: Trainer, what: str) -> Callable[[Sampler, float], Trial]:
    """The primary score of validation items at a setting, shown while it is measured."""
    arm, primary = arm_record.averaged(trainer), match.primary_on_validation

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
    given, arm = match.config.sampling.guidance, arm_record.averaged(trainer)
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


def _keep(match: Match, method: str, values: Any, scored: Scored) -> None:
    """Predictions in the run folder; items and samples beside the record."""
    truth, name = match.prepared.truth, match.config.task.name
    truth.write(match.folder(method) / "predictions", values)
    write_items(match.out / "items" / name / f"{match.ids[method]}.csv", scored.items)
    write_items(match.folder(method) / "items.csv", scored.items)
    ids = truth.ids[: samples.ITEMS]
    cells = [truth.cell(values, index) for index in range(len(ids))]
    _sample(match, match.ids[method], ids, cells)


def keep_ends(match: Match) -> None:
    """Samples of source and truth, which all matches with the same items and truth share."""
    truth, score_key = match.prepared.truth, keys.digest(match.score_fields)
    ids = truth.ids[: samples.ITEMS]
    cells = end_cells(match, samples.ITEMS)
    samples.keep_ends(match.out, match.config.task.name, score_key, ids, cells)


def end_cells(match: Match, most: int) -> list[tuple[samples.Cell, samples.Cell]]:
    """Source and truth of the first items."""
    truth = match.prepared.truth
    return [truth.cells(index) for index in range(min(most, len(truth.ids)))]


def grid_cells(match: Match, values: Any) -> list[samples.Cell]:
    """The first items of a row, as they are shown: all that a match holds of its predictions."""
    truth = match.prepared.truth
    return [truth.cell(values, index) for index in range(min(GRID_ITEMS, len(truth.ids)))]


def _sample(match: Match, row: str, ids: Sequence[str], cells: Sequence[samples.Cell]) -> None:
    samples.write(match.out, match.config.task.name, row, ids, cells)


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
            arm_record.averaged(trainer),
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
    arm, run_id = arm_record.averaged(trainer), match.ids[trainer.name]
    label = f"{match.config.task.name} {trainer.name}"

    def keep(kind: str, ids: Sequence[str], cells: Sequence[samples.Cell]) -> None:
        _sample(match, f"{run_id}-{kind}", ids, cells)

    def report(stage: str, done: int, total: int) -> None:
        match.progress(f"{label}: {stage}", done, total)

    folder = match.folder(trainer.name)
    return Trained(arm, _sampler(match), guidance, folder, keep, report)


def _write_losses(match: Match, trainer: Trainer) -> None:
    """stats.jsonl thinned to LOSS_POINTS rows: means of neighbouring lines, steps of the last."""
    lines = [json.loads(line) for line in trainer.journal.path.read_text().splitlines()]
    bins = min(LOSS_POINTS, len(lines))
    parts = [lines[i * len(lines) // bins : (i + 1) * len(lines) // bins] for i in range(bins)]
    terms = sorted({name for line in lines for name in line["terms"]})
    columns: dict[str, Sequence[Any]] = {
        "steps": [part[-1]["steps"] for part in parts],
        "samples": [part[-1]["samples"] for part in parts],
        "loss": [fmean(line["loss"] for line in part) for part in parts],
    }
    for name in terms:
        columns[name] = [fmean(line["terms"][name] for line in part) for part in parts]
    task = match.config.task.name
    write_items(match.out / "curves" / task / f"{match.ids[trainer.name]}-losses.csv", columns)


def _write_curves(
    match: Match, method: str, guidance: Sequence[Trial], steps: Sequence[Trial]
) -> None:
    """What was measured on validation: guidance at full steps, then steps at the chosen weight."""
    rows = [("guidance", t) for t in guidance] + [("steps", t) for t in steps]
    if not rows:
        return
    columns: dict[str, Sequence[Any]] = {
        "sweep": [sweep for sweep, _ in rows],
        "guidance": [trial.guidance for _, trial in rows],
        "steps": [trial.steps for _, trial in rows],
        "nfe": [trial.nfe for _, trial in rows],
        "metric": [match.primary_on_validation] * len(rows),
        "value": [trial.score.value for _, trial in rows],
        "stderr": [trial.score.stderr for _, trial in rows],
        "n": [trial.score.n for _, trial in rows],
    }
    name = f"{match.ids[method]}.csv"
    write_items(match.out / "curves" / match.config.task.name / name, columns)
