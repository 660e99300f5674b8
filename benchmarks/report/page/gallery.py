"""Samples of the first items of rows that were scored alike: an item a row, an arm a column."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records.samples import ENDS, Cell, depth_colours, depth_range
from benchmarks.report import figures
from benchmarks.report.answer import budget_of, current
from benchmarks.report.rows import Board

ITEMS = 6


def of(every: Sequence[Board], task: str, out: Path) -> list[dict[str, Any]]:
    """A gallery for each score_key of a task, of the run with the lowest seed of each row.

    Older versions have none, nor quick rows beside others.
    """
    boards = [board for board in current(every) if board.first.task == task]
    keys = dict.fromkeys(board.first.score_key for board in boards)
    galleries = [_gallery([b for b in boards if b.first.score_key == key], out) for key in keys]
    return [gallery for gallery in galleries if gallery["rows"]]


def _gallery(boards: Sequence[Board], out: Path) -> dict[str, Any]:
    """header: names of the columns. rows: (id, cells); a cell is a text or a picture."""
    first = boards[0].first
    files = {end: f"{end}-{first.score_key}" for end in ENDS}
    for board in boards:
        for row in board.rows:
            limit = f", {budget_of(board)}" if row.kind == "arm" and len(boards) > 1 else ""
            for run in figures.lowest_seeds([row]).values():
                files.setdefault(f"{row.name}{limit}", run.run_id)
    kept = figures.kept_samples(out, first.task, files)
    metres = depth_range(kept["truth"].cells) if "truth" in kept else None
    cells: dict[str, dict[str, Cell]] = {
        name: dict(zip(row.ids, row.cells, strict=True)) for name, row in kept.items()
    }
    ids = [name for row in kept.values() for name in row.ids]
    rows = [
        (item, [_cell(of_row.get(item), metres) for of_row in cells.values()])
        for item in list(dict.fromkeys(ids))[:ITEMS]
    ]
    missing = [name for name in files if name not in kept]
    return {
        "header": list(kept),
        "rows": rows,
        "metres": metres,
        "missing": missing,
        "quick": boards[0].quick,
    }


def _cell(cell: Cell | None, metres: tuple[float, float] | None) -> str | dict[str, Any]:
    """A text as it is; a picture at native pixels as lossless WebP, depth in the truth's range."""
    from PIL import Image

    if cell is None or isinstance(cell, str):
        return cell or ""
    colours = cell if cell.ndim == 3 else depth_colours(cell, *(metres or (0.1, 10.0)))
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).save(file, "WEBP", lossless=True, method=6)
    content = base64.b64encode(file.getvalue()).decode()
    return {
        "uri": f"data:image/webp;base64,{content}",
        "width": colours.shape[1],
        "height": colours.shape[0],
    }
