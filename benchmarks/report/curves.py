"""Data frames of what lies beside the records: curves on validation, losses.

Rows carry the fields of their record that plots and tables group by (JOINED), and stand in the
order of task and run_id, then in that of the file. InputError names a file that is no such table.
"""

from __future__ import annotations

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


def curves(records: Sequence[Record], out: Path) -> pd.DataFrame:
    """curves/<task>/<run_id>.csv of all records that have one; columns JOINED + CURVE_COLUMNS.

    sweep is `guidance` (full steps, weight varied) or `steps` (chosen weight, steps varied); value
    is the primary score of n validation items, stderr its standard error over items, nfe counts
    network calls of both branches.
    """

    def checked(table: pd.DataFrame) -> pd.DataFrame:
        if list(table.columns) != CURVE_COLUMNS or not (table["nfe"] > 0).all():
            raise ValueError(f"the columns are not {','.join(CURVE_COLUMNS)} with nfe above 0")
        return table

    return _gather(records, out, "", CURVE_COLUMNS, checked)


def losses(records: Sequence[Record], out: Path) -> pd.DataFrame:
    """curves/<task>/<run_id>-losses.csv, a row per term and point of training.

    Columns JOINED, steps, samples, term, value; the term `loss` is the weighted sum of all. The
    losses of two arms have different targets and are never compared.
    """

    def long(table: pd.DataFrame) -> pd.DataFrame:
        if list(table.columns[:3]) != LOSS_COLUMNS:
            raise ValueError(f"the columns do not start with {','.join(LOSS_COLUMNS)}")
        return table.melt(LOSS_COLUMNS[:2], var_name="term").dropna(subset=["value"])

    return _gather(records, out, "-losses", [*LOSS_COLUMNS[:2], "term", "value"], long)


def _gather(
    records: Sequence[Record],
    out: Path,
    ending: str,
    columns: Sequence[str],
    shaped: Callable[[pd.DataFrame], pd.DataFrame],
) -> pd.DataFrame:
    """The tables of all records that have one, as `shaped` makes them, one below another."""
    import pandas as pd

    parts = [pd.DataFrame(columns=[*JOINED, *columns])]
    for record in sorted(records, key=lambda record: (record.task, record.run_id)):
        path = out / "curves" / record.task / f"{record.run_id}{ending}.csv"
        if path.is_file():
            try:
                texts = pd.read_csv(path, dtype=str)
                numbers = [name for name in texts if name not in ("sweep", "metric")]
                table = shaped(texts.astype(dict.fromkeys(numbers, float)))  # digit for digit
            except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
                raise InputError(f"{path}: not a table of curves ({error})") from error
            cells = shared_cells(record)
            parts.append(table.assign(**{name: cells[name] for name in JOINED}))
    return pd.concat(parts[1:] or parts, ignore_index=True)[parts[0].columns]
