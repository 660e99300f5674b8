"""Numbers that papers print: `published.csv`, copied by hand, none of them re-run here.

`metric` is the name the paper gives its column, never one of the harness's, whose names promise a
protocol (`fid@30000` is our reference set, crop and feature extractor; "FID-30K" is whatever the
paper did). Published rows have no score_key: they are shown apart from ours, never ranked, never
joined by metric name. What a column may hold is checked by tests/report/test_published.py.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path

from benchmarks.report import tables

FILE = Path(__file__).with_name("published.csv")
SETTINGS = {
    "zero-shot": "not trained on the data set it is scored on",
    "zero-shot, aligned": "not trained on the data set it is scored on; relative depth, aligned "
    "with the truth before scoring",
    "trained": "trained on the training split of the data set it is scored on",
    "ablation": "variants of one model, to be compared with each other only",
    "analysis": "a property of a trained model, not a score of the task",
    "not stated": "whether it was trained on the data set it is scored on is not stated",
}
LOWER = ("FID-30K", "FID-10K", "FID", "FID-50K train", "FID-50K valid", "AbsRel")
STATUS = "published, not re-run"
PREFACE = (
    "Copied from papers, not re-run. Metric names are the papers': their protocols differ from "
    "those of this harness or are not known, so nothing here is ranked against our rows. Values "
    "are in the scale of this harness. No bold was copied: in the CrossFlow paper it marks the "
    "paper's own rows, not the best ones."
)


@dataclass(frozen=True)
class Published:
    """One number of one table; the fields are the columns of the file, in its order."""

    task: str  # one of the harness, or a data set it has no task for; never an embedded task
    method: str  # the row's label
    metric: str  # as the paper heads its column
    value: Decimal  # BLEU, METEOR, ROUGE, SPICE, δ1, CLIP, rates 0..1, CIDEr 0..10; else as printed
    source: str  # paper, where to find it, table; of a quoted number, the table it was read from
    train_data: str  # what the model was trained on, as far as the source says
    reference_set: str  # what it was scored on
    note: str  # what else must be known, remarks separated by "; "; inferences say so
    setting: str  # one of SETTINGS; rows of two settings never share a table
    params: str  # as the paper prints them
    printed: Decimal  # the digits in the paper, trailing zeros kept


COLUMNS = [column.name for column in fields(Published)]
CSV_COLUMNS = ["status", *COLUMNS]


def rows(task: str | None = None, file: Path = FILE) -> list[Published]:
    """Published numbers of a task (all where None), in the order of the file; often none."""
    with file.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream, strict=True))
    numbers = ({name: Decimal(line[name]) for name in ("value", "printed")} for line in lines)
    every = [Published(**line | two) for line, two in zip(lines, numbers, strict=True)]  # type: ignore[arg-type]
    return [row for row in every if task in (None, row.task)]


def build(rows: Sequence[Published]) -> list[tables.Table]:
    """One table per task, setting and source, in the order of the rows: never two papers in one."""
    return [
        _table(block)
        for of_task in _by(rows, "task").values()
        for of_setting in _by(of_task, "setting").values()
        for block in _by(of_setting, "source").values()
    ]


def markdown(rows: Sequence[Published]) -> str:
    """The tables of these rows as GitHub Markdown below one heading; "" where there are none."""
    blocks = [tables.as_markdown(table) for table in build(rows)]
    return "\n\n".join(["## Published numbers", PREFACE, *blocks]) + "\n" if rows else ""


def csv_rows(rows: Iterable[Published]) -> list[dict[str, str]]:
    """The rows of `published.csv` with their status beside them, one number a line."""
    return [
        {"status": STATUS, **{name: str(getattr(row, name)) for name in COLUMNS}} for row in rows
    ]


def _by(rows: Iterable[Published], column: str) -> dict[str, list[Published]]:
    """Rows grouped by one column, groups in the order of their first rows: that of the papers."""
    groups: dict[str, list[Published]] = {}
    for row in rows:
        groups.setdefault(getattr(row, column), []).append(row)
    return groups


def _table(block: Sequence[Published]) -> tables.Table:
    """All rows of one block: a line per method, a column per metric."""
    first, metrics = block[0], _by(block, "metric")
    paper, _, number = first.source.split(", ")
    arrows = {name: tables.ARROWS["lower" if name in LOWER else "higher"] for name in metrics}
    further = {"parameters": "params"} if any(row.params for row in block) else {}
    notes = [f"{STATUS}; {first.source}", f"{first.setting}: {SETTINGS[first.setting]}"]
    if len(_by(block, "train_data")) == 1:
        notes.append(f"training data: {first.train_data}")
    else:
        further |= {"training data": "train_data"}
    references = _shared(block, [(row.reference_set, row) for row in block], "metric")
    notes += [f"scored on: {text}" for text in references]
    percent = [name for name, of in metrics.items() if any(r.value != r.printed for r in of)]
    if percent:
        notes.append(f"printed 100 times as large in the source: {', '.join(percent)}")
    lines = []
    for method, members in _by(block, "method").items():
        values = {row.metric: str(row.value) for row in members}
        cells = [
            *map(values.get, metrics),
            *(getattr(members[0], name) for name in further.values()),
        ]
        lines.append([method, *(cell or tables.ABSENT for cell in cells)])
    remarks = [(remark, row) for row in block if row.note for remark in row.note.split("; ")]
    return tables.Table(
        f"{first.task}, {first.setting}: {paper}, {number}",
        notes=notes,
        header=["method", *(f"{name} {arrow}" for name, arrow in arrows.items()), *further],
        rows=lines,
        footnotes=_shared(block, remarks, "method"),
    )


def _shared(
    block: Sequence[Published], texts: Iterable[tuple[str, Published]], owner: str
) -> list[str]:
    """Each text once, after the owners (methods or metrics) of the rows it stands beside.

    Without owners where it stands beside every row of the block. Where it stands beside some rows
    of an owner only, those rows are named too.
    """
    other = {"method": "metric", "metric": "method"}[owner]
    beside: dict[str, list[Published]] = {}
    for text, row in texts:
        beside.setdefault(text, []).append(row)
    lines = []
    for text, members in beside.items():
        owners = _by(members, owner)
        names = ", ".join(owners)
        if len(members) != sum(getattr(row, owner) in owners for row in block):
            names += f" ({', '.join(_by(members, other))})"
        lines.append(text if len(members) == len(block) else f"{names}: {text}")
    return lines
