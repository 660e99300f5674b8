"""Tables for people: one per score_key and fair_key, with floor and oracle as bounds."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.records.keys import differing, exact
from benchmarks.records.record import Record
from benchmarks.report import gates
from benchmarks.report.columns import paper_columns, places
from benchmarks.report.rows import Board, Row, boards

QUICK = "quick: not for comparison"
ABSENT = "–"
ARROWS = {"higher": "↑", "lower": "↓"}
FIRST, SECOND = 1, 2
MARKED = (
    "best arm bold, second underlined, equal numbers alike; a difference may be chance: the "
    "verdicts are in leaderboard.csv"
)
AS_FAILED = "; a failed seed counts as the worse of the floor and the worst completed run"
METHODS = ("floor", "regression", "flow_matching", "crossflow", "oracle")
OVERVIEW = (
    "Lines are not to be compared with each other: each is a fair_key of its own. Best arm of a "
    "line bold, second underlined, equal numbers alike; none in lines marked quick, which are too "
    "small to compare methods. A difference may be chance: the verdicts are in leaderboard.csv. "
    "Floor and oracle frame, they are not ranked. – is not run, not applicable or without this "
    "score; the task's table says which, and holds all other scores."
)
COSTS = ["NFE", "guidance", "parameters", "samples", "FLOPs"]


@dataclass
class Table:
    """A block of rows that may be compared, with what must be read beside it."""

    title: str
    score_key: str = ""
    fair_key: str | None = None
    notes: list[str] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    footnotes: list[str] = field(default_factory=list)
    board: Board | None = None  # what the rows were made of; none for published numbers
    metrics: list[str] = field(default_factory=list)  # the columns after the first
    marks: dict[tuple[int, int], int] = field(default_factory=dict)  # (row, column): FIRST, SECOND


def comparison_table(records: Sequence[Record]) -> str:
    """The records of one match, or of many, as text for the screen."""
    from tabulate import tabulate

    texts = []
    for table in build(records):
        body = tabulate(table.rows, table.header, tablefmt="simple", disable_numparse=True)
        texts.append("\n".join([table.title, *table.notes, "", body, *table.footnotes]))
    return "\n\n".join(texts) + "\n"


def markdown(tables: Sequence[Table]) -> str:
    """Tables as GitHub Markdown; all text from records is escaped."""
    return "\n\n".join(as_markdown(table) for table in tables) + "\n"


def table_rows(tables: Sequence[Table]) -> tuple[list[str], list[dict[str, str]]]:
    """Tables as one list of rows for CSV, and its columns."""
    names = [name for table in tables for name in table.header]
    rows = []
    for table in tables:
        keys = {"table": table.title, "score_key": table.score_key}
        keys["fair_key"] = table.fair_key or ""
        rows += [keys | dict(zip(table.header, row, strict=True)) for row in table.rows]
    return list(dict.fromkeys(["table", "score_key", "fair_key", *names])), rows


def build(records: Sequence[Record]) -> list[Table]:
    """One table per board: see `rows.boards`.

    Where a task has several, each says in which fields it differs from the one before.
    """
    tables: list[Table] = []
    before: Record | None = None
    for board in boards(records):
        table, first = of_board(board), board.first
        if before is not None and before.task == first.task:
            fields = differing(before.fair.score, first.fair.score)
            fields = fields or differing(before.fair.fair or {}, first.fair.fair or {})
            note = f"not comparable with the table above, which differs in {'; '.join(fields)}"
            table.notes.append(note)
        before = first
        tables.append(table)
    return tables


def of_board(board: Board) -> Table:
    """The table of one board."""
    first = board.first
    table = Table(
        title=f"{first.task} (version {first.fair.score['version']}, {first.fair.score['split']})",
        score_key=first.score_key,
        fair_key=board.fair_key,
        notes=_notes(board),
        board=board,
        metrics=_columns(board),
    )
    table.header = ["method", *(f"{n} {ARROWS[board.better[n]]}" for n in table.metrics), *COSTS]
    for row in board.rows:
        cells = [_cell(board.values(row, name)) for name in table.metrics]
        # The run whose network and cost the row shows: a failed one spent a part of the budget.
        table.rows.append([row.label, *cells, *_effort(row.completed[-1])])
        table.footnotes += [*_failures(row), *([row.note] if row.note else [])]
    marked = marks(board, table.metrics, lambda _, mean: float(f"{mean:.4g}"))
    table.marks = {(row, 1 + column): place for (row, column), place in marked.items()}
    if board.uneven:
        table.footnotes.append(f"{board.uneven}; no arm is marked or ranked")
        table.header.append("seeds")
        for row, cells in zip(board.rows, table.rows, strict=True):
            cells.append(str(len(row.seeds)) if row.kind == "arm" else ABSENT)
    table.footnotes += _absences(board.records)
    return table


def marks(
    board: Board, metrics: Sequence[str], shown: Callable[[str, float], float]
) -> dict[tuple[int, int], int]:
    """(row, metric) -> FIRST or SECOND, among the arms that may be ranked; see `places`.

    shown(metric, mean) is the mean as the reader sees it: numbers that read equal share a place.
    None where the arms have different seeds, or a preset was too small.
    """
    if board.quick or board.uneven:
        return {}
    marked: dict[tuple[int, int], int] = {}
    ranked = [row.kind == "arm" and gates.of_arm(row) is None for row in board.rows]
    for column, metric in enumerate(metrics):
        values = [
            board.values(row, metric) if may else None
            for may, row in zip(ranked, board.rows, strict=True)
        ]
        numbers = [shown(metric, statistics.fmean(of.values())) if of else None for of in values]
        for row, place in enumerate(places(numbers, board.better[metric])):
            if place in (FIRST, SECOND):
                marked[row, column] = place
    return marked


def _failures(row: Row) -> list[str]:
    """What must be known of a row's runs before its numbers are read."""
    notes, runs = [], len(row.records)
    failed = sum(record.status == "failed" for record in row.records)
    if failed:
        why = AS_FAILED if row.kind == "arm" else ""
        notes.append(f"{row.name}: {failed} of {runs} runs failed{why}")
    slowed = sum(map(gates.clock_is_invalid, row.records))
    if slowed:
        notes.append(f"{row.name}: invalid: {slowed} of {runs} runs trained on a slowed clock")
    return notes


def _columns(board: Board) -> list[str]:
    """The primary score, its levels, the paper's columns, then the other whole metrics by name."""
    primary = board.first.primary
    levels = sorted(name for name in board.better if name.startswith(f"{primary}/"))
    whole = sorted(name for name in board.better if "/" not in name)
    first = [primary] if primary in whole else []
    return list(dict.fromkeys([*first, *levels, *paper_columns(whole, primary), *whole]))


def _notes(board: Board) -> list[str]:
    """The lines above a table: what was scored, the budget, whether it may be compared."""
    first = board.first
    counts = {score.n for record in board.records for score in record.scores.values()}
    items = f", {max(counts)} items" if counts else ""
    notes = [f"primary score {first.primary}{items}; score_key {first.score_key}"]
    fair, budget = first.fair.fair, first.budget
    if fair is not None and budget is not None:
        notes.append(
            f"budget {exact(budget.limit)} {budget.kind} an arm, model {fair['model']}, batch "
            f"{fair['batch']}, track {fair['track']}, seed{'s' if len(board.seeds) > 1 else ''} "
            f"{', '.join(map(str, board.seeds))}; fair_key {board.fair_key}"
        )
        crawled = first.fair.proof.get("training")
        if isinstance(crawled, dict):
            notes.append(
                f"trained on {crawled['pairs']} pairs of task.train_root in place of the training "
                f"split; {crawled['left_out_scored_files']} with the very file of a scored image "
                "left out, the same picture in another file is not noticed"
            )
        if len(board.seeds) > 1:
            notes.append("mean ± standard deviation over training seeds")
    return [*notes, QUICK] if board.quick else notes


def _cell(values: dict[int, float] | None) -> str:
    if not values:
        return ABSENT
    mean = f"{statistics.fmean(values.values()):.4g}"
    return f"{mean} ± {statistics.stdev(values.values()):.2g}" if len(values) > 1 else mean


def _effort(record: Record) -> list[str]:
    """What a row cost: the columns COSTS."""
    model, budget = record.model, record.budget
    guidance = model.guidance if model else None
    return [
        str(model.nfe) if model else ABSENT,
        ABSENT if guidance is None else f"{guidance:g}",
        f"{model.params / 1e6:.2f} M" if model else ABSENT,
        str(budget.samples) if budget else ABSENT,
        f"{budget.train_flops:.3g}" if budget else ABSENT,
    ]


def _absences(records: Sequence[Record]) -> list[str]:
    """Why a score or a method is not in the table; each reason once."""
    missing: dict[tuple[str, str], dict[str, None]] = {}
    unfit: dict[str, None] = {}
    for record in records:
        for name, reason in sorted(record.unavailable.items()):
            missing.setdefault((name, reason), {})[record.method] = None
        absent = record.fair.proof.get("absent")
        for name, why in sorted(absent.items()) if isinstance(absent, dict) else []:
            unfit[f"{name} does not apply: {why}"] = None
    every, notes = {record.method for record in records}, []
    for (name, reason), methods in missing.items():
        where = "" if methods.keys() == every else f" for {', '.join(methods)}"
        notes.append(f"{name} unavailable{where}: {reason}")
    return [*notes, *unfit]


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


def overview(built: Sequence[Table]) -> str:
    """tables/overview.md: a line per task and budget, on the primary score, all trained arms."""
    from tabulate import tabulate

    rows, notes = [], [OVERVIEW]
    firsts = [table.board.first for table in built if table.board]
    versions = {(first.task, str(first.fair.score["version"])) for first in firsts}
    for table in built:
        board = table.board
        if board is None or not board.arms:
            continue
        several = sum(task == board.first.task for task, _ in versions) > 1
        rows.append(_overview_line(table, board, several))
        where = f"{table.title}, fair_key {table.fair_key}"
        if board.uneven:
            notes.append(f"{where}: {board.uneven}; no arm is marked.")
        others = [arm.name for arm in board.arms if arm.name not in METHODS]
        if others:
            notes.append(f"{where}: also {', '.join(others)}; see its table.")
    header = ["task", "score", "budget an arm", "model", "seeds", *METHODS, "fair_key"]
    align = [*["left"] * 4, *["right"] * (1 + len(METHODS)), "left"]
    body = tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=align)
    return "\n\n".join([body, *map(escape, notes)]) + "\n"


def _overview_line(table: Table, board: Board, several: bool) -> list[str]:
    """One line: cells are Markdown, already escaped. several: its task has two versions."""
    first, score = board.first, board.first.primary
    scored = score in table.metrics
    cells: dict[str, list[str]] = {}
    for row, shown in zip(board.rows, markdown_rows(table), strict=True):
        if scored and row.kind != "evaluation":
            # Bounds of different matches may be several rows: each is told, none is averaged.
            name = row.name if row.kind == "arm" else row.method
            cells.setdefault(name, []).append(shown[1 + table.metrics.index(score)])
    counts = sorted({len(arm.seeds) for arm in board.arms})
    version = f", version {first.fair.score['version']}" if several else ""
    budget, fair = first.budget, first.fair.fair or {}
    return [
        escape(f"{first.task}, {first.fair.score['split']}{version}")
        + (" (quick)" if board.quick else ""),
        escape(f"{score} {ARROWS[board.better[score]]}" if scored else score),
        f"{exact(budget.limit)} {budget.kind}" if budget else "",
        escape(str(fair["model"])),
        " to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))),
        *(" or ".join(cells.get(name, [ABSENT])) for name in METHODS),
        str(table.fair_key),
    ]
