"""The two long tables of the page: the leaderboard, and every run with its command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.records.keys import exact
from benchmarks.records.record import Record
from benchmarks.report import leaderboard
from benchmarks.report.gates import clock_is_invalid
from benchmarks.report.page.sheet import Cell, Column, number, sheet, span, text
from benchmarks.report.tables import ARROWS, QUICK

Row = Mapping[str, Any]


def _plain(name: str, form: str = ".4g") -> Any:
    """The cell of one field, whatever it holds."""

    def cell(row: Row) -> Cell:
        value = row.get(name)
        if isinstance(value, float | int) and not isinstance(value, bool):
            return number(value, form)
        return text(value)

    return cell


def _budget(row: Row) -> Cell:
    if row.get("budget_limit") is None:
        return None
    kind, limit = str(row["budget_kind"]), float(row["budget_limit"])
    return (kind, limit), f"{exact(limit)} {kind}"


def _verdict(row: Row) -> Cell:
    return text(str(row.get("verdict") or "").replace("_", " "))


# In the order of the page. Fields: which columns of leaderboard.csv the cell is made of; where the
# file has none of them, the page has no such column.
KNOWN: list[tuple[tuple[str, ...], Column]] = [
    (("rank",), Column("rank", _plain("rank", "d"), "number")),
    (("task",), Column("task", _plain("task"), filter=True)),
    (("method",), Column("method", _plain("method"), filter=True)),
    (
        ("metric", "better"),
        Column("score", lambda r: text(f"{r['metric']} {ARROWS[r['better']]}"), filter=True),
    ),
    (("mean",), Column("mean", _plain("mean"), "number")),
    (("sd",), Column("sd over seeds", _plain("sd", ".2g"), "number")),
    (
        ("ci_low", "ci_high"),
        Column("95 % interval", lambda r: span(r.get("ci_low"), r.get("ci_high")), "number"),
    ),
    (("verdict",), Column("verdict", _verdict, "verdict", filter=True)),
    (("model",), Column("model", _plain("model"))),
    (("budget_kind", "budget_limit"), Column("budget an arm", _budget, filter=True)),
    (("seeds",), Column("seeds", _plain("seeds", "d"), "number")),
    (("reference",), Column("reference", _plain("reference"))),
    (("common_seeds",), Column("paired seeds", _plain("common_seeds", "d"), "number")),
    (("difference",), Column("difference (+ is better)", _plain("difference"), "number")),
    (
        ("diff_low", "diff_high"),
        Column(
            "90 % interval of the difference",
            lambda r: span(r.get("diff_low"), r.get("diff_high")),
            "number",
        ),
    ),
    (("margin",), Column("margin", _plain("margin"), "number")),
    (("p",), Column("p", _plain("p", ".2g"), "number")),
    (("p_holm",), Column("p (Holm)", _plain("p_holm", ".2g"), "number")),
    (("detectable",), Column("smallest detectable", _plain("detectable"), "number")),
]
LAST: list[tuple[tuple[str, ...], Column]] = [
    (("note",), Column("note", _plain("note"), "long")),
    (("quick",), Column("preset", lambda r: text(QUICK if r.get("quick") else None), filter=True)),
    (("score_key",), Column("score_key", _plain("score_key"), "key")),
    (("fair_key",), Column("fair_key", _plain("fair_key"), "key")),
]


def leader_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Rows of leaderboard.csv with two fields more: `primary` and `quick`; primary scores first."""
    primary = {record.score_key: record.primary for record in records}
    quick = {record.fair_key for record in records if record.quick}
    rows = [
        {
            **row,
            "primary": row["metric"] == primary[row["score_key"]],
            "quick": row["fair_key"] in quick,
        }
        for row in leaderboard.leader_rows(records)
    ]
    return sorted(
        rows,
        key=lambda row: (row["task"], row["score_key"], row["fair_key"], not row["primary"]),
    )


def leaders(rows: Sequence[Row]) -> dict[str, Any]:
    """The leaderboard; primary scores until somebody asks for all."""
    given = [*leaderboard.LEADER_COLUMNS, "quick"]
    known = [column for fields, column in KNOWN if any(name in given for name in fields)]
    last = [column for fields, column in LAST if any(name in given for name in fields)]
    used = {name for fields, _ in KNOWN + LAST for name in fields}
    # A column that this file does not know is shown under its own name rather than dropped.
    more = [Column(name, _plain(name)) for name in given if name not in used]
    return sheet("leaderboard", [*known, *more, *last], rows, lambda row: bool(row["primary"]))


def runs(records: Sequence[Record]) -> dict[str, Any]:
    """Every record with the exact command that made it, and the error of those that failed."""
    columns = [
        Column("run", lambda r: text(r.run_id), "key"),
        Column("task", lambda r: text(r.task), filter=True),
        Column("method", lambda r: text(r.method), filter=True),
        Column("seed", lambda r: number(r.seed, "d"), "number"),
        Column("kind", lambda r: text(r.kind), filter=True),
        Column("status", lambda r: text(r.status), filter=True),
        Column("exact command", lambda r: text(r.volatile.command), "command"),
        Column("note", _note, "long"),
        Column("device", _device, filter=True),
        Column("training seconds", lambda r: number(r.volatile.device_seconds), "number"),
        Column("commit", lambda r: text(r.volatile.commit), "key"),
        Column("created", lambda r: text(r.volatile.created)),
    ]
    ordered = sorted(records, key=lambda record: (record.task, record.run_id))
    return sheet("runs", columns, ordered, lambda record: True)


def _note(record: Record) -> Cell:
    """Why a run is not to be used: it failed, its clock was slowed, its preset is a quick one."""
    said = [record.volatile.error] if record.volatile.error else []
    said += [str(record.volatile.host["clock"])] if clock_is_invalid(record) else []
    said += [QUICK] if record.quick else []
    return text("; ".join(said))


def _device(record: Record) -> Cell:
    here = record.volatile
    if here.device is None:
        return None
    threads = f", {here.threads} threads" if here.threads else ""
    return text(f"{here.device}{threads}")
