"""The record: one strict JSON file per arm, the only thing a run leaves that others build on."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic_core import from_json

from benchmarks.config.inputs import is_file, stamp
from benchmarks.config.schema import PLACES, Config
from benchmarks.metrics.score import Score
from benchmarks.records.keys import digest
from crossflow.budget import MEMORY
from crossflow.errors import InputError
from crossflow.files import sha256, write_atomic

# Fields of the free sections that no report can do without.
NEEDED: dict[str, dict[str, tuple[type, ...]]] = {
    "config": {"seed": (int,)},
    "score": {"version": (int,), "split": (str,), "primary": (str,)},
    "fair": {"model": (str,), "budget_kind": (str,), "budget_limit": (int, float)},
}
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # it becomes a file name


class Strict(BaseModel):
    """No unknown key, no conversion between types, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Fair(Strict):
    """Why this row may stand beside others: the fields behind both keys, and the proof."""

    score: dict[str, JsonValue]
    fair: dict[str, JsonValue] | None
    proof: dict[str, JsonValue]  # chained hash of training ids, gaps between arms, what was frozen


class Model(Strict):
    """The network as it was sampled."""

    size: Name
    params: int  # used at inference, encoder included
    params_encoder: int
    evaluation_flops: float  # of one network evaluation on one item
    sample_flops: float  # of one finished item, encoder and all evaluations included
    solver: str | None
    nfe: int
    guidance: float | None
    network: dict[str, JsonValue] = {}  # depth, width; path, times


class Budget(Strict):
    """The one limit, and what was spent of all quantities that repeat from run to run."""

    kind: Literal["device_seconds", "flops", "samples", "steps"]
    limit: float
    steps: int
    samples: int
    train_flops: float
    convention: str  # what the FLOPs count, in words


class Source(Strict):
    """What x0 is, averaged over items and dimensions: numbers of `match.recording`."""

    sigma_mean: float | None
    mu_std: float | None
    kl_per_dimension: float | None
    transport: float | None


class Volatile(Strict):
    """All that may differ between two equal runs. Seconds, bytes, samples a second."""

    created: str
    commit: str | None = None
    command: str | None = None
    device: str | None = None
    devices: int | None = None
    threads: int | None = None
    device_seconds: float | None = None
    throughput: float | None = None
    utilisation: float | None = None
    peak_memory: int | None = None
    ledgers: dict[str, float] = {}
    host: dict[str, JsonValue] = {}
    versions: dict[str, str] = {}
    paths: dict[str, str] = {}
    error: str | None = None


class Record(Strict):
    """One arm of one match, or one evaluation of somebody's predictions (kind)."""

    schema_: Literal[1] = Field(alias="schema", default=1)
    run_id: Name
    match: Name | None
    kind: Literal["run", "evaluation"]
    task: Name
    method: Name  # the arm's name; the options of one that has some are config["arm"][method]
    status: Literal["completed", "failed"]
    score_key: str
    fair_key: str | None
    fair: Fair
    config: dict[str, JsonValue]
    scores: dict[str, Score]
    unavailable: dict[str, str]
    model: Model | None
    budget: Budget | None
    source: Source | None
    volatile: Volatile

    @model_validator(mode="after")
    def _consistent(self) -> Record:
        """Keys are digests of their fields, a ranked row has a budget, NEEDED fields are there."""
        score, fair = self.fair.score, self.fair.fair
        twice = self.scores.keys() & self.unavailable.keys()
        ranked, done = self.fair_key is not None, self.status == "completed"
        rules = {
            "score_key is not the digest of fair.score": self.score_key == digest(score),
            "fair_key is not the digest of fair.fair": self.fair_key == (fair and digest(fair)),
            "task differs from fair.score.task": self.task == score.get("task"),
            f"both scored and unavailable: {', '.join(sorted(twice))}": not twice,
            "only a trained arm with a budget has a fair_key": not ranked
            or (self.kind == "run" and self.budget),
            "a failed run has no scores": done or not self.scores,
            "a completed arm has a model": not (done and ranked) or self.model,
        }
        sections = {"config": self.config, "score": score} | ({"fair": fair} if fair else {})
        for section, fields in sections.items():
            for name, kinds in NEEDED[section].items():
                value = fields.get(name)
                rules[f"{section}.{name} cannot be {value!r}"] = type(value) in kinds
        for rule, holds in rules.items():
            if not holds:
                raise ValueError(rule)
        return self

    @property
    def primary(self) -> str:
        """Name of the task's primary score."""
        return str(self.fair.score["primary"])

    @property
    def seed(self) -> int:
        return cast(int, self.config["seed"])

    @property
    def quick(self) -> bool:
        """Made by a preset that is too small to compare methods."""
        return bool(self.config.get("quick", False))

    def stable(self) -> dict[str, Any]:
        """The part that equal runs share: everything but `volatile`."""
        return self.model_dump(exclude={"volatile"})


def recorded_config(config: Config) -> dict[str, Any]:
    """The resolved configuration as a record keeps it: without its PLACES.

    A user's own files count by their content; shards, and files that options of arms name, by
    their names, sizes and times.
    """
    fields = {name: value for name, value in asdict(config).items() if name not in PLACES}
    for name in ("arm", "task_file"):  # younger than the first records, which lack them
        if not fields[name]:
            del fields[name]
    if not config.task.standard_sums:  # as young
        del fields["task"]["standard_sums"]
    if config.sampling.precision == "fp32":
        del fields["sampling"]["precision"]
    for name, off in MEMORY.items():
        if fields["training"][name] == off:
            del fields["training"][name]
    for name in ("task_file", "method_file"):
        if (path := getattr(config, name)) is not None:
            fields[f"{name}_sha256"] = sha256(Path(path))
    options = [(f"arm.{a}.{o}", str(v)) for a, of in config.arm.items() for o, v in of.items()]
    paths = {field: Path(value).expanduser() for field, value in options}
    named = {f: stamp(p.parent, glob.escape(p.name), f) for f, p in paths.items() if is_file(p)}
    fields |= {"arm_files": named} if named else {}
    if config.task.train_root is not None:
        fields["train_root_files"] = stamp(Path(config.task.train_root), "*.tar", "task.train_root")
    return fields


def record_path(out: Path, task: str, run_id: str) -> Path:
    return out / "records" / task / f"{run_id}.json"


def write(record: Record, out: Path) -> Path:
    """Writes a record, whole or not at all, in place of one of that name; returns its path."""
    path = record_path(out, record.task, record.run_id)
    plain = record.model_dump(mode="json", by_alias=True)
    text = json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_atomic(path, text + "\n")
    return path


def read(path: Path) -> Record:
    """One record. InputError with the file, the first wrong field, and what to do."""
    hint = "put back a copy, or move it away"
    try:
        text = path.read_bytes()
        from_json(text, allow_inf_nan=False)  # a model's free fields would take Infinity
        # From JSON: only there does strict pydantic build a dataclass, `Score`, from an object.
        record = Record.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "record"
        raise InputError(f"{path}: {where}: {first['msg']}; {hint}") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a record ({error}); {hint}") from error
    if "schema_" not in record.model_fields_set:
        raise InputError(f"{path}: no schema")
    if (path.parent.name, path.stem) != (record.task, record.run_id):
        raise InputError(f"{path}: holds the record {record.task}/{record.run_id}")
    return record


def read_all(out: Path) -> list[Record]:
    """All records under `out`, ordered by task and run_id. InputError where there is none."""
    paths = sorted((out / "records").glob("[!.]*/[!.]*.json"))  # hidden: a writer's unfinished file
    if not paths:
        raise InputError(f"no records under {out / 'records'}: run something first, or give --out")
    return [read(path) for path in paths]


def write_items(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Writes columns as CSV, a row an item, `id` first; None is an empty cell, floats are exact."""
    import pandas as pd

    names = sorted(columns, key=lambda name: name != "id")
    table = pd.DataFrame({name: columns[name] for name in names}, dtype=object)
    write_atomic(path, table.to_csv(index=False, lineterminator="\n"))
