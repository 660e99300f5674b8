"""One job: its configuration, its task made ready, and the names its files go by."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.records import keys
from benchmarks.records import record as records

if TYPE_CHECKING:
    from benchmarks.config.schema import Config
    from benchmarks.match.progress import Progress, Tracker
    from benchmarks.tasks.task import Prepared, Task
    from crossflow.errors import ArmError


@dataclass
class Match:
    """A job whose data are ready. Rows go by the arm's name, or by floor and oracle."""

    config: Config
    task: Task[Any]
    prepared: Prepared
    ids: dict[str, str]  # run_id of each row
    score: dict[str, Any]  # what makes scores comparable; its digest is the score key
    device: str
    progress: Progress
    tracker: Tracker
    modules: dict[str, Any] = field(default_factory=dict)  # module of each arm that applies
    absent: dict[str, str] = field(default_factory=dict)  # why the other arms do not apply
    failures: dict[str, ArmError] = field(default_factory=dict)  # of arms that cannot be trained

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

    def folder(self, row: str) -> Path:
        """Of the run: predictions, checkpoints, weights."""
        return Path(self.config.work) / self.config.task.name / self.ids[row]

    def beside(self, kind: str, row: str, ending: str = ".csv") -> Path:
        """A file that stands beside the record of a row."""
        return self.out / kind / self.config.task.name / f"{self.ids[row]}{ending}"
