"""Data frames of what lies beside the records: curves on validation, losses.

Rows carry the fields of their record that plots and tables group by (JOINED), and stand in the
order of task and run_id, then in that of the file. InputError names a file that is no such table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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


def curves(records: Sequence[Record], out: Path) -> pd.DataFrame:
    """curves/<task>/<run_id>.csv of all records that have one; columns JOINED + CURVE_COLUMNS.

    sweep is `guidance` (full steps, weight varied) or `steps` (chosen weight, steps varied); value
    is the primary score of n validation items, stderr its standard error over items, nfe counts
    network calls of both branches.
    """

    def read(table: pd.DataFrame) -> pd.DataFrame:
        if list(table.columns) != CURVE_COLUMNS:
            raise ValueError(f"the columns are not {','.join(CURVE_COLUMNS)}")
        table = _numbers(table, ("sweep", "metric"))
        if not table["sweep"].isin(SWEEPS).all():
            raise ValueError(f"a sweep is none of {', '.join(SWEEPS)}")
        if not table["nfe"].between(0, math.inf, inclusive="neither").all():
            raise ValueError("nfe must be above 0 and finite: it stands on a logarithmic axis")
        return table

    return _gather(records, out, "", CURVE_COLUMNS, read)


def losses(records: Sequence[Record], out: Path) -> pd.DataFrame:
    """curves/<task>/<run_id>-losses.csv, a row per term and point of training.

    Columns JOINED, steps, samples, term, value; the term `loss` is the weighted sum of all. The
    losses of two arms have different targets and are never compared.
    """

    def read(table: pd.DataFrame) -> pd.DataFrame:
        if list(table.columns[:3]) != LOSS_COLUMNS:
            raise ValueError(f"the columns do not start with {','.join(LOSS_COLUMNS)}")
        long = _numbers(table).melt(LOSS_COLUMNS[:2], var_name="term")
        return long.dropna(subset=["value"]).reset_index(drop=True)

    columns = [*LOSS_COLUMNS[:2], "term", "value"]
    return _gather(records, out, "-losses", columns, read)


def _gather(
    records: Sequence[Record],
    out: Path,
    ending: str,
    columns: Sequence[str],
    read: Callable[[pd.DataFrame], pd.DataFrame],
) -> pd.DataFrame:
    """The tables of all records that have one, as `read` makes them of texts, one below another."""
    import pandas as pd

    parts = []
    for record in sorted(records, key=lambda record: (record.task, record.run_id)):
        path = out / "curves" / record.task / f"{record.run_id}{ending}.csv"
        if not path.is_file():
            continue
        try:
            texts = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
            table = read(texts)
        except (ValueError, TypeError, OSError) as error:  # pandas' parser errors are ValueErrors
            raise InputError(f"{path}: not a table of curves ({error})") from error
        cells = shared_cells(record)
        for place, name in enumerate(JOINED):
            table.insert(place, name, [cells[name]] * len(table))
        parts.append(table)
    empty = pd.DataFrame(columns=[*JOINED, *columns])
    return pd.concat(parts, ignore_index=True) if parts else empty


def _numbers(table: pd.DataFrame, texts: Sequence[str] = ()) -> pd.DataFrame:
    """The table with numbers for all columns but `texts`, digit for digit; empty cells are NaN."""
    for name in table.columns:
        if name not in texts:
            table[name] = [float(cell) if cell else math.nan for cell in table[name]]
    return table
