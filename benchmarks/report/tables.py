"""Tables for people: one per score_key, framed by floor and oracle, one block per fair_key."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.records.digits import exact
from benchmarks.records.keys import differing
from benchmarks.records.record import Record
from benchmarks.report.arms import by, by_budget
from benchmarks.report.columns import paper_columns
from benchmarks.report.entries import FIRST, Entry, entries, failures, is_quick, marks, uneven
from benchmarks.report.framing import unranked

QUICK = "quick: not for comparison"
ABSENT = "–"
ARROWS = {"higher": "↑", "lower": "↓"}
MARKED = (
    "best arm bold, second underlined, equal numbers alike; a difference may be chance: the "
    "verdicts are in leaderboard.csv"
)


@dataclass
class Table:
    """A block of rows that may be compared, with what must be read beside it.

    entries: what the rows were made of, in their order, and metrics: the scores in their order,
    better: which way each is better. Published tables have neither. marks: (row, column) -> FIRST
    or SECOND for cells of `rows`; empty where nothing may be called the best.
    """

    title: str
    score_key: str
    fair_key: str | None
    notes: list[str]
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    footnotes: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)
    better: dict[str, str] = field(default_factory=dict)
    marks: dict[tuple[int, int], int] = field(default_factory=dict)


def comparison_table(records: Sequence[Record]) -> str:
    """The records of one match, or of many, as text for the screen."""
    return "\n\n".join(_as_text(table) for table in build(records)) + "\n"


def markdown(tables: Sequence[Table]) -> str:
    """Tables as GitHub Markdown; all text from records is escaped."""
    return "\n\n".join(as_markdown(table) for table in tables) + "\n"


def table_rows(tables: Sequence[Table]) -> tuple[list[str], list[dict[str, str]]]:
    """Tables as one list of rows for CSV, and its columns."""
    columns = ["table", "score_key", "fair_key"]
    rows = []
    for table in tables:
        columns += [name for name in table.header if name not in columns]
        rows += [
            {
                "table": table.title,
                "score_key": table.score_key,
                "fair_key": table.fair_key or "",
                **dict(zip(table.header, row, strict=True)),
            }
            for row in table.rows
        ]
    return columns, rows


def build(records: Sequence[Record]) -> list[Table]:
    """One table per score_key and fair_key, smaller budgets first, framed by its matches' rows.

    Where a task has several, each says in which fields it differs from the one before.
    """
    tables = []
    records = sorted(records, key=lambda record: record.run_id)
    for (task,), of_task in by(records, "task").items():
        before: Record | None = None
        for (_,), same_items in by(of_task, "score_key").items():
            of_keys = {key: of for (key,), of in by(same_items, "fair_key").items() if key}
            for of_key in sorted(of_keys.values(), key=by_budget) or [[]]:
                group = [*of_key, *unranked(same_items, of_key)]
                table = _table(str(task), group)
                sample = group[0]
                if before is not None:
                    table.notes.append(_difference(before, sample))
                before = sample
                tables.append(table)
    return tables


def _table(task: str, group: Sequence[Record]) -> Table:
    """Rows of one fair_key between its framing rows."""
    first = group[0]
    metrics = _columns(group, first.primary)
    better = {name: score.better for record in group for name, score in record.scores.items()}
    table = Table(
        title=f"{task} (version {first.fair.score['version']}, {first.fair.score['split']})",
        score_key=first.score_key,
        fair_key=next((r.fair_key for r in group if r.fair_key is not None), None),
        notes=_notes(group),
        header=[
            "method",
            *(f"{name} {ARROWS[better[name]]}" for name in metrics),
            "NFE",
            "guidance",
            "parameters",
            "samples",
            "FLOPs",
        ],
    )
    table.metrics, table.better = metrics, dict(better)
    table.entries = entries(group, {name: better[name] for name in metrics})
    for entry in table.entries:
        cells = [_cell(found) for found in entry.values]
        table.rows.append([entry.name, *cells, *_effort(entry.typical)])
        table.footnotes += [*failures(entry), *([entry.note] if entry.note else [])]
    found = marks(table.entries, metrics, better, lambda _, mean: float(f"{mean:.4g}"))
    table.marks = {(row, 1 + column): place for (row, column), place in found.items()}
    _count_seeds(table)
    table.footnotes += _absences(group)
    return table


def _count_seeds(table: Table) -> None:
    """Says how many seeds each row has, where arms have different ones and none is marked."""
    said = uneven(table.entries)
    if not said:
        return
    table.footnotes.append(f"{said}; no arm is marked or ranked")
    table.header.append("seeds")
    for entry, row in zip(table.entries, table.rows, strict=True):
        seeds = len({record.seed for record in entry.records})
        row.append(str(seeds) if entry.kind == "arm" else ABSENT)


def _columns(group: Sequence[Record], primary: str) -> list[str]:
    """The primary score, its levels, the paper's columns, then the other whole metrics by name."""
    names = {name for record in group for name in record.scores}
    levels = sorted(name for name in names if name.startswith(f"{primary}/"))
    whole = sorted(name for name in names if "/" not in name)
    first = paper_columns(whole, primary)
    primaries, papers = first[: primary in names], first[primary in names :]
    others = [name for name in whole if name not in first]
    return [*primaries, *levels, *papers, *others]


def _notes(group: Sequence[Record]) -> list[str]:
    """The lines above a table: what was scored, the budget, whether it may be compared."""
    counts = {score.n for record in group for score in record.scores.values()}
    items = f", {max(counts)} items" if counts else ""
    notes = [f"primary score {group[0].primary}{items}; score_key {group[0].score_key}"]
    ran = [record for record in group if record.fair.fair is not None and record.budget]
    if ran:
        fair, budget = ran[0].fair.fair, ran[0].budget
        assert fair is not None
        assert budget is not None
        seeds = sorted({record.seed for record in ran})
        notes.append(
            f"budget {exact(budget.limit)} {budget.kind} an arm, model {fair['model']}, batch "
            f"{fair['batch']}, track {fair['track']}, seed{'s' if len(seeds) > 1 else ''} "
            f"{', '.join(map(str, seeds))}; fair_key {ran[0].fair_key}"
        )
        crawled = ran[0].fair.proof.get("training")
        if isinstance(crawled, dict):
            notes.append(
                f"trained on {crawled['pairs']} pairs of task.train_root in place of the training "
                f"split; {crawled['left_out_scored_files']} with the very file of a scored image "
                "left out, the same picture in another file is not noticed"
            )
        if len(seeds) > 1:
            notes.append("mean ± standard deviation over training seeds")
    if is_quick(group):
        notes.append(QUICK)
    return notes


def _difference(before: Record, now: Record) -> str:
    fields = differing(before.fair.score, now.fair.score)
    if not fields and before.fair.fair is not None and now.fair.fair is not None:
        fields = differing(before.fair.fair, now.fair.fair)
    return f"not comparable with the table above, which differs in {'; '.join(fields)}"


def _cell(values: Sequence[float] | None) -> str:
    if not values:
        return ABSENT
    mean = f"{statistics.fmean(values):.4g}"
    return f"{mean} ± {statistics.stdev(values):.2g}" if len(values) > 1 else mean


def _effort(record: Record) -> list[str]:
    """What a row cost: network calls a sample, guidance, parameters, training pairs, FLOPs."""
    model, budget = record.model, record.budget
    guided = model is not None and model.guidance is not None
    return [
        str(model.nfe) if model else ABSENT,
        f"{model.guidance:g}" if model is not None and guided else ABSENT,
        f"{model.params / 1e6:.2f} M" if model else ABSENT,
        str(budget.samples) if budget else ABSENT,
        f"{budget.train_flops:.3g}" if budget else ABSENT,
    ]


def _absences(group: Sequence[Record]) -> list[str]:
    """Why a score or a method is not in the table; each reason once."""
    missing: dict[tuple[str, str], list[str]] = {}
    unfit: dict[str, None] = {}
    for record in group:
        for name, reason in sorted(record.unavailable.items()):
            rows = missing.setdefault((name, reason), [])
            rows += [record.method] if record.method not in rows else []
        absent = record.fair.proof.get("absent")
        if isinstance(absent, dict):
            for name, why in sorted(absent.items()):
                unfit[f"{name} does not apply: {why}"] = None
    every = {record.method for record in group}
    notes = []
    for (name, reason), rows in missing.items():
        where = "" if set(rows) == every else f" for {', '.join(rows)}"
        notes.append(f"{name} unavailable{where}: {reason}")
    return notes + list(unfit)


def _as_text(table: Table) -> str:
    from tabulate import tabulate

    body = tabulate(table.rows, table.header, tablefmt="simple", disable_numparse=True)
    return "\n".join([table.title, *table.notes, "", body, *table.footnotes])


def as_markdown(table: Table) -> str:
    """One table with its notes; all text in it is escaped."""
    from tabulate import tabulate

    header = [escape(cell) for cell in table.header]
    align = ["left", *["right"] * (len(header) - 1)]
    body = tabulate(
        markdown_rows(table), header, tablefmt="pipe", disable_numparse=True, colalign=align
    )
    notes = [f"**{note}**" if note == QUICK else escape(note) for note in table.notes]
    notes += [MARKED] if table.marks else []
    footnotes = [f"- {escape(note)}" for note in table.footnotes]
    parts = [f"### {escape(table.title)}", "  \n".join(notes), body, "\n".join(footnotes)]
    return "\n\n".join(part for part in parts if part)


def markdown_rows(table: Table) -> list[list[str]]:
    """The rows as Markdown, escaped and marked; GitHub has no sign for underlining but a tag."""
    rows = [[escape(cell) for cell in row] for row in table.rows]
    for (row, column), place in table.marks.items():
        around = "**{}**" if place == FIRST else "<ins>{}</ins>"
        rows[row][column] = around.format(rows[row][column])
    return rows


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line; `_` inside a word needs no escape."""
    text = re.sub(r"[\\`*|<>\[\]~&#$]", r"\\\g<0>", " ".join(text.split()))
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
