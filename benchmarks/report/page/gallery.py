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
    of_key: dict[str, list[Board]] = {}
    for board in current(every):
        if board.first.task == task:
            of_key.setdefault(board.first.score_key, []).append(board)
    galleries = [_gallery(task, key, boards, out) for key, boards in of_key.items()]
    return [gallery for gallery in galleries if gallery["rows"]]


def _gallery(task: str, score_key: str, boards: Sequence[Board], out: Path) -> dict[str, Any]:
    """header: names of the columns. rows: (id, cells); a cell is a text or a picture."""
    files = {end: f"{end}-{score_key}" for end in ENDS}
    for board in boards:
        for row in board.rows:
            limit = f", {budget_of(board)}" if row.kind == "arm" and len(boards) > 1 else ""
            for run in figures.lowest_seeds([row]).values():
                files.setdefault(f"{row.name}{limit}", run)
    kept = figures.kept_samples(out, task, files)
    metres = depth_range(kept["truth"].cells) if "truth" in kept else None
    columns: list[dict[str, Cell]] = [dict(zip(r.ids, r.cells, strict=True)) for r in kept.values()]
    ids = list(dict.fromkeys(item for column in columns for item in column))[:ITEMS]
    rows = [[_cell(column.get(item, ""), metres) for column in columns] for item in ids]
    return {
        "header": list(kept),
        "rows": list(zip(ids, rows, strict=True)),
        "metres": metres,
        "missing": [name for name in files if name not in kept],
        "quick": boards[0].quick,
    }


def _cell(cell: Cell, metres: tuple[float, float] | None) -> str | dict[str, Any]:
    """A text as it is; a picture at native pixels as lossless WebP, depth in the truth's range."""
    from PIL import Image

    if isinstance(cell, str):
        return cell
    colours = cell if cell.ndim == 3 else depth_colours(cell, *(metres or (0.1, 10.0)))
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).save(file, "WEBP", lossless=True, method=6)
    height, width, _ = colours.shape
    return {"uri": uri("webp", file.getvalue()), "width": width, "height": height}


def uri(kind: str, content: bytes) -> str:
    """A picture as the address of itself."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
