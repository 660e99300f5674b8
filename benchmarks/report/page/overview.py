"""The head of the page: what was compared, and what the primary scores say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.records.record import Record
from benchmarks.report.page.shown import Comparison
from benchmarks.report.rows import untrained
from benchmarks.report.tables import ARROWS, QUICK

Row = Mapping[str, Any]
NO_VERDICT = "none"


def facts(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Counts a reader wants before any number."""
    created = sorted(record.volatile.created for record in records)
    devices = sorted({record.volatile.device for record in records if record.volatile.device})
    trained = [record for record in records if record.fair_key is not None]
    failed = sum(record.status == "failed" for record in records)
    shown = ", ".join(devices[:6]) + (f" and {len(devices) - 6} more" if len(devices) > 6 else "")
    return [
        ("records", str(len(records))),
        ("trained arms", str(len(trained))),
        ("failed runs", str(failed)),
        ("matches", str(len({(r.task, r.match) for r in records if r.match is not None}))),
        ("tasks", str(len({record.task for record in records}))),
        ("training seeds", str(len({record.seed for record in trained}))),
        ("devices", shown or "not recorded"),
        ("made", " to ".join(dict.fromkeys((created[0][:10], created[-1][:10])))),
    ]


def verdicts(comparison: Comparison, rows: Sequence[Row]) -> dict[str, Any]:
    """The primary score of every arm of a comparison, with its verdict; floor and oracle beside.

    rows: of the whole leaderboard.
    """
    primary = comparison.first.primary
    own = [
        row for row in rows if row["fair_key"] == comparison.fair_key and row["metric"] == primary
    ]
    better = {
        record.scores[primary].better for record in comparison.records if primary in record.scores
    }
    return {
        "title": comparison.title,
        "anchor": comparison.anchor,
        "quick": QUICK if comparison.quick else "",
        "metric": primary + (f" {ARROWS[better.pop()]}" if len(better) == 1 else ""),
        "seeds": _seeds(comparison.seeds),
        "arms": [_arm(row) for row in own],
        "frame": _frame(comparison, primary),
        "differs": any(row.get("difference") is not None for row in own),
    }


def _seeds(seeds: Sequence[int]) -> str:
    """A seed is a name: `training seeds: 0` would read as none at all."""
    if not seeds:
        return "no training seed"
    names = ", ".join(map(str, seeds))
    return f"one training seed ({names})" if len(seeds) == 1 else f"training seeds {names}"


def _arm(row: Row) -> dict[str, Any]:
    mean, sd = row.get("mean"), row.get("sd")
    verdict = str(row.get("verdict") or NO_VERDICT)
    return {
        "rank": row.get("rank"),
        "method": row["method"],
        "mean": "no value" if mean is None else f"{mean:.4g}",
        "sd": "" if sd is None else f" ± {sd:.2g}",
        "interval": _span(row.get("ci_low"), row.get("ci_high")),
        "seeds": row["seeds"],
        "verdict": verdict,
        "words": verdict.replace("_", " "),
        "against": _against(row),
    }


def _against(row: Row) -> str:
    """The difference from the reference arm and what it was judged by, where that is known.

    The page puts the arm's name before it.
    """
    note = str(row.get("note") or "").removeprefix(f"{row['method']}: ")
    if row.get("difference") is None:
        return note
    said = [f"{row['difference']:+.4g} against {row['reference']} (+ is better)"]
    interval = _span(row.get("diff_low"), row.get("diff_high"))
    said += [f"90 % interval {interval}"] if interval else []
    for name, words, form in (
        ("margin", "margin", ".4g"),
        ("p", "p", ".2g"),
        ("p_holm", "p after Holm", ".2g"),
        ("detectable", "smallest detectable", ".4g"),
    ):
        if isinstance(row.get(name), float | int):
            said.append(f"{words} {row[name]:{form}}")
    return ", ".join(said) + (f"; {note}" if note else "")


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.4g} to {high:.4g}"


def _frame(comparison: Comparison, metric: str) -> list[tuple[str, str]]:
    """(row, value) of floor, oracle and evaluations: what a number of this score means."""
    values = [(row.name, row.values(metric)) for row in untrained(comparison.frame)]
    return [(name, f"{value:.4g}") for name, of in values if of for value in of.values()]
