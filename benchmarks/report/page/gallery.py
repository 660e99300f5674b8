"""Samples of the same items for every row of a comparison, as one picture a row.

A mosaic of pictures goes onto the page as the bytes of its file. Depth is 16-bit grey millimetres,
which no browser shows readably: it is coloured, all rows of a comparison in the truth's range.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records import samples
from benchmarks.records.samples import depth_colours, depth_range
from benchmarks.report.page.extremes import Items
from benchmarks.report.page.shown import Comparison

LARGEST = 6_000_000  # characters of pictures on one page; later comparisons are left out


def of(comparison: Comparison, out: Path, items: Mapping[str, Items]) -> dict[str, Any]:
    """The rows that have samples, the ids they share, scores of single items; what is missing.

    items: by run_id, for the scores beside the pictures.
    """
    rows: dict[str, samples.Samples] = {}
    labels, scores, without = {}, {}, []
    wanted = [(f"{end}-{comparison.score_key}", end) for end in samples.FRAMES]
    for record in comparison.lowest_seed():
        wanted.append((record.run_id, comparison.label(record)))
        if record.run_id in items:
            scores[record.run_id] = items[record.run_id]
    for row, label in wanted:
        path = samples.path_of(out, comparison.task, row)
        if path is None:
            without.append(label)
        else:
            rows[row], labels[row] = samples.read(path), label
    ids = samples.common(rows) if rows else []
    metres = depth_range(rows[wanted[1][0]].cells) if wanted[1][0] in rows else None
    metres = metres or depth_range(cell for row in rows.values() for cell in row.cells)
    return {
        "anchor": f"g{comparison.number}",
        "title": comparison.title,
        "quick": comparison.quick,
        "without": ", ".join(without),
        "metres": None if metres is None else f"{metres[0]:.3g} m to {metres[1]:.3g} m",
        "ids": ids,
        "rows": [
            {
                "row": row,
                "label": labels[row],
                "end": row in (wanted[0][0], wanted[1][0]),
                "metric": scores[row].metric if row in scores else "",
                "better": scores[row].better if row in scores else "",
                "scores": _pick(scores.get(row), ids),
                **_shown(path_bytes(out, comparison.task, row), found, ids, metres),
            }
            for row, found in rows.items()
        ],
    }


def path_bytes(out: Path, task: str, row: str) -> bytes:
    path = samples.path_of(out, task, row)
    assert path is not None
    return path.read_bytes()


def _pick(items: Items | None, ids: Sequence[str]) -> list[str]:
    if items is None:
        return []
    known = items.scores()
    return [known.get(name, "") for name in ids]


def _shown(
    content: bytes, found: samples.Samples, ids: Sequence[str], metres: tuple[float, float] | None
) -> dict[str, Any]:
    """Texts in the order of `ids`; or a picture as data URI, its size, and each item's place.

    boxes: left, top, width and height in pixels, per id.
    """
    index = {name: place for place, name in enumerate(found.ids)}
    if found.kind == "text":
        return {"texts": [found.cells[index[name]] for name in ids]}
    arrays = [np.asarray(cell) for cell in found.cells]
    sizes = [(array.shape[0], array.shape[1]) for array in arrays]
    high, wide = (max(lengths) for lengths in zip(*sizes, strict=True))
    places = [(k % samples.COLUMNS * wide, k // samples.COLUMNS * high) for k in range(len(arrays))]
    boxes = []
    for name in ids:
        (left, top), (h, w) = places[index[name]], sizes[index[name]]
        boxes.append([left, top, w, h])
    columns = min(samples.COLUMNS, len(arrays))
    width, height = columns * wide, (max(top for _, top in places) + high)
    if found.kind == "depth":
        content = _coloured(arrays, places, (height, width), metres or (0.1, 10.0))
    return {
        "image": "data:image/png;base64," + base64.b64encode(content).decode(),
        "width": width,
        "height": height,
        "boxes": boxes,
    }


def _coloured(
    maps: Sequence[np.ndarray],
    places: Sequence[tuple[int, int]],
    size: tuple[int, int],
    metres: tuple[float, float],
) -> bytes:
    """A mosaic of depth maps (h, w) in metres, laid out as in its file, in colours, as a PNG."""
    from PIL import Image

    whole = np.zeros((*size, 3), np.uint8)
    for depth, (left, top) in zip(maps, places, strict=True):
        high, wide = depth.shape
        whole[top : top + high, left : left + wide] = depth_colours(depth, *metres)
    file = io.BytesIO()
    Image.fromarray(whole).save(file, "PNG", compress_level=9)
    return file.getvalue()


def within(galleries: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The first galleries that fit on one page, and a note on those that do not."""
    kept, notes, total = [], [], 0
    for one in galleries:
        size = sum(len(row.get("image", "")) for row in one["rows"])
        if total + size > LARGEST:
            notes.append(f"{one['title']}: samples left out, the page would be too large")
            continue
        total += size
        kept.append(one)
    return kept, notes


def data(gallery: Mapping[str, Any]) -> dict[str, Any]:
    """What the script needs of a gallery; pictures it takes from the page."""
    rows = [{k: v for k, v in row.items() if k not in ("image", "row")} for row in gallery["rows"]]
    return {**{name: gallery[name] for name in ("anchor", "title", "quick", "ids")}, "rows": rows}
