"""Data frames of what lies beside the records: curves on validation, scores of single items.

Rows of curves and items carry the fields of their record that plots and tables group by (JOINED).
The order of the rows is that of task and run_id, then that of the file: it does not depend on the
order in which records were read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.records.record import Record
from benchmarks.report.rows import shared_cells
from crossflow.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

JOINED = (
    "run_id match task kind method seed model score_key fair_key quick budget_kind budget_limit"
).split()
CURVE_COLUMNS = "sweep guidance steps nfe metric value stderr n".split()
LOSS_COLUMNS = "steps samples loss".split()  # then the terms
SWEEPS = ("guidance", "steps")
# Columns of items that are text; all others are numbers.
TEXTS = ("id", "image_id", "caption", "level", "tag", "prompt")


def curves(records: Sequence[Record], out: Path) -> pd.DataFrame:
    """curves/<task>/<run_id>.csv of all records that have one; columns JOINED + CURVE_COLUMNS.

    sweep is `guidance` (full steps, weight varied) or `steps` (chosen weight, steps varied); value
    is the primary score of n validation items, stderr its standard error over items, nfe counts
    network calls of both branches. InputError for a file that is no such table.
    """
    import pandas as pd

    parts = []
    for record, path in _files(records, out, "curves"):
        table = _read(path)
        if list(table.columns) != CURVE_COLUMNS:
            raise InputError(f"{path}: the columns are not {','.join(CURVE_COLUMNS)}: run again")
        wrong = sorted(set(table["sweep"]) - set(SWEEPS))
        if wrong:
            raise InputError(f"{path}: sweep {wrong[0]!r} is none of {', '.join(SWEEPS)}")
        for name in ("guidance", "steps", "nfe", "value", "stderr", "n"):
            table[name] = _numbers(path, table, name)
        _refuse_no_calls(path, table)
        parts.append(_joined(record, table))
    return pd.concat(parts, ignore_index=True) if parts else _empty(JOINED + CURVE_COLUMNS)


def losses(records: Sequence[Record], out: Path) -> pd.DataFrame:
    """curves/<task>/<run_id>-losses.csv, a row per term and point of training.

    Columns JOINED, steps, samples, term, value; the term `loss` is the weighted sum of all. The
    losses of two arms have different targets and are never compared.
    """
    import pandas as pd

    parts = []
    for record, path in _files(records, out, "curves", "-losses"):
        table = _read(path)
        if list(table.columns[:3]) != LOSS_COLUMNS:
            raise InputError(f"{path}: the columns do not start with {','.join(LOSS_COLUMNS)}")
        numbers = {name: _numbers(path, table, name) for name in table.columns}
        long = pd.DataFrame(numbers).melt(list(LOSS_COLUMNS[:2]), var_name="term")
        parts.append(_joined(record, long.dropna(subset=["value"]).reset_index(drop=True)))
    empty = _empty([*JOINED, *LOSS_COLUMNS[:2], "term", "value"])
    return pd.concat(parts, ignore_index=True) if parts else empty


def items(records: Sequence[Record], out: Path) -> pd.DataFrame:
    """items/<task>/<run_id>.csv of all records that have one; columns JOINED, `id`, scores.

    Items of different tasks have different scores: a score that a row's task does not have is NaN,
    as is that of an item without a value. InputError for a file that is no such table.
    """
    import pandas as pd

    parts = []
    for record, path in _files(records, out, "items"):
        table = _read(path)
        if "id" not in table.columns or table["id"].duplicated().any():
            raise InputError(f"{path}: no column id, or an id twice: run again")
        clashes = sorted(set(table.columns) & set(JOINED))
        if clashes:
            raise InputError(f"{path}: the column {clashes[0]} is no score of an item")
        for name in table.columns:
            if name not in TEXTS:
                table[name] = _numbers(path, table, name)
        parts.append(_joined(record, table))
    return pd.concat(parts, ignore_index=True) if parts else _empty([*JOINED, "id"])


def without(records: Sequence[Record], out: Path, kind: str) -> list[str]:
    """`task/run_id` of the completed records without a file in `kind` (items or curves)."""
    done = [record for record in _ordered(records) if record.status == "completed"]
    return [f"{r.task}/{r.run_id}" for r in done if not _path(r, out, kind).is_file()]


def _ordered(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record.task, record.run_id))


def _path(record: Record, out: Path, kind: str, ending: str = "") -> Path:
    return out / kind / record.task / f"{record.run_id}{ending}.csv"


def _files(
    records: Sequence[Record], out: Path, kind: str, ending: str = ""
) -> list[tuple[Record, Path]]:
    pairs = [(record, _path(record, out, kind, ending)) for record in _ordered(records)]
    return [(record, path) for record, path in pairs if path.is_file()]


def _read(path: Path) -> pd.DataFrame:
    """The table as texts: a caption of the letters NA is not a missing value."""
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"{path}: not a table ({error})") from error


def _numbers(path: Path, table: pd.DataFrame, name: str) -> list[float]:
    """A column of numbers, digit for digit as they were written; empty cells are NaN."""
    values = []
    for row, text in enumerate(table[name]):
        try:
            values.append(float(text) if text else float("nan"))
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}, row {row + 1}: {name} is {text!r}, no number") from error
    return values


def _refuse_no_calls(path: Path, table: pd.DataFrame) -> None:
    """InputError unless every sample took network calls: they stand on a logarithmic axis."""
    for row, calls in enumerate(table["nfe"]):
        if not 0 < calls < math.inf:
            raise InputError(f"{path}, row {row + 1}: nfe is {calls:g}: must be above 0, finite")


def _joined(record: Record, table: pd.DataFrame) -> pd.DataFrame:
    """The table with the record's fields in front."""
    row = shared_cells(record)
    for place, name in enumerate(JOINED):
        table.insert(place, name, [row[name]] * len(table))
    return table


def _empty(columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns=columns)
