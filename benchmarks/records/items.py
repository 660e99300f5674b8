"""Per-item scores as CSV: one row an item, one column a score."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.records.record import write_text


def write_items(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Writes the columns, `id` first; an item without a value has an empty cell.

    Floats are written so that reading them gives the same float. Raises ValueError when columns
    differ in length.
    """
    names = sorted(columns, key=lambda name: (name != "id", list(columns).index(name)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in zip(*(columns[name] for name in names), strict=True):
        writer.writerow(["" if value is None else value for value in row])
    write_text(path, text.getvalue())
