"""One job: its configuration, its task, the names its files go by, and what it cannot have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config import registry
from benchmarks.config.device import resolve
from benchmarks.match import recording, tuning
from benchmarks.match.progress import Progress, Tracker
from benchmarks.records import keys
from benchmarks.records import record as records
from benchmarks.report import references
from benchmarks.report.check import nearest
from benchmarks.report.references import Reference
from crossflow import world
from crossflow.errors import InputError

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.metrics.score import Scored
    from benchmarks.tasks.task import Prepared, Task
    from crossflow.problem import Problem

Rows = dict[str, records.Record]  # by the arm's name, or floor and oracle


class Match:
    """A job and what is known of its rows, which go by the arm's name, or by floor and oracle."""

    def __init__(self, config: Config) -> None:
        self.config, self.out = config, Path(config.out)
        self.tried = tuning.tune(config)  # before the names that records go by
        first = world.rank() == 0
        self.progress, self.tracker = (
            Progress(not first),
            Tracker(config.tracker if first else "none"),
        )
        self.device, self.ids = resolve(config.device), run_ids(config)
        self.task: Task[Any] = registry.task_of(config)(config, self.progress)
        self.rows: Rows = {}
        self.absent: dict[str, str] = {}  # why arms do not apply
        self.failures: dict[str, Exception] = {}  # of arms that could not be built or trained
        self.proofs: dict[str, Any] = {}  # of the order in which arms read the training data
        # <task>-s<seed>-<8 hex of the configuration>: what all arms share goes by it.
        digest = keys.digest(records.recorded_config(config), 8)
        self.name = f"{config.task.name}-s{config.seed}-{digest}"
        self.runs = Path(config.work) / config.task.name
        self.shared = self.runs / self.name  # lock, grid.png, logs of failures

    @cached_property
    def score(self) -> dict[str, Any]:
        """What makes scores comparable; its digest is the score key."""
        return self.task.score_fields()

    @cached_property
    def prepared(self) -> Prepared:
        return self.task.prepare()

    @property
    def arms(self) -> list[str]:
        """Those that apply to the task."""
        return [name for name in self.config.methods if name not in self.absent]

    def folder(self, row: str) -> Path:
        """Of the run: predictions, checkpoints, weights."""
        return self.runs / self.ids[row]

    def beside(self, kind: str, row: str, ending: str = ".csv") -> Path:
        """A file that stands beside the record of a row."""
        return self.out / kind / self.config.task.name / f"{self.ids[row]}{ending}"

    def tell(self, row: str, stage: str, done: float, total: float, note: str = "") -> None:
        """How far a row is."""
        self.progress(f"{self.config.task.name} {row}: {stage}", done, total, note)

    def scored(self, row: str, values: Any) -> Scored:
        """The scores of predictions for the test items."""
        self.tell(row, "scoring", 0, 1)
        scored: Scored = self.prepared.truth.score(values)
        self.tell(row, "scoring", 1, 1)
        return scored


def run_ids(config: Config) -> dict[str, str]:
    """The run_id of every row, floor and oracle included; new ones with resume=false."""
    plain, task = records.recorded_config(config), config.task.name
    ids = {row: keys.run_id(task, row, plain) for row in (*registry.BOUNDS, *config.methods)}
    return ids if config.resume else unused(config, ids)


def unused(config: Config, ids: Mapping[str, str]) -> dict[str, str]:
    """The ids, or all with the first of the endings -2, -3 ... under which there is no record and
    no run folder, whose run may be unfinished."""
    task, new, number = config.task.name, dict(ids), 1
    while any(
        (Path(config.work) / task / run_id).exists()
        or records.record_path(Path(config.out), task, run_id).exists()
        for run_id in new.values()
    ):
        number += 1
        new = {row: f"{run_id}-{number}" for row, run_id in ids.items()}
    return new


def refuse_guidance_without_effect(config: Config, problem: Problem) -> None:
    """InputError for a weight where arms have no null branch."""
    given = config.sampling.guidance
    # The quick preset gives one weight for all its tasks; it is not for comparison.
    if given is not None and problem.null_rate == 0 and not config.quick:
        why = f"{config.task.name} trains no null rows to guide by; leave it out"
        raise InputError(f"sampling.guidance={given:g}: {why}")


def refuse_sampling_without_effect(match: Match) -> None:
    """Guidance of arms that have no null branch, and a tuning whose score cannot be computed."""
    config, items = match.config, len(match.prepared.validation_truth.ids)
    problem, given = match.prepared.problem, config.sampling.guidance
    refuse_guidance_without_effect(config, problem)
    guided = problem.null_rate > 0
    if (guided and given is None) or config.sampling.curve:
        primary, reason = match.task.primary(items), match.task.unavailable()
        if primary.startswith("kid") and items < 100:
            reason = reason or f"KID needs 100 items, task.validation_limit={items}"
        if reason is not None:
            why = f"guidance or a curve is chosen by {primary}, which cannot be computed: {reason}"
            raise InputError(f"{why}; or give sampling.guidance and no sampling.curve")


def require_references(match: Match, rows: Sequence[Reference]) -> None:
    """InputError unless every row of the match has a reference of its protocol."""
    prepared, task, race = match.prepared, match.config.task, recording.fair_fields(match)
    crawled = prepared.train.digest if match.task.crawled() else None
    data = task.train_limit, prepared.frozen, crawled
    known = [(name, None, references.bound_fields(name, *data)) for name in registry.BOUNDS]
    for name, fair, frame in [*known, *((name, race, {}) for name in match.arms)]:
        fields = {"score": match.score, "fair": fair, "frame": frame}
        stored, differences = nearest(rows, task.name, name, fields)
        if not stored or differences:
            why = "; ".join(differences) or "python -m benchmarks.report check --accept makes one"
            what = f"{task.name} {name} of this protocol (this run / reference)"
            raise InputError(f"{references.default_file()} has no reference of {what}: {why}")
