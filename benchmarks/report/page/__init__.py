"""`report html`: one page that answers first, opens from disk and asks no network for anything.

Charts are those of `report figures`; pictures are the samples, static. Without JavaScript only the
sorting of tables is missing.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records import samples
from benchmarks.records.keys import canonical
from benchmarks.records.record import Record
from benchmarks.report import answer, evaluations, figures, leaderboard, published, tables
from benchmarks.report.files import Files
from benchmarks.report.rows import Board, shared_cells
from benchmarks.report.tables import ABSENT, QUICK, Table

HERE = Path(__file__).parent
ITEMS = 6  # of a gallery
VERDICTS = (  # columns of leaderboard.csv
    "method rank mean ci_low ci_high verdict reference common_seeds difference diff_low diff_high "
    "margin p_holm detectable note"
).split()
PROOF = (  # of a record, and the judgement on its clock
    "arm seed match status same_ids_as training_ids params_ratio_to_crossflow "
    "evaluation_flops_ratio_to_crossflow guidance_trials frozen clock"
).split()
RUN = (
    "run_id method seed status command error quick device threads device_seconds commit created"
).split()


def files(records: Sequence[Record], out: Path) -> Files:
    """index.html. All text is escaped; style and script stand inline, allowed by their hashes."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    loader = FileSystemLoader(HERE)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    css, js = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    style, script = (hashlib.sha256(text.encode()).digest() for text in (css, js))
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{_base64(style)}'; "
        f"script-src 'sha256-{_base64(script)}'; base-uri 'none'; form-action 'none'"
    )
    records = sorted(records, key=lambda record: (record.task, record.run_id))
    shown = environment.get_template("template.html").render(
        **_context(records, out), css=Markup(css), js=Markup(js), policy=policy, quick=QUICK
    )
    return {"index.html": shown}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _context(records: Sequence[Record], out: Path) -> dict[str, Any]:
    """All that the template shows."""
    leaders = leaderboard.leader_rows(records)
    boards = [(table, table.board) for table in tables.build(records) if table.board]
    current = answer.current(board for _, board in boards)
    header, rows = answer.summary(records)
    with figures.styled():
        charts = [
            (name, board.first.task, "svg+xml;base64," + _base64(figures.image(figure, "svg")))
            for name, board, figure in figures.chart_figures(records, out)
        ]
    shown = [
        {
            "task": board.first.task,
            "table": table,
            "verdicts": _table(
                f"Verdicts on {answer.score_of(board)}", VERDICTS, answer.leaders_of(board, leaders)
            ),
            "keys": [
                (f"score_key {board.first.score_key}", canonical(board.first.fair.score)),
                (f"fair_key {board.fair_key}", canonical(board.first.fair.fair)),
            ][: 2 if board.arms else 1],
            "proof": _table("Proof", PROOF, _proof(board)),
            "folded": board.arms and all(board is not other for other in current),
        }
        for table, board in boards
    ]
    tasks = dict.fromkeys(record.task for record in records)
    days = sorted(record.volatile.created[:10] for record in records)
    return {
        "questions": answer.questions(records),
        "sentence": answer.sentence,
        "matrix": Table("Methods and tasks", header=header, rows=rows),
        "boards": shown,
        "outside": list(evaluations.build(evaluations.evaluation_rows(records, out))),
        "charts": charts,
        "tasks": {task: answer.title_of(task) for task in tasks},
        "galleries": list(_galleries(current, out)),
        "published": {task: published.build(published.rows(task)) for task in tasks},
        "preface": published.PREFACE,
        "runs": _table("Runs and their commands", RUN, map(shared_cells, records)),
        "facts": f"{len(records)} records, {days[0]} to {days[-1]}",
    }


def _table(title: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Table:
    header = [name.replace("_", " ") for name in columns]
    return Table(title, header=header, rows=[[_text(row.get(c)) for c in columns] for row in rows])


def _text(value: Any) -> str:
    if value in (None, "", [], {}):
        return ABSENT
    if isinstance(value, dict):
        return canonical(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _proof(board: Board) -> list[dict[str, Any]]:
    """What each run proved of itself when it was recorded."""
    rows = []
    for arm in board.arms:
        for run in arm.records:
            row = {"arm": arm.name, "seed": run.seed, "match": run.match, "status": run.status}
            row |= run.fair.proof | {"clock": run.volatile.host.get("clock")}
            chain = row.get("training_ids")
            if isinstance(chain, dict):
                row["training_ids"] = {key: chain[key] for key in chain if key != "marks"}
            rows.append(row)
    return sorted(rows, key=lambda row: (str(row["match"]), row["seed"]))


def _galleries(boards: Sequence[Board], out: Path) -> Iterator[tuple[str, Table]]:
    """(task, table) of each score_key: an item a row, of each row of its boards a column.

    Pictures are at native pixels, as lossless WebP; depth has the colours of the truth's range.
    """
    galleries: dict[tuple[str, str, bool], dict[str, samples.Samples]] = defaultdict(dict)
    for board in boards:
        arms = {arm.name: f"{arm.name}, {answer.budget_of(board)}" for arm in board.arms}
        kept = figures.kept_samples(board, board.rows, out)
        key = board.first.task, board.first.score_key, board.quick
        galleries[key] |= {arms.get(name, name): row for name, row in kept.items()}
    for (task, _, quick), kept in galleries.items():
        notes = ["the first items, not chosen; of each arm the run with the lowest seed"]
        metres = samples.depth_range(kept["truth"].cells)
        if metres:
            notes.append("depth from {:.2g} m (bright) to {:.2g} m (dark)".format(*metres))
        table = Table("Samples", header=["item", *kept], notes=[*notes, QUICK] if quick else notes)
        for item in list(dict.fromkeys(chain(*(row.ids for row in kept.values()))))[:ITEMS]:
            cells = [_cell(row, item, metres, f"{item}, {name}") for name, row in kept.items()]
            table.rows.append([item, *cells])
        yield task, table


def _cell(row: samples.Samples, item: str, metres: tuple[float, float] | None, alt: str) -> str:
    """A text as it is, a picture as its tag."""
    from markupsafe import Markup
    from PIL import Image

    cell = row.cells[row.ids.index(item)] if item in row.ids else ABSENT
    if isinstance(cell, str):
        return cell
    colours = cell if cell.ndim == 3 else samples.depth_colours(cell, *(metres or (0.1, 10.0)))
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).save(file, "WEBP", lossless=True, method=6)
    tag = '<img src="data:image/webp;base64,{}" width="{}" height="{}" alt="{}">'
    height, width, _ = colours.shape
    return Markup(tag).format(_base64(file.getvalue()), width, height, alt)
