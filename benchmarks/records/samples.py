"""Sample files: what each row of a table made of the same first items, exactly as it was made.

`samples/<task>/<row>.png` is a mosaic at native pixels, eight cells a row, without labels: 8-bit
RGB for pictures, 16-bit grey for depth in millimetres (0 is "not measured"). What the cells are
stands in the PNG's text chunk `samples`, as JSON. Rows of texts are `samples/<task>/<row>.json`.
A row is a run_id (arms, floor, oracle, evaluations), or `source-<score_key>`, `truth-<score_key>`.

Files stay below 300 kB, because they are committed beside the records. Where noise does not
compress, a file holds fewer first items, and its list of ids says so: readers show common ids.
"""

from __future__ import annotations

import io
import json
import math
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from benchmarks.records.record import Record, Strict, write_bytes
from crossflow.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

Cell = np.ndarray | str
"""A picture (uint8, h x w x 3), a depth map (float, h x w, metres), or a text."""

ITEMS = 32
COLUMNS = 8
LARGEST = 300_000  # bytes of a file
MOST_PIXELS = 2**24  # of a mosaic: 32 cells of 724 x 724; a small file can decompress to anything
CHUNK = "samples"
MODES = {"picture": "RGB", "depth": "I;16"}
FRAMES = ("source", "truth")
BLENDS = ("interpolation", "arithmetic")  # endings of further rows of an arm (see `blends`)
ROLES = ("start", "minus", "plus", "sum")  # cells of one sum of `arithmetic`, in order


@dataclass(frozen=True)
class Samples:
    """The cells of one row, in item order, with the items' ids.

    cells: uint8 (h, w, 3), float32 (h, w) in metres with 0 for "not measured", or texts.
    """

    kind: Literal["picture", "depth", "text"]
    ids: list[str]
    cells: list[np.ndarray] | list[str]


class _Sheet(Strict):
    """The text chunk of a mosaic. asked: items that were to be kept; fewer where they did not fit.

    cell: height and width of the mosaic's cells. sizes: of each item, at the top left of its cell.
    """

    schema_: Literal[1] = Field(alias="schema")
    kind: Literal["picture", "depth"]
    items: int = Field(ge=1, le=1024)
    asked: int = Field(ge=1)
    cell: tuple[int, int]
    ids: list[str]
    sizes: list[tuple[int, int]]
    per_metre: Literal[1000, 100] | None


class _Texts(Strict):
    ids: list[str] = Field(min_length=1, max_length=1024)
    texts: list[str]


def path_of(out: Path, task: str, row: str) -> Path | None:
    """The sample file of a row, or None where there is none."""
    paths = [out / "samples" / task / f"{row}{suffix}" for suffix in (".png", ".json")]
    return next((path for path in paths if path.is_file()), None)


def missing(records: Iterable[Record], out: Path) -> list[str]:
    """`task/row` of the rows that should have a sample file under `out` and have none.

    A failed run made nothing to show.
    """
    done = [record for record in records if record.status == "completed"]
    rows = {(record.task, record.run_id) for record in done}
    rows |= {(record.task, f"{end}-{record.score_key}") for record in done for end in FRAMES}
    return [f"{task}/{row}" for task, row in sorted(rows) if path_of(out, task, row) is None]


def common(rows: Mapping[str, Samples]) -> list[str]:
    """Ids that all rows hold, in the order of the first row."""
    first, *others = rows.values()
    held = [set(row.ids) for row in others]
    return [name for name in first.ids if all(name in ids for ids in held)]


def keep(out: Path, task: str, row: str, ids: Sequence[str], cells: Sequence[Cell]) -> None:
    """Writes the file of a row; where not even one item fits, that is said."""
    if write(out, task, row, ids, cells) is None:
        print(f"{task}: no samples of {row}: one item alone is too large", file=sys.stderr)


def keep_ends(
    out: Path, task: str, score_key: str, ids: Sequence[str], pairs: Sequence[tuple[Cell, Cell]]
) -> None:
    """Keeps source and truth of the first items, which all rows of a score_key share."""
    for place, end in enumerate(FRAMES):
        keep(out, task, f"{end}-{score_key}", ids, [pair[place] for pair in pairs])


def write(out: Path, task: str, row: str, ids: Sequence[str], cells: Sequence[Cell]) -> Path | None:
    """Writes the first cells that fit into the file of a row; returns its path.

    None, and no file, where not even one fits. Depth that is no number is written as not measured,
    depth beyond 655.35 m as 655.35 m. ValueError for cells of several kinds.
    """
    if len(ids) != len(cells) or not cells:
        raise ValueError(f"{row}: {len(ids)} ids for {len(cells)} cells")
    texts = isinstance(cells[0], str)
    encode = _text_bytes if texts else _mosaic_bytes
    content = _largest(lambda count: encode(ids[:count], cells[:count], len(cells)), len(cells))
    if content is None:
        return None
    path = out / "samples" / task / f"{row}.{'json' if texts else 'png'}"
    write_bytes(path, content)
    return path


def _largest(encode: Any, count: int) -> bytes | None:
    """encode(n) for the largest n up to count whose bytes fit; None where encode(1) does not."""
    fits, too_many, best = 0, count + 1, None
    following = count
    while too_many - fits > 1:
        content: bytes | None = encode(following)
        if content is not None and len(content) <= LARGEST:
            fits, best = following, content
        else:
            too_many = following
        following = (fits + too_many) // 2
    return best


def _text_bytes(ids: Sequence[str], texts: Sequence[Cell], asked: int) -> bytes:
    content = {"ids": list(ids), "texts": list(texts)}
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def _mosaic_bytes(ids: Sequence[str], cells: Sequence[Cell], asked: int) -> bytes | None:
    """The PNG; None where it would have too many pixels to be read again."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    arrays = [np.asarray(cell) for cell in cells]
    kind, per_metre = _kind(arrays)
    if per_metre is not None:
        arrays = [_codes(depth, per_metre) for depth in arrays]
    sizes = [(array.shape[0], array.shape[1]) for array in arrays]
    height, width = (max(lengths) for lengths in zip(*sizes, strict=True))
    columns, rows = min(COLUMNS, len(arrays)), math.ceil(len(arrays) / COLUMNS)
    if columns * rows * height * width > MOST_PIXELS:
        return None
    whole = np.zeros((rows * height, columns * width, *arrays[0].shape[2:]), arrays[0].dtype)
    for index, (array, (high, wide)) in enumerate(zip(arrays, sizes, strict=True)):
        top, left = index // COLUMNS * height, index % COLUMNS * width
        whole[top : top + high, left : left + wide] = array
    sheet = _Sheet(
        schema=1,
        kind=kind,
        items=len(arrays),
        asked=asked,
        cell=(height, width),
        ids=list(ids),
        sizes=sizes,
        per_metre=per_metre,
    )
    facts = PngInfo()
    facts.add_text(CHUNK, json.dumps(sheet.model_dump(mode="json", by_alias=True)))
    file = io.BytesIO()
    Image.fromarray(whole).save(file, "PNG", pnginfo=facts, compress_level=9)
    return file.getvalue()


def _kind(arrays: Sequence[np.ndarray]) -> tuple[Any, Literal[1000, 100] | None]:
    """picture or depth, and for depth the codes a metre.

    Millimetres, or centimetres where a depth is beyond what 16 bits hold of those.
    """
    if all(array.dtype == np.uint8 and array.shape[2:] == (3,) for array in arrays):
        return "picture", None
    if all(array.dtype.kind == "f" and array.ndim == 2 for array in arrays):
        farthest = max(float(np.nan_to_num(array).max()) for array in arrays)
        return "depth", 1000 if farthest * 1000 <= 65_535 else 100
    kinds = sorted({f"{array.dtype} {array.shape}" for array in arrays})
    raise ValueError(f"cells are neither all pictures nor all depth maps: {', '.join(kinds)}")


def _codes(depth: np.ndarray, per_metre: int) -> np.ndarray:
    metres = np.clip(np.nan_to_num(depth.astype(np.float64)), 0, 65_535 / per_metre)
    return np.rint(metres * per_metre).astype(np.uint16)


def read(path: Path) -> Samples:
    """The samples of a file of `write`. InputError with the file and what is wrong with it."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST} bytes")
        content = path.read_bytes()
        return _read_texts(content) if path.suffix == ".json" else _read_mosaic(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise InputError(f"{path}: not a sample file ({where}: {first['msg']})") from error
    except (ValueError, OSError, SyntaxError) as error:  # PIL: SyntaxError for a broken chunk
        raise InputError(f"{path}: not a sample file ({error})") from error


def _read_texts(content: bytes) -> Samples:
    found = _Texts.model_validate_json(content)
    if len(found.ids) != len(found.texts) or len(set(found.ids)) != len(found.ids):
        raise ValueError(f"{len(set(found.ids))} ids for {len(found.texts)} texts")
    return Samples("text", found.ids, found.texts)


def _read_mosaic(content: bytes) -> Samples:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                sheet = _sheet(image)
                whole = np.asarray(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from error
    cells = []
    for index, (high, wide) in enumerate(sheet.sizes):
        top, left = index // COLUMNS * sheet.cell[0], index % COLUMNS * sheet.cell[1]
        cell = whole[top : top + high, left : left + wide]
        metres = sheet.per_metre and (cell.astype(np.float64) / sheet.per_metre).astype(np.float32)
        cells.append(cell.copy() if metres is None else metres)
    return Samples(sheet.kind, sheet.ids, cells)


def _sheet(image: Image) -> _Sheet:
    """The text chunk, checked against the header, before any pixel is decompressed."""
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels, more than {MOST_PIXELS}")
    text = image.info.get(CHUNK)
    if not isinstance(text, str):
        raise ValueError(f"no text chunk named {CHUNK}: delete it, or run again with resume=false")
    sheet = _Sheet.model_validate_json(text)
    named = len(set(sheet.ids))
    if not sheet.items == len(sheet.ids) == named == len(sheet.sizes):
        raise ValueError(f"{sheet.items} items, {named} ids, {len(sheet.sizes)} sizes")
    height, width = sheet.cell
    if any(not (1 <= h <= height and 1 <= w <= width) for h, w in sheet.sizes):
        raise ValueError(f"a size is outside the cell of {height} x {width}")
    columns, rows = min(COLUMNS, sheet.items), math.ceil(sheet.items / COLUMNS)
    if image.size != (columns * width, rows * height):
        raise ValueError(f"{image.size} pixels do not hold {sheet.items} cells of {width, height}")
    if image.mode != MODES[sheet.kind] or (sheet.per_metre is None) != (sheet.kind == "picture"):
        raise ValueError(f"mode {image.mode}, {sheet.per_metre} codes a metre for {sheet.kind}")
    return sheet
