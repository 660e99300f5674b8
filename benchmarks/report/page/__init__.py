"""`report html`: one page that answers first, opens from disk and asks no network for anything.

Charts are those of `report figures`; pictures are the samples, static. Without JavaScript only the
sorting of tables is missing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.records.keys import exact
from benchmarks.records.record import Record
from benchmarks.report import answer, figures, leaderboard, published, tables
from benchmarks.report.figures import style
from benchmarks.report.files import Files
from benchmarks.report.gates import clock_is_invalid
from benchmarks.report.page import gallery
from benchmarks.report.rows import Board
from benchmarks.report.tables import ABSENT, QUICK, Table

HERE = Path(__file__).parent
PROOF = (  # of a record, and the judgement on its clock
    "same_ids_as training_ids params_ratio_to_crossflow evaluation_flops_ratio_to_crossflow "
    "guidance_trials frozen clock"
).split()
VERDICT = {  # heading of a column -> of leaderboard.csv; two are an interval
    "method": "method",
    "rank": "rank",
    "mean": "mean",
    "95 % interval over seeds": "ci_low ci_high",
    "verdict": "verdict",
    "against": "reference",
    "paired seeds": "common_seeds",
    "difference, + is better": "difference",
    "90 % interval": "diff_low diff_high",
    "margin": "margin",
    "p (Holm)": "p_holm",
    "smallest detectable": "detectable",
    "note": "note",
}


def files(records: Sequence[Record], out: Path) -> Files:
    """index.html. Reads curves and samples beside the records, in `out`.

    All text is escaped; style and script stand inline, allowed by their hashes.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    loader = FileSystemLoader(HERE)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    css, js = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(css)}'; script-src '{_hash(js)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    records = sorted(records, key=lambda record: (record.task, record.run_id))
    template = environment.get_template("template.html")
    shown = template.render(
        **_context(records, out), css=Markup(css), js=Markup(js), policy=policy, quick=QUICK
    )
    return {"index.html": shown}


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _context(records: Sequence[Record], out: Path) -> dict[str, Any]:
    """All that the template shows."""
    header, rows = answer.matrix(records)
    leaders = leaderboard.leader_rows(records)
    built = tables.build(records)
    boards = [table.board for table in built if table.board is not None]
    current = {id(board) for board in answer.current(boards)}
    with style.styled():
        charts = [
            (drawn, gallery.uri("svg+xml", style.drawn(drawn.figure, "svg")))
            for drawn in figures.chart_figures(records, out)
        ]
    shown = [
        {
            "task": board.first.task,
            "table": table,
            "verdicts": _verdicts(board, leaders),
            "keys": _keys(board),
            "proof": _proof(board),
            "folded": bool(board.arms) and id(board) not in current,
        }
        for table, board in zip(built, boards, strict=True)
    ]
    return {
        "facts": _facts(records),
        "answers": [(q.first.task, q.title, answer.sentence(q)) for q in answer.questions(records)],
        "answer": [uri for drawn, uri in charts if drawn.name == "answer"],
        "matrix": Table("Methods and tasks", header=header, rows=rows),
        "boards": shown,
        "tasks": [
            {
                "name": task,
                "title": answer.title_of(task),
                "boards": [board for board in shown if board["task"] == task],
                "charts": [
                    (drawn.title, uri)
                    for drawn, uri in charts
                    if drawn.name != "answer" and drawn.board.first.task == task
                ],
                "galleries": gallery.of(boards, task, out),
                "published": published.build(published.rows(task)),
            }
            for task in dict.fromkeys(record.task for record in records)
        ],
        "runs": _table("Runs and their commands", map(_run, records)),
        "preface": published.PREFACE,
    }


def _facts(records: Sequence[Record]) -> str:
    """What the page is made of, in a line."""
    made = [record.volatile for record in records]
    days = sorted(volatile.created[:10] for volatile in made)
    devices = ", ".join(sorted({str(volatile.device) for volatile in made if volatile.device}))
    failed = sum(record.status == "failed" for record in records)
    matches = len({(record.task, record.match) for record in records if record.match})
    count = f"{len(records)} records of {matches} matches, {failed} of them failed"
    return f"{count}; made on {devices or 'unknown devices'}, {days[0]} to {days[-1]}"


def _table(title: str, rows: Iterable[Mapping[str, Any]]) -> Table:
    cells = list(rows)
    texts = [[_text(cell) for cell in row.values()] for row in cells]
    return Table(title, header=list(cells[0]) if cells else [], rows=texts)


def _text(*values: Any) -> str:
    """A cell; of two values, an interval."""
    if any(value in (None, "", [], {}) for value in values):
        return ABSENT
    return " to ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)


def _verdicts(board: Board, leaders: Iterable[Mapping[str, Any]]) -> Table:
    """The board's arms on the primary score: rank, intervals, verdict; no row without an arm."""
    key = (board.fair_key, board.first.primary)
    rows = [row for row in leaders if (row["fair_key"], row["metric"]) == key]
    cells = [
        {head: _text(*(row[name] for name in names.split())) for head, names in VERDICT.items()}
        for row in rows
    ]
    return _table(f"Verdicts on {answer.score_of(board)}", cells)


def _run(record: Record) -> dict[str, Any]:
    """A record with the exact command that made it, and why a run is not to be used."""
    made = record.volatile
    clock = str(made.host["clock"]) if clock_is_invalid(record) else ""
    return {
        "run": record.run_id,
        "method": record.method,
        "seed": record.seed,
        "status": record.status,
        "exact command": made.command,
        "note": "; ".join(filter(None, [made.error, QUICK if record.quick else "", clock])),
        "device": made.device,
        "threads": made.threads,
        "training seconds": made.device_seconds,
        "commit": made.commit,
        "created": made.created,
    }


def _keys(board: Board) -> list[tuple[str, list[tuple[str, str]]]]:
    """Keys with the fields that they are digests of."""
    fair = board.first.fair
    keys = [(f"score_key {board.first.score_key}", list(_flat(fair.score)))]
    return keys + ([(f"fair_key {board.fair_key}", list(_flat(fair.fair)))] if board.arms else [])


def _flat(fields: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, value as text) of every field; an empty group is one field."""
    for name, value in sorted(fields.items()) if isinstance(fields, Mapping) else ():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", exact(value) if isinstance(value, float) else str(value)


def _proof(board: Board) -> Table:
    """What each run proved of itself when it was recorded."""
    named = [(arm.name, run) for arm in board.arms for run in arm.records]
    named.sort(key=lambda arm: (str(arm[1].match), arm[1].seed))
    rows = []
    for name, run in named:
        given = dict(run.fair.proof)
        chain = given.get("training_ids")
        if isinstance(chain, Mapping):
            given["training_ids"] = {key: chain[key] for key in chain if key != "marks"}
        clock = {"clock": run.volatile.host.get("clock")}
        row = {"arm": name, "seed": run.seed, "match": run.match, "status": run.status}
        for field in PROOF:
            value = (given | clock).get(field)
            texts = [f"{key} {text}" for key, text in _flat(value)]
            row[field.replace("_", " ")] = ", ".join(texts) if texts else value
        rows.append(row)
    return _table("Proof", rows)
