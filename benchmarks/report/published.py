"""Numbers that papers print: `published.csv`, copied by hand, none of them re-run here.

A published number is only as comparable as its protocol is known, so one rule holds for all rows:
`metric` is the name the paper gives its column, never one of the harness's, whose names promise a
protocol (`fid@30000` is our reference set, crop and feature extractor; "FID-30K" is whatever the
paper did). What is known of the protocol stands in `reference_set` and `note`. Published rows
have no score_key: they are shown apart from ours, never ranked, never joined by metric name.

Columns, all text; only `note` and `params` may be empty:

- task: a real task of the harness, or a data set it has no task for (`ELSEWHERE`: the other columns
  of a table that is kept whole). Never an embedded task.
- method: the row's label. `metric`: a key of `METRICS`.
- value: in the scale of the harness: BLEU, METEOR, ROUGE, SPICE, δ1, CLIP cosines and success rates
  0..1, CIDEr 0..10; all others as printed. printed: the digits in the paper, trailing zeros kept.
- source: paper, where to find it, table. A row that quotes another paper names the table it was
  read from.
- setting: a key of `SETTINGS`. Rows of two settings never share a table.
- train_data, reference_set: what the model was trained on and what it was scored on, as far as the
  source says it. note: what else must be known before the number is cited, remarks separated by
  "; "; inferences say so.
- params: as the paper prints them.

Bold in the CrossFlow paper marks its own row, not the best one; no mark was copied.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path

from crossflow.errors import InputError

FILE = Path(__file__).with_name("published.csv")

TASKS = ("t2i_coco", "caption_coco", "depth_nyu", "depth_kitti", "sr_imagenet")
ELSEWHERE = ("t2i_mjhq", "depth_eth3d", "depth_scannet", "depth_diode")

SETTINGS = {
    "zero-shot": "not trained on the data set it is scored on",
    "zero-shot, aligned": "not trained on the data set it is scored on; relative depth, aligned "
    "with the truth before scoring",
    "trained": "trained on the training split of the data set it is scored on",
    "ablation": "variants of one model, to be compared with each other only",
    "analysis": "a property of a trained model, not a score of the task",
    "not stated": "whether it was trained on the data set it is scored on is not stated",
}

# The data set that `trained` must name in train_data and `zero-shot` must not. Virtual KITTI is
# rendered: training on it leaves KITTI unseen.
DATA_SETS = {
    "t2i_coco": r"\bCOCO\b",
    "t2i_mjhq": r"\bMJHQ",
    "caption_coco": r"\bCOCO\b",
    "depth_nyu": r"\bNYU",
    "depth_kitti": r"(?<!Virtual )\bKITTI\b",
    "depth_eth3d": r"\bETH3D\b",
    "depth_scannet": r"\bScanNet\b",
    "depth_diode": r"\bDIODE\b",
    "sr_imagenet": r"\bImageNet\b",
}


@dataclass(frozen=True)
class Metric:
    """A column of a paper: which way is better, and the range of `value`."""

    better: str
    low: Decimal
    high: Decimal


def _metrics(names: str, better: str, low: str, high: str) -> dict[str, Metric]:
    return {name: Metric(better, Decimal(low), Decimal(high)) for name in names.split("|")}


METRICS = {
    **_metrics("FID-30K|FID-10K|FID|FID-50K train|FID-50K valid", "lower", "0", "500"),
    **_metrics("IS", "higher", "1", "1000"),
    **_metrics("CLIP|BLEU-4|METEOR|ROUGE|SPICE|δ1|SSIM", "higher", "0", "1"),
    **_metrics("CIDEr", "higher", "0", "10"),
    **_metrics("PSNR", "higher", "0", "80"),
    **_metrics("AbsRel", "lower", "0", "1"),
    **_metrics(
        "GenEval|GenEval, single object|GenEval, two objects|GenEval, counting|GenEval, colors|"
        "GenEval, position|GenEval, attribute binding|success, addition|success, subtraction|"
        "success, combination|success, overall|text reconstruction",
        *("higher", "0", "1"),
    ),
}

# A paper with its arXiv number or venue, then the table: enough to find the number again.
SOURCE = re.compile(
    r"[^,]+, (arXiv:\d{4}\.\d{5}(v\d+)?|[A-Z][A-Za-z]+ \d{4}), Table (\d+[a-z]?|[IVX]+)"
)
NUMBER = re.compile(r"\d+(\.\d+)?")
PERCENT = Decimal("0.01")


@dataclass(frozen=True)
class Published:
    """One number of one table; the fields are the columns of the file, in its order."""

    task: str
    method: str
    metric: str
    value: Decimal
    source: str
    train_data: str
    reference_set: str
    note: str
    setting: str
    params: str
    printed: Decimal


COLUMNS = [column.name for column in fields(Published)]
MAY_BE_EMPTY = ("note", "params")


def rows(task: str | None = None, file: Path = FILE) -> list[Published]:
    """Published numbers of a task (all where None), in the order of the file.

    A task without any has none; that is no error. Raises InputError that names file, line and
    column for a file that breaks a rule above.
    """
    found = _read(file)
    return found if task is None else [row for row in found if row.task == task]


def _read(file: Path) -> list[Published]:
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            if header != COLUMNS:
                raise InputError(f"{file}, line 1: the columns must be {','.join(COLUMNS)}")
            found = [(reader.line_num, _row(file, reader.line_num, cells)) for cells in reader]
    except FileNotFoundError:
        raise InputError(f"{file} is missing; install the package again") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} is no CSV file in UTF-8: {error}") from error
    _check_together(file, found)
    return [row for _, row in found]


def _row(file: Path, line: int, cells: list[str]) -> Published:
    """One line, all its fields checked."""
    if len(cells) != len(COLUMNS):
        raise InputError(f"{file}, line {line}: {len(cells)} cells for {len(COLUMNS)} columns")
    text = dict(zip(COLUMNS, cells, strict=True))

    def refuse(column: str, why: str) -> InputError:
        return InputError(f"{file}, line {line}, {column} {text[column]!r}: {why}")

    for column, cell in text.items():
        if cell != " ".join(cell.split()):
            raise refuse(column, "blanks at the ends, in a row, or a line break")
        if not cell and column not in MAY_BE_EMPTY:
            raise refuse(column, "must not be empty")
    for column, known in (
        ("task", (*TASKS, *ELSEWHERE)),
        ("metric", METRICS),
        ("setting", SETTINGS),
    ):
        if text[column] not in known:
            raise refuse(column, f"not one of {'; '.join(known)}")
    for column in ("value", "printed"):
        if not NUMBER.fullmatch(text[column]):
            raise refuse(column, "must be a plain finite number such as 0.36")
    if not SOURCE.fullmatch(text["source"]):
        raise refuse("source", "must be 'paper, arXiv:number or venue and year, Table n'")
    value, printed = Decimal(text["value"]), Decimal(text["printed"])
    metric = METRICS[text["metric"]]
    if not metric.low <= value <= metric.high:
        raise refuse("value", f"{text['metric']} lies in {metric.low} to {metric.high}")
    # Papers print some shares in percent: the one conversion there is, told by the range.
    if value != (printed if printed <= metric.high else printed * PERCENT):
        raise refuse("value", f"is not the printed {text['printed']} in the harness's scale")
    named = bool(re.search(DATA_SETS[text["task"]], text["train_data"]))
    unseen = text["setting"].startswith("zero-shot")
    if (unseen and named) or (text["setting"] == "trained" and not named):
        raise refuse("setting", f"contradicts train_data {text['train_data']!r}")
    return Published(**{**text, "value": value, "printed": printed})  # type: ignore[arg-type]


def _check_together(file: Path, found: Iterable[tuple[int, Published]]) -> None:
    """One number a cell of a table, one scale for its column, one model for its row."""
    cells: dict[tuple[str, ...], int] = {}
    scales: dict[tuple[str, ...], tuple[int, bool]] = {}
    models: dict[tuple[str, ...], tuple[int, tuple[str, str]]] = {}
    for line, row in found:
        table = (row.task, row.source, row.setting)
        first = cells.setdefault((*table, row.method, row.metric), line)
        if first != line:
            raise InputError(
                f"{file}, line {line}: {row.method}, {row.metric} of {row.source} stands in line "
                f"{first} already"
            )
        percent = row.value != row.printed
        first, before = scales.setdefault((*table, row.metric), (line, percent))
        if before != percent:
            raise InputError(f"{file}, line {line}, printed: another scale than in line {first}")
        model = (row.train_data, row.params)
        first, same = models.setdefault((*table, row.method), (line, model))
        if same != model:
            raise InputError(
                f"{file}, line {line}: other train_data or params for {row.method} than in line "
                f"{first}"
            )
