"""Tables for people: one per score_key and fair_key, with floor and oracle as bounds."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tabulate import tabulate

from benchmarks.records.keys import differing, exact
from benchmarks.records.record import Record
from benchmarks.report.gates import bars_arm, clock_is_invalid
from benchmarks.report.rows import Board, Row, boards, ranks

QUICK = "quick: not for comparison"
ABSENT = "–"
ARROWS = {"higher": "↑", "lower": "↓"}
FIRST, SECOND = 1, 2
MARKED = (
    "best arm bold, second underlined, equal numbers alike; a difference may be chance: the "
    "verdicts are in leaderboard.csv"
)
METHODS = ("floor", "regression", "flow_matching", "crossflow", "oracle")
OVERVIEW = (
    "Lines are not to be compared with each other: each is a fair_key of its own. Best arm of a "
    "line bold, second underlined, equal numbers alike; none in lines marked quick, which are too "
    "small to compare methods. A difference may be chance: the verdicts are in leaderboard.csv. "
    "Floor and oracle frame, they are not ranked. – is not run, not applicable or without this "
    "score; the task's table says which, and holds all other scores."
)
# Metrics that are columns of the CrossFlow paper (Tables 1, 4 to 7), and KID beside FID, which is
# biased for few items; PSNR and SSIM in the space of the primary score.
PAPER = (
    r"fid(_[a-z]\w*)?@\d+ kid(_[a-z]\w*)?@\d+ is@\d+ clip_\w+_cos scene_match geneval_\w+ bleu4 "
    r"meteor rouge_l cider spice absrel delta1 psnr_{space} ssim_{space} lpips_\w+"
).split()
COSTS = ["NFE", "guidance", "parameters", "samples", "FLOPs", "seconds"]
SLOW = "*"  # at seconds that disagree with FLOPs


@dataclass
class Table:
    """A block of rows that may be compared, with what must be read beside it."""

    title: str
    notes: list[str] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    footnotes: list[str] = field(default_factory=list)
    board: Board | None = None  # what the rows were made of; none for published numbers
    metrics: list[str] = field(default_factory=list)  # the columns after the first
    marks: dict[tuple[int, int], int] = field(default_factory=dict)  # (row, column): FIRST, SECOND
    score_key: str = ""
    fair_key: str | None = None


def paper_columns(names: Iterable[str], primary: str) -> list[str]:
    """The primary score, then the paper's columns, of the metrics that there are."""
    known, space = set(names), "y" if primary.endswith("_y") else "rgb"
    chosen = [primary] if primary in known else []
    for pattern in PAPER:
        wanted = pattern.replace("{space}", space)
        chosen += sorted(n for n in known - set(chosen) if re.fullmatch(wanted, n))
    return chosen


def build(records: Sequence[Record]) -> list[Table]:
    """One table per board; of one task, each says in which fields it differs from the last."""
    every = boards(records)
    tables = [of_board(board) for board in every]
    firsts = pairwise(board.first for board in every)
    for table, (before, first) in zip(tables[1:], firsts, strict=True):
        if before.task == first.task:
            fields = differing(before.fair.score, first.fair.score)
            fields = fields or differing(before.fair.fair or {}, first.fair.fair or {})
            why = f"not comparable with the table above, which differs in {'; '.join(fields)}"
            table.notes.append(why)
    return tables


def of_board(board: Board) -> Table:
    first, better = board.first, board.better
    levels = sorted(name for name in better if name.startswith(f"{first.primary}/"))
    whole = sorted(name for name in better if "/" not in name)
    primary = [first.primary] if first.primary in better else []
    papers = paper_columns(whole, first.primary)
    metrics = list(dict.fromkeys([*primary, *levels, *papers, *whole, *sorted(better)]))
    header = ["method", *(f"{name} {ARROWS[better[name]]}" for name in metrics), *COSTS]
    title = f"{first.task} (version {first.fair.score['version']}, {first.fair.score['split']})"
    table = Table(title, _notes(board), header, board=board, metrics=metrics)
    table.score_key, table.fair_key = first.score_key, board.fair_key
    slow = board.time_marks
    for row in board.rows:
        cells = [_cell(board.values(row, name)) for name in metrics]
        label = f"{row.name} (predictions only)" if row.kind == "evaluation" else row.name
        table.rows.append([label, *cells, *_effort(row, row.name in slow)])
        table.footnotes += _remarks(row)
    table.footnotes += [f"{SLOW} {name}: {mark}" for name, mark in slow.items()]
    if not board.quick and not board.uneven:
        table.marks = _marks(board, table)
    if board.uneven:
        table.footnotes.append(f"{board.uneven}; no arm is marked or ranked")
        table.header.append("seeds")
        for row, line in zip(board.rows, table.rows, strict=True):
            line.append(str(len(row.seeds)) if row.kind == "arm" else ABSENT)
    table.footnotes += _absences(board.records)
    return table


def _marks(board: Board, table: Table) -> dict[tuple[int, int], int]:
    """Of arms that may be ranked, none where all are equal; what reads equal shares a place."""
    marked: dict[tuple[int, int], int] = {}
    may = [row.kind == "arm" and bars_arm(row) is None for row in board.rows]
    for column, metric in enumerate(table.metrics, 1):
        cells = [line[column] if ok else ABSENT for ok, line in zip(may, table.rows, strict=True)]
        shown = [None if cell == ABSENT else float(cell.split()[0]) for cell in cells]
        if len(set(shown) - {None}) > 1:
            places = enumerate(ranks(shown, board.better[metric]))
            marked |= {(row, column): place for row, place in places if place in (FIRST, SECOND)}
    return marked


def _remarks(row: Row) -> list[str]:
    notes, runs, rules = [], len(row.records), (row.records[0].fair.fair or {}).get("rules")
    if isinstance(rules, dict) and (weights := rules.get("init_sha256")):
        what = "began with trained weights, which its budget leaves out"
        notes.append(f"{row.name}: {what} (SHA-256 {weights})")
    failed = sum(record.status == "failed" for record in row.records)
    if failed:
        why = "; a failed seed counts as the worse of the floor and the worst completed run"
        notes.append(f"{row.name}: {failed} of {runs} runs failed{why * (row.kind == 'arm')}")
    slowed = sum(map(clock_is_invalid, row.records))
    if slowed:
        notes.append(f"{row.name}: invalid: {slowed} of {runs} runs trained on a slowed clock")
    if row.kind != "arm" and row.name != row.method:
        of = ", ".join(record.run_id for record in row.records)
        notes.append(f"{row.name}: of {of}; other scores or predictions are another row")
    return notes


def _notes(board: Board) -> list[str]:
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


def _effort(row: Row, slow: bool) -> list[str]:
    costs = row.costs
    costs["params"] = costs["params"] and costs["params"] / 1e6
    shown = {"nfe": "g", "guidance": "g", "params": ".2f", "samples": ".0f", "train_flops": ".3g"}
    cells = [ABSENT if costs[n] is None else f"{costs[n]:{form}}" for n, form in shown.items()]
    cells[2] += " M" * (costs["params"] is not None)
    return [*cells, seconds(costs["seconds"]) + f" {SLOW}" * slow]


def seconds(value: float | None) -> str:
    """Three digits, whole from 100 on."""
    return ABSENT if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


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
    notes, every = [], {record.method for record in records}
    for (name, reason), methods in missing.items():
        where = "" if methods.keys() == every else f" for {', '.join(methods)}"
        notes.append(f"{name} unavailable{where}: {reason}")
    return [*notes, *unfit]


def markdown(tables: Sequence[Table]) -> str:
    """Tables with their notes; all text in them is escaped."""
    parts = []
    for table in tables:
        notes = [f"**{note}**" if note == QUICK else escape(note) for note in table.notes]
        notes += [MARKED] if table.marks else []
        align = ["left", *["right"] * (len(table.header) - 1)]
        body = pipe([escape(cell) for cell in table.header], markdown_rows(table), align)
        parts += [f"### {escape(table.title)}", "  \n".join(notes), body]
        parts += ["\n".join(f"- {escape(note)}" for note in table.footnotes)]
    return "\n\n".join(part for part in parts if part) + "\n"


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


def pipe(header: Sequence[str], rows: Sequence[Sequence[str]], align: Sequence[str]) -> str:
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=align)


def overview(built: Sequence[Table]) -> str:
    """tables/overview.md: a line per task and budget, on the primary score, all trained arms."""
    rows, notes = [], [OVERVIEW]
    scores = [table.board.first.fair.score for table in built if table.board]
    versions = [task for task, _ in {(score["task"], score["version"]) for score in scores}]
    for table in built:
        if table.board is None or not table.board.arms:
            continue
        board, first = table.board, table.board.first
        cells: dict[str, list[str]] = {}
        scored = first.primary in table.metrics
        for row, shown in zip(board.rows, markdown_rows(table), strict=True):
            if scored and row.kind != "evaluation":
                # Bounds of different matches may be several rows: each is told, none is averaged.
                name = row.name if row.kind == "arm" else row.method
                cells.setdefault(name, []).append(shown[1 + table.metrics.index(first.primary)])
        score, fair, budget = first.fair.score, first.fair.fair or {}, first.budget
        version = f", version {score['version']}" if versions.count(first.task) > 1 else ""
        arrow = f" {ARROWS[board.better[first.primary]]}" if scored else ""
        counts = sorted({len(arm.seeds) for arm in board.arms})
        line = [
            escape(f"{first.task}, {score['split']}{version}") + " (quick)" * board.quick,
            escape(f"{first.primary}{arrow}"),
            f"{exact(budget.limit)} {budget.kind}" if budget else "",
            escape(str(fair["model"])),
            " to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))),
            *(" or ".join(cells.get(name, [ABSENT])) for name in METHODS),
            str(table.fair_key),
        ]
        rows.append(line)
        where = f"{table.title}, fair_key {table.fair_key}"
        if board.uneven:
            notes.append(f"{where}: {board.uneven}; no arm is marked.")
        others = [arm.name for arm in board.arms if arm.name not in METHODS]
        if others:
            notes.append(f"{where}: also {', '.join(others)}; see its table.")
    header = ["task", "score", "budget an arm", "model", "seeds", *METHODS, "fair_key"]
    body = pipe(header, rows, [*["left"] * 4, *["right"] * (1 + len(METHODS)), "left"])
    return "\n\n".join([body, *map(escape, notes)]) + "\n"
