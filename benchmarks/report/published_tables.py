"""Published numbers as tables: one per task, setting and table of a paper, apart from our own.

A block never mixes two papers or two settings, so that what stands in one block was printed in one
table. Nothing is ranked and nothing is bold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.report import tables
from benchmarks.report.published import COLUMNS, METRICS, SETTINGS, Published

STATUS = "published, not re-run"
CSV_COLUMNS = ["status", *COLUMNS]
PREFACE = (
    "Copied from papers, not re-run. Metric names are the papers': their protocols differ from "
    "those of this harness or are not known, so nothing here is ranked against our rows. Values "
    "are in the scale of this harness. No bold was copied: in the CrossFlow paper it marks the "
    "paper's own rows, not the best ones."
)


def build(rows: Sequence[Published]) -> list[tables.Table]:
    """One table per task, setting and source, in the order of the rows."""
    return [
        _table(block)
        for of_task in _by(rows, "task").values()
        for of_setting in _by(of_task, "setting").values()
        for block in _by(of_setting, "source").values()
    ]


def markdown(rows: Sequence[Published]) -> str:
    """The tables of these rows as GitHub Markdown below one heading; "" where there are none."""
    if not rows:
        return ""
    blocks = [tables.as_markdown(table) for table in build(rows)]
    return "\n\n".join(["## Published numbers", PREFACE, *blocks]) + "\n"


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
    first = block[0]
    paper, _, number = first.source.split(", ")
    metrics = list(dict.fromkeys(row.metric for row in block))
    sized = any(row.params for row in block)
    varied = len({row.train_data for row in block}) > 1
    table = tables.Table(
        title=f"{first.task}, {first.setting}: {paper}, {number}",
        score_key="",
        fair_key=None,
        notes=_notes(block, metrics),
        header=[
            "method",
            *(f"{name} {tables.ARROWS[METRICS[name].better]}" for name in metrics),
            *(["parameters"] if sized else []),
            *(["training data"] if varied else []),
        ],
    )
    for method, members in _by(block, "method").items():
        values = {row.metric: str(row.value) for row in members}
        table.rows.append(
            [
                method,
                *(values.get(name, tables.ABSENT) for name in metrics),
                *([members[0].params or tables.ABSENT] if sized else []),
                *([members[0].train_data] if varied else []),
            ]
        )
    remarks = [(remark, row) for row in block if row.note for remark in row.note.split("; ")]
    table.footnotes = _shared(block, remarks, "method")
    return table


def _notes(block: Sequence[Published], metrics: Sequence[str]) -> list[str]:
    """Where the block was read, what its setting means, what was scored on what."""
    first = block[0]
    notes = [f"{STATUS}; {first.source}", f"{first.setting}: {SETTINGS[first.setting]}"]
    if len({row.train_data for row in block}) == 1:
        notes.append(f"training data: {first.train_data}")
    references = _shared(block, [(row.reference_set, row) for row in block], "metric")
    notes += [f"scored on: {text}" for text in references]
    percent = [n for n in metrics if any(r.metric == n and r.value != r.printed for r in block)]
    if percent:
        notes.append(f"printed 100 times as large in the source: {', '.join(percent)}")
    return notes


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
    found = []
    for text, members in beside.items():
        owners = _by(members, owner)
        names = ", ".join(owners)
        if len(members) != sum(getattr(row, owner) in owners for row in block):
            names += f" ({', '.join(_by(members, other))})"
        found.append(text if len(members) == len(block) else f"{names}: {text}")
    return found
