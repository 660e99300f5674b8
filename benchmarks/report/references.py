"""expected.csv: the values that regression checks compare with, and where they come from.

One row per task, method, protocol and metric. The columns:

- class: which rule of `tolerance` holds. seeds, values: training seeds and the score of each,
  joined by `;`. stderr: over items, the root mean square over seeds; empty where a score has none.
  n: items behind each value. floor: the smallest statistical tolerance, `0.005` in the metric's
  unit or `2%`; may be edited by hand, and stays when the row is replaced.
- score_key, fair_key: digests of the fields in `protocol`, so that a check can say which field
  differs. fair_key is empty for floor, oracle and evaluations.
- accepted, accepted_by, accepted_with: date, person and command that put the row here. previous:
  the values it replaced, with their date and commits.
- run_ids, commits, created, commands: the runs behind the values. machine: host, device, threads
  and versions, `null` where the runs had several. predictions: digest of an evaluation's files.
- protocol: JSON of score and fair fields, and under `frame` what floor and oracle depend on besides
  (the floor on the number of training items, the oracle on the frozen codecs).
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.records.keys import canonical, digest
from benchmarks.records.record import Record
from benchmarks.report.tolerance import CLASSES, floor_at
from crossflow.errors import InputError
from crossflow.files import write_atomic

Fields = dict[str, Any]
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Reference:
    """One row; the fields are the columns, in the order of the file (`kind` is `class` there)."""

    task: str
    method: str
    metric: str
    kind: str
    better: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    stderr: float | None
    n: int
    floor: str
    score_key: str
    fair_key: str | None
    accepted: str
    accepted_by: str
    accepted_with: str
    previous: str
    run_ids: tuple[str, ...]
    commits: tuple[str, ...]
    created: str
    commands: list[str]
    predictions: str | None
    machine: Fields | None
    protocol: Fields

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What there is one row of; also the order of the file."""
        return self.task, self.method, canonical(self.protocol), self.metric


def default_file() -> Path | None:
    """results/public/expected.csv of the checkout this package lies in; None outside of one."""
    folder = REPOSITORY / "results" / "public"
    return folder / "expected.csv" if folder.is_dir() else None


def protocol(record: Record) -> Fields:
    """What must be equal between a record and its reference."""
    framing = record.kind == "run" and record.fair_key is None
    frame = frame_of(record, record.method) if framing else {}
    return {"score": record.fair.score, "fair": record.fair.fair, "frame": frame}


def frame_of(record: Record, method: str) -> Fields:
    """What the framing row `method` of a record's match depends on beside its score_key."""
    task, proof = record.config.get("task"), record.fair.proof
    frozen = proof.get("frozen")
    return frame_fields(
        method,
        task.get("train_limit") if isinstance(task, dict) else None,
        frozen if isinstance(frozen, dict) else {},
        proof.get("training_data") if "training" in proof else None,
    )


def frame_fields(
    method: str, train_limit: Any, frozen: Mapping[str, Any], crawled: Any = None
) -> Fields:
    """What a framing row depends on beside its score_key.

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


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(";")) if text else ()


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def _filled(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def _one_of(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return text

    return read


def _json(*kinds: type) -> Callable[[str], Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    def read(text: str) -> Any:
        value = json.loads(text, parse_constant=refuse, parse_float=_number)
        if not isinstance(value, kinds):
            raise ValueError("is JSON of another kind")
        return value

    return read


def _seeds(text: str) -> tuple[int, ...]:
    seeds = tuple(int(word) for word in _words(text))
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError("must be different whole numbers, joined by ;")
    return seeds


def _floor(text: str) -> str:
    floor_at(text, 1.0)
    return text


def _optional(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: read(text) if text else None


READERS: dict[str, Callable[[str], Any]] = {
    "task": _filled,
    "method": _filled,
    "metric": _filled,
    "kind": _one_of(*CLASSES),
    "better": _one_of("higher", "lower"),
    "seeds": _seeds,
    "values": lambda text: tuple(_number(word) for word in _words(text)),
    "stderr": _optional(_number),
    "n": int,
    "floor": _floor,
    "score_key": _filled,
    "fair_key": _optional(str),
    "run_ids": _words,
    "commits": _words,
    "commands": _json(list),
    "predictions": _optional(str),
    "machine": _json(dict, type(None)),
    "protocol": _json(dict),
}
NAMES = [field.name for field in fields(Reference)]
COLUMNS = ["class" if name == "kind" else name for name in NAMES]


def read(file: Path) -> list[Reference]:
    """All rows. InputError with file, line and column for what is malformed, twice or missing."""
    found: dict[tuple[str, ...], int] = {}
    rows = []
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            if header != COLUMNS:
                raise InputError(f"{file}, line 1: the columns must be {','.join(COLUMNS)}")
            for cells in reader:
                rows.append(_row(file, reader.line_num, cells))
                first = found.setdefault(rows[-1].identity, reader.line_num)
                if first != reader.line_num:
                    raise InputError(
                        f"{file}, line {reader.line_num}, metric: this task, method, protocol and "
                        f"metric stand in line {first} already"
                    )
    except OSError as error:
        raise InputError(f"{file}: no references can be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} is no CSV file in UTF-8: {error}") from error
    return rows


def _row(file: Path, line: int, cells: list[str]) -> Reference:
    if len(cells) != len(COLUMNS):
        raise InputError(f"{file}, line {line}: {len(cells)} cells for {len(COLUMNS)} columns")
    values: dict[str, Any] = {}
    for name, column, cell in zip(NAMES, COLUMNS, cells, strict=True):
        try:
            values[name] = READERS.get(name, str)(cell)
        except ValueError as error:
            shown = cell if len(cell) <= 80 else f"{cell[:80]}..."
            raise InputError(f"{file}, line {line}, column {column} {shown!r}: {error}") from error
    row = Reference(**values)

    def refuse(column: str, why: str) -> InputError:
        return InputError(f"{file}, line {line}, column {column}: {why}")

    if len(row.values) != len(row.seeds):
        raise refuse("values", f"{len(row.values)} values for {len(row.seeds)} seeds")
    if row.protocol.keys() != {"score", "fair", "frame"}:
        raise refuse("protocol", "must hold score, fair and frame")
    if not isinstance(row.protocol["score"], dict) or row.score_key != digest(
        row.protocol["score"]
    ):
        raise refuse("score_key", "is not the digest of the score fields in protocol")
    fair = row.protocol["fair"]
    if row.fair_key != (None if fair is None else digest(fair)):
        raise refuse("fair_key", "is not the digest of the fair fields in protocol")
    if row.task != row.protocol["score"].get("task"):
        raise refuse("task", "differs from that of the score fields in protocol")
    return row


def text(rows: Iterable[Reference]) -> str:
    """The file: sorted, all digits of every number, the same rows in the same bytes."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda row: row.identity):
        writer.writerow([_cell(name, getattr(row, name)) for name in NAMES])
    return stream.getvalue()


def _cell(name: str, value: Any) -> str:
    if name in ("commands", "machine", "protocol"):
        return canonical(value)
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ";".join(map(str, value))
    return str(value)


def write(file: Path, rows: Sequence[Reference]) -> None:
    """Writes the file whole or not at all. InputError where that is impossible."""
    try:
        write_atomic(file, text(rows))
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror})") from error
