"""Sample files: what each row of a table made of the same first items, exactly as it was made.

`samples/<task>/<row>.png` is a mosaic at native pixels, eight cells a row: 8-bit RGB, or 16-bit
grey for depth (0 is "not measured"); its text chunk `samples` says in JSON what the cells are.
Texts are in `<row>.json`. A row is a run_id, or `source-<score_key>`, `truth-<score_key>`.
"""

from __future__ import annotations

import io
import json
import math
import sys
import textwrap
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crossflow.errors import InputError
from crossflow.files import write_atomic

Cell = np.ndarray | str  # picture (uint8, h x w x 3), depth map (float, h x w, metres), or text

ITEMS, COLUMNS = 32, 8
LARGEST = 300_000  # bytes of a file
MOST_PIXELS = 2**24  # of a mosaic: 32 cells of 724 x 724
CHUNK = "samples"
MODES = {"picture": "RGB", "depth": "I;16"}
ENDS = ("source", "truth")
ROLES = ("start", "minus", "plus", "sum")  # cells of one sum of a row `arithmetic`, in order


@dataclass(frozen=True)
class Samples:
    """The cells of one row, in item order, with the items' ids."""

    kind: Literal["picture", "depth", "text"]
    ids: list[str]
    cells: list[np.ndarray] | list[str]  # depth as float32, 0 where it was not measured


def path_of(out: Path, task: str, row: str) -> Path | None:
    """The sample file of a row, or None where there is none."""
    paths = [out / "samples" / task / f"{row}{suffix}" for suffix in (".png", ".json")]
    return next((path for path in paths if path.is_file()), None)


def common(rows: Mapping[str, Samples]) -> list[str]:
    """Ids that all rows hold, in the order of the first row."""
    first, *others = rows.values()
    return [name for name in first.ids if all(name in row.ids for row in others)]


def ends(score_key: str) -> list[str]:
    """Rows of source and truth, which all rows of a score_key share."""
    return [f"{end}-{score_key}" for end in ENDS]


def keep(
    out: Path,
    task: str,
    rows: Sequence[str],
    ids: Sequence[str],
    cells: Callable[[int], Sequence[Cell]],
) -> None:
    """Writes the files of rows; cells(number) is what each row has of an item."""
    ids = ids[:ITEMS]
    columns = zip(*map(cells, range(len(ids))), strict=True)
    for row, column in zip(rows, columns, strict=True):
        write(out, task, row, ids, column)


def write(out: Path, task: str, row: str, ids: Sequence[str], cells: Sequence[Cell]) -> Path | None:
    """Writes the first cells that fit into the file of a row; returns its path.

    None, and a line on stderr, where not even one fits. Depth beyond 655.35 m is written as
    655.35 m. ValueError for cells of several kinds.
    """
    texts = isinstance(cells[0], str)

    def encoded(count: int) -> bytes:
        if not texts:
            return _mosaic(ids[:count], cells[:count])
        content = {"ids": list(ids[:count]), "texts": list(cells[:count])}
        return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()

    content = encoded(len(cells))
    if len(content) > LARGEST:
        count = bisect(range(1, len(cells)), LARGEST, key=lambda count: len(encoded(count)))
        if count == 0:
            print(f"{task}: no samples of {row}: one item alone is too large", file=sys.stderr)
            return None
        content = encoded(count)
    path = out / "samples" / task / f"{row}.{'json' if texts else 'png'}"
    write_atomic(path, content)
    return path


def _mosaic(ids: Sequence[str], cells: Sequence[Cell]) -> bytes:
    """The PNG; more bytes than a file may have where it has too many pixels."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    arrays = [np.asarray(cell) for cell in cells]
    sheet: dict[str, Any] = {"schema": 1, "kind": "picture", "ids": list(ids), "per_metre": None}
    if all(array.dtype.kind == "f" and array.ndim == 2 for array in arrays):
        # Millimetres, or centimetres where a depth is beyond what 16 bits hold of those.
        metres = [np.nan_to_num(depth.astype(np.float64), posinf=1e6) for depth in arrays]
        codes = 1000 if max(depth.max() for depth in metres) * 1000 <= 65_535 else 100
        sheet |= {"kind": "depth", "per_metre": codes}
        limited = (np.clip(depth, 0, 65_535 / codes) for depth in metres)
        arrays = [np.rint(depth * codes).astype(np.uint16) for depth in limited]
    elif not all(array.dtype == np.uint8 and array.shape[2:] == (3,) for array in arrays):
        raise ValueError("cells are neither all pictures nor all depth maps")
    sizes = [array.shape[:2] for array in arrays]  # each at the top left of its cell
    height, width = np.max(sizes, axis=0).tolist()
    sheet |= {"cell": (height, width), "sizes": sizes}
    columns, rows = min(COLUMNS, len(arrays)), math.ceil(len(arrays) / COLUMNS)
    if columns * rows * height * width > MOST_PIXELS:
        return bytes(LARGEST + 1)
    whole = np.zeros((rows * height, columns * width, *arrays[0].shape[2:]), arrays[0].dtype)
    for place, array in zip(_places(sizes, (height, width)), arrays, strict=True):
        whole[place] = array
    facts, file = PngInfo(), io.BytesIO()
    facts.add_text(CHUNK, json.dumps(sheet))
    Image.fromarray(whole).save(file, "PNG", pnginfo=facts, compress_level=9)
    return file.getvalue()


def _places(sizes: Sequence[Sequence[int]], cell: tuple[int, int]) -> Iterable[Any]:
    """Where in the mosaic each item lies."""
    for index, (high, wide) in enumerate(sizes):
        top, left = index // COLUMNS * cell[0], index % COLUMNS * cell[1]
        yield np.s_[top : top + high, left : left + wide]


def read(path: Path) -> Samples:
    """The samples of a file of `write`. InputError with the file and what is wrong with it."""
    from PIL import Image

    kind: Any = "text"
    try:
        if path.suffix == ".json":
            sheet = json.loads(path.read_bytes())
            cells = sheet["texts"]
            fits = {*map(type, cells)} == {str}
        else:
            with Image.open(path, formats=["PNG"]) as image:
                sheet, mode, whole = json.loads(image.info[CHUNK]), image.mode, np.asarray(image)
            kind, sizes = sheet["kind"], sheet["sizes"]
            cells = [whole[place].copy() for place in _places(sizes, sheet["cell"])]
            fits = sheet["schema"] == 1 and mode == MODES[kind]
            fits &= [list(cell.shape[:2]) for cell in cells] == sizes
            if kind == "depth":
                metres = (cell.astype(np.float64) / sheet["per_metre"] for cell in cells)
                cells = [depth.astype(np.float32) for depth in metres]
        ids = sheet["ids"]
        if not fits or not 0 < len(ids) == len({*ids}) == len(cells):
            raise ValueError("ids and cells do not fit")
        return Samples(kind, ids, cells)
    except Exception as error:  # a decoder of pictures may raise anything
        raise InputError(f"{path}: not a sample file ({error})") from error


def depth_range(cells: Iterable[Cell]) -> tuple[float, float] | None:
    """(nearest, farthest) measured depth among the maps of `cells`, metres; None without any."""
    maps = [cell for cell in cells if not isinstance(cell, str) and cell.ndim == 2]
    measured = [depth[np.isfinite(depth) & (depth > 0)] for depth in maps]
    values = np.concatenate([*measured, np.empty(0)])
    return (float(values.min()), float(values.max())) if values.size else None


def depth_colours(depth: np.ndarray, low: float, high: float) -> np.ndarray:
    """Depth in metres (h, w) as colours (h, w, 3) uint8, on a log scale from low to high.

    Near is bright. What was not measured (0, or no number) is grey.
    """
    from matplotlib import colormaps

    high = max(high, low * 1.001)  # a flat map has no range of its own
    measured = np.isfinite(depth) & (depth > 0)
    logs = np.log(np.where(measured, depth, low))
    scaled = np.clip((logs - np.log(low)) / np.log(high / low), 0, 1)
    colours = (colormaps["magma_r"](scaled)[..., :3] * 255).round().astype(np.uint8)
    colours[~measured] = 128
    return colours


def save_grid(path: Path, rows: Mapping[str, Sequence[Cell]], side: int = 120) -> None:
    """A PNG to look at: one labelled row of cells, `side` pixels each, for each entry of `rows`.

    Depth has the colours of the range of the row `truth`, or of all rows where there is none.
    """
    from PIL import Image, ImageDraw, ImageOps

    every = [cell for cells in rows.values() for cell in cells]
    metres = depth_range(rows.get("truth", ())) or depth_range(every) or (0.1, 10.0)
    columns = max(len(cells) for cells in rows.values())
    sheet = Image.new("RGB", (side * (columns + 1), side * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for top, (label, cells) in enumerate(rows.items()):
        draw.multiline_text((4, side * (top + 0.4)), label.replace("_", "\n"), "black")
        for left, cell in enumerate(cells, 1):
            corner = (side * left, side * top)
            if isinstance(cell, str):
                draw.multiline_text(corner, textwrap.fill(cell, side // 6), "black")
            else:
                colours = cell if cell.ndim == 3 else depth_colours(cell, *metres)
                picture = ImageOps.contain(Image.fromarray(colours), (side - 4, side - 4))
                sheet.paste(picture, corner)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
