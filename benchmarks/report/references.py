"""expected.csv: the values that regression checks compare with, and where they come from.

One row per task, method, protocol and metric; the columns are the fields of `Reference`. A floor
may be edited by hand, and stays when its row is replaced.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator as After
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic import BeforeValidator as Before
from pydantic_core import from_json

from benchmarks.records.keys import canonical, digest
from benchmarks.records.record import Record
from benchmarks.report.tolerance import floor_at
from crossflow.errors import InputError

Fields = dict[str, Any]
REPOSITORY = Path(__file__).resolve().parents[2]


def _words(cell: Any) -> Any:
    return tuple(cell.split(";") if cell else ()) if isinstance(cell, str) else cell


def _json(cell: Any) -> Any:
    return from_json(cell, allow_inf_nan=False) if isinstance(cell, str) else cell


def _floor(cell: str) -> str:
    floor_at(cell, 1.0)
    return cell


Words = Before(_words)
Json = Before(_json)
Empty = Before(lambda cell: None if cell == "" else cell)
Filled = Annotated[str, Field(min_length=1)]


class Reference(BaseModel):
    """One row; the fields are the columns, in the order of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    task: Filled
    method: Filled
    metric: Filled
    kind: Literal["exact", "seeded", "statistical"] = Field(alias="class")  # see `tolerance`
    better: Literal["higher", "lower"]
    seeds: Annotated[tuple[int, ...], Words, Field(min_length=1)]  # training seeds, joined by ;
    values: Annotated[tuple[float, ...], Words]  # the score of each seed
    stderr: Annotated[float | None, Empty]  # over items, the root mean square over seeds
    n: int  # items behind each value
    floor: Annotated[str, After(_floor)]  # smallest tolerance: 0.005 in its unit, or 2%
    score_key: Filled
    fair_key: Annotated[str | None, Empty]  # none for floor, oracle and evaluations
    accepted: str  # date, person and command that put the row here
    accepted_by: str
    accepted_with: str
    previous: str  # the values it replaced, with their date and commits
    run_ids: Annotated[tuple[str, ...], Words]  # the runs behind the values
    commits: Annotated[tuple[str, ...], Words]
    created: str
    commands: Annotated[list[str], Json]
    predictions: Annotated[str | None, Empty]  # digest of an evaluation's files
    machine: Annotated[Fields | None, Json]  # see `machine`; null where the runs had several
    protocol: Annotated[Fields, Json]  # see `protocol`

    @model_validator(mode="after")
    def _consistent(self) -> Reference:
        if self.protocol.keys() != {"score", "fair", "frame"}:
            raise ValueError("column protocol: must hold score, fair and frame")
        score, fair = self.protocol["score"], self.protocol["fair"]
        wrong = {
            "seeds: one twice, or not one a value": len(set(self.seeds)) != len(self.values)
            or len(self.seeds) != len(self.values),
            "score_key: is not the digest of protocol.score": self.score_key != digest(score),
            "fair_key: is not the digest of protocol.fair": self.fair_key
            != (None if fair is None else digest(fair)),
            "task: differs from protocol.score.task": self.task != score.get("task"),
        }
        for column in (column for column, is_wrong in wrong.items() if is_wrong):
            raise ValueError(f"column {column}")
        return self

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What there is one row of; also the order of the file."""
        return self.task, self.method, canonical(self.protocol), self.metric


COLUMNS = [field.alias or name for name, field in Reference.model_fields.items()]


def default_file() -> Path | None:
    """results/public/expected.csv of the checkout this package lies in; None outside of one."""
    folder = REPOSITORY / "results" / "public"
    return folder / "expected.csv" if folder.is_dir() else None


def protocol(record: Record) -> Fields:
    """What must be equal between a record and its reference: score and fair fields; under `frame`
    what floor and oracle depend on besides."""
    bound = record.kind == "run" and record.fair_key is None
    besides = bound_of(record, record.method) if bound else {}
    return {"score": record.fair.score, "fair": record.fair.fair, "frame": besides}


def bound_of(record: Record, method: str) -> Fields:
    """`bound_fields` of the floor or oracle of a record's match."""
    task, proof = record.config.get("task"), record.fair.proof
    frozen = proof.get("frozen")
    return bound_fields(
        method,
        task.get("train_limit") if isinstance(task, dict) else None,
        frozen if isinstance(frozen, dict) else {},
        proof.get("training_data") if "training" in proof else None,
    )


def bound_fields(
    method: str, train_limit: Any, frozen: Mapping[str, Any], crawled: Any = None
) -> Fields:
    """What a bound depends on beside its score_key: the floor on the training items, the oracle on
    the frozen codecs.

    crawled: digest of training data that are not the split's own, None where they are.
    """
    if method == "floor":
        return {"train_limit": train_limit} | ({} if crawled is None else {"training": crawled})
    return {"frozen": {name: facts["sha256"] for name, facts in frozen.items()}}


def machine(record: Record) -> Fields | None:
    """What decides whether bits repeat; None where the record does not say."""
    volatile = record.volatile
    if volatile.device is None or "name" not in volatile.host:
        return None
    return {
        "host": volatile.host["name"],
        "device": volatile.device,
        "devices": volatile.devices,
        "threads": volatile.threads,
        "versions": volatile.versions,
    }


def read(file: Path) -> list[Reference]:
    """All rows. InputError with file, line and column for what is malformed, twice or missing."""
    first: dict[tuple[str, ...], int] = {}
    rows, line = [], 1
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            if next(reader, []) != COLUMNS:
                raise ValueError(f"the columns must be {','.join(COLUMNS)}")
            for cells in reader:
                line = reader.line_num
                row = Reference.model_validate(dict(zip(COLUMNS, cells, strict=True)))
                before = first.setdefault(row.identity, line)
                if before != line:
                    raise ValueError(f"column metric: the same row stands in line {before} already")
                rows.append(row)
    except OSError as error:
        raise InputError(f"{file}: no references can be read ({error.strerror})") from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{file}, line {line}: {_reason(error)}") from error
    return rows


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    if not first["loc"]:
        return first["msg"]
    return f"column {first['loc'][0]} {str(first['input'])[:80]!r}: {first['msg']}"


def text(rows: Iterable[Reference]) -> str:
    """The file: sorted, all digits of every number, the same rows in the same bytes."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda row: row.identity):
        writer.writerow([_cell(name, getattr(row, name)) for name in Reference.model_fields])
    return stream.getvalue()


def _cell(name: str, value: Any) -> str:
    if name in ("commands", "machine", "protocol"):
        return canonical(value)
    if isinstance(value, tuple):
        return ";".join(map(str, value))
    return "" if value is None else str(value)
