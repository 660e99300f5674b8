"""Data frames of what lies beside the records in curves/<task>/: validation sweeps, losses."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report.rows import Board, Row
from crossflow.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# Ending of a run's file, its first columns, the column without which a row says nothing. A sweep is
# `guidance` (full steps, weight varied) or `steps` (chosen weight, steps varied); value is the
# primary score of n validation items, stderr its standard error over items, nfe counts calls of
# both branches. loss is the weighted sum of the terms, which are further columns.
KINDS = {
    "sampling": (".csv", "sweep guidance steps nfe metric value stderr n".split(), "value"),
    "losses": ("-losses.csv", "steps samples loss".split(), "loss"),
}


def of_arms(board: Board, out: Path, kind: str) -> list[tuple[Row, pd.DataFrame]]:
    """The curves of one of KINDS of each arm that has some, with a column run_id.

    InputError names a file that is no such table.
    """
    import pandas as pd

    ending, columns, needed = KINDS[kind]
    dtype = defaultdict(lambda: "float", sweep="str", metric="str")
    found = []
    for arm in board.arms:
        frames = []
        for run in arm.records:
            path = out / "curves" / run.task / f"{run.run_id}{ending}"
            if path.is_file():
                try:
                    table = pd.read_csv(path, dtype=dtype)
                except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
                    raise InputError(f"{path}: not a table of curves ({error})") from error
                if list(table.columns[: len(columns)]) != columns:
                    raise InputError(f"{path}: the columns do not start with {','.join(columns)}")
                frames.append(table.assign(run_id=run.run_id).dropna(subset=[needed]))
        if any(map(len, frames)):
            found.append((arm, pd.concat(frames, ignore_index=True)))
    return found
