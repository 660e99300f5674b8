"""`report html`: one page that answers first, opens from disk and asks no network for anything.

Charts are those of `report figures`; pictures are the samples, static. Without JavaScript only the
sorting of tables is missing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.records.record import Record
from benchmarks.report import answer, figures, leaderboard, published, tables
from benchmarks.report.figures import style
from benchmarks.report.files import Files
from benchmarks.report.gates import clock_is_invalid
from benchmarks.report.page import fairness, gallery
from benchmarks.report.rows import Board
from benchmarks.report.tables import QUICK, Table

HERE = Path(__file__).parent


def files(records: Sequence[Record], out: Path) -> Files:
    """index.html. Reads curves and samples beside the records, in `out`.

    InputError names the file that is not what the harness writes.
    """
    records = sorted(records, key=lambda record: (record.task, record.run_id))
    return {"index.html": _rendered(_context(records, out))}


def _context(records: Sequence[Record], out: Path) -> dict[str, Any]:
    """All that the template shows."""
    header, rows = answer.matrix(records)
    leaders = leaderboard.leader_rows(records)
    built = [table for table in tables.build(records) if table.board is not None]
    boards = [table.board for table in built if table.board is not None]
    current = {id(board) for board in answer.current(boards)}
    charts = _charts(records, out)
    shown = [
        {
            "task": board.first.task,
            "table": table,
            "verdicts": _verdicts(board, leaders),
            "proof": fairness.proof(board),
            "folded": bool(board.arms) and id(board) not in current,
        }
        for table, board in zip(built, boards, strict=True)
    ]
    return {
        "facts": _facts(records),
        "answers": [(q.first.task, q.title, answer.sentence(q)) for q in answer.questions(records)],
        "answer": [chart for chart in charts if chart["task"] is None],
        "matrix": Table("Methods and tasks", header=header, rows=rows),
        "boards": shown,
        "tasks": [
            {
                "name": task,
                "title": answer.title_of(task),
                "boards": [board for board in shown if board["task"] == task],
                "charts": [chart for chart in charts if chart["task"] == task],
                "galleries": gallery.of(boards, task, out),
                "published": published.build(published.rows(task)),
            }
            for task in dict.fromkeys(record.task for record in records)
        ],
        "runs": _runs(records),
        "preface": published.PREFACE,
        "quick": QUICK,
    }


def _facts(records: Sequence[Record]) -> str:
    """What the page is made of, in a line."""
    days = sorted(record.volatile.created[:10] for record in records)
    devices = sorted({str(record.volatile.device) for record in records if record.volatile.device})
    failed = sum(record.status == "failed" for record in records)
    matches = len({(record.task, record.match) for record in records if record.match})
    made = f"made on {', '.join(devices) or 'unknown devices'}"
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    return f"{len(records)} records of {matches} matches, {failed} of them failed; {made}, {when}"


def _charts(records: Sequence[Record], out: Path) -> list[dict[str, Any]]:
    """task, title and SVG of each chart; the answer has no task."""
    from markupsafe import Markup

    charts = []
    for plan in figures.chart_plans(records, out):
        with style.styled():
            drawn = plan.draw()
            assert drawn is not None
            svg = Markup(style.svg(plan.title, drawn))  # matplotlib escapes what it writes
        task = None if plan.name == "answer" else plan.boards[0].first.task
        charts.append({"task": task, "title": plan.title, "svg": svg})
    return charts


def _verdicts(board: Board, leaders: Sequence[Mapping[str, Any]]) -> Table:
    """The board's arms on the primary score: rank, intervals, verdict; no row without an arm."""
    rows = []
    for row in leaders:
        if (row["fair_key"], row["metric"]) == (board.fair_key, board.first.primary):
            cells = {
                "method": row["method"],
                "rank": _text(row["rank"]),
                "mean": _text(row["mean"]),
                "95 % interval over seeds": _span(row["ci_low"], row["ci_high"]),
                "verdict": _text(row["verdict"]).replace("_", " "),
                "against": _text(row["reference"]),
                "paired seeds": _text(row["common_seeds"]),
                "difference, + is better": _text(row["difference"]),
                "90 % interval": _span(row["diff_low"], row["diff_high"]),
                "margin": _text(row["margin"]),
                "p (Holm)": _text(row["p_holm"]),
                "smallest detectable": _text(row["detectable"]),
                "note": _text(row["note"]),
            }
            rows.append(cells)
    title = f"Verdicts on {answer.score_of(board)}"
    return Table(title, header=list(rows[0] if rows else ()), rows=[[*r.values()] for r in rows])


def _text(value: Any) -> str:
    if value is None or value == "":
        return tables.ABSENT
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _span(low: float | None, high: float | None) -> str:
    return tables.ABSENT if low is None or high is None else f"{low:.4g} to {high:.4g}"


def _runs(records: Sequence[Record]) -> Table:
    """Every record with the exact command that made it, and why a run is not to be used."""
    rows = []
    for record in records:
        made = record.volatile
        notes = [made.error or "", QUICK if record.quick else ""]
        notes += [str(made.host["clock"])] if clock_is_invalid(record) else []
        cells = {
            "run": record.run_id,
            "method": record.method,
            "seed": str(record.seed),
            "status": record.status,
            "exact command": _text(made.command),
            "note": "; ".join(filter(None, notes)),
            "device": _text(made.device),
            "threads": _text(made.threads),
            "training seconds": _text(made.device_seconds),
            "commit": _text(made.commit),
            "created": made.created,
        }
        rows.append(cells)
    return Table(
        "Runs and their commands", header=list(rows[0]), rows=[[*r.values()] for r in rows]
    )


def _rendered(context: dict[str, Any]) -> str:
    """The whole page. All text is escaped; style and script stand inline, allowed by hashes."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    css, js = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(css)}'; script-src '{_hash(js)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    template = environment.get_template("template.html")
    return template.render(**context, css=Markup(css), js=Markup(js), policy=policy)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
