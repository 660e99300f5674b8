"""evaluations.csv: predictions of models outside of this harness, ranked on the same items.

Each is compared with the best on the primary score by a bootstrap over items, paired: both are
scored on the same draws of items. It compares two given sets of predictions; about the training of
the models behind them, of which nothing is known here, it says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.records.record import Record
from benchmarks.report.rows import Row, by, ranks, rows_of
from benchmarks.report.tables import ABSENT, ARROWS, Table, paper_columns
from crossflow.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "task task_version split score_key rank name metric better value stderr n best common_items "
    "difference diff_low diff_high note"
).split()
SAYS = "given predictions compared item by item: it says nothing about training"
RESAMPLES, LEVEL = 2000, 0.95
ROUNDING = 1e-6  # between a score and the mean of its items, as a share of it


def evaluation_rows(records: Sequence[Record], out: Path) -> list[dict[str, Any]]:
    """Rows of evaluations.csv: per score_key every metric, the primary one first, by rank.

    difference: on the primary score, to `best` and over the items that both have; + is better.
    """
    lines = []
    outside = [record for record in records if record.kind == "evaluation"]
    for same_items in by(outside, "task", "score_key").values():
        first, rows = same_items[0], rows_of(same_items)
        shared: dict[str, Any] = {"task": first.task, "score_key": first.score_key}
        shared |= {"task_version": first.fair.score["version"], "split": first.fair.score["split"]}
        metrics = {name for record in same_items for name in record.scores} - {first.primary}
        for metric in (first.primary, *sorted(metrics)):
            ranked = [shared | line for line in _ranked(rows, metric)]
            if metric == first.primary and ranked:
                _compare(ranked, out)
            lines += ranked
    return lines


def _ranked(rows: Sequence[Row], metric: str) -> list[dict[str, Any]]:
    """The lines of a metric, without comparison; `record` is the first that has the score."""
    having = [(row, run) for row in rows for run in row.records if metric in run.scores]
    first = {row.name: run for row, run in reversed(having)}
    lines: list[dict[str, Any]] = [
        {"name": name, "record": run, "metric": metric, "note": SAYS, **vars(run.scores[metric])}
        for name, run in first.items()
    ]
    places = ranks([line["value"] for line in lines], lines[0]["better"]) if lines else []
    for line, place in zip(lines, places, strict=True):
        line["rank"] = place
    return sorted(lines, key=lambda line: (line["rank"], line["name"]))


def _compare(ranked: Sequence[dict[str, Any]], out: Path) -> None:
    """Adds to each line how it differs from the first, or why nobody can tell."""
    best, *others = ranked
    reference = _items(best["record"], out) if others else ""
    for line in others:
        line["best"], ours = best["name"], _items(line["record"], out)
        if isinstance(reference, str) or isinstance(ours, str):
            line["note"] += f"; no interval: {reference if isinstance(reference, str) else ours}"
            continue
        sign = 1 if line["better"] == "higher" else -1
        differences = sign * (ours - reference).dropna().to_numpy()
        line["common_items"] = len(differences)
        if len(differences):
            line |= bootstrap(differences)


def bootstrap(differences: Any) -> dict[str, float]:
    """Mean of an item's differences, and its LEVEL interval by resampling items (percentiles)."""
    import numpy as np

    random, n = np.random.default_rng(0), len(differences)
    means = [differences[random.integers(n, size=n)].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    numbers = {"difference": differences.mean(), "diff_low": low, "diff_high": high}
    # The last digits of a sum differ between processors.
    return {name: float(f"{number:.9g}") for name, number in numbers.items()}


def _items(record: Record, out: Path) -> pd.Series[float] | str:
    """The primary score of each item, by id; in words why there are none that its score is of.
    InputError for a damaged file."""
    import pandas as pd

    metric, path = record.primary, out / "items" / record.task / f"{record.run_id}.csv"
    if not path.is_file():
        return f"items/{record.task}/{path.name} is missing"
    try:
        empty = {"keep_default_na": False, "na_values": {metric: [""]}}  # an id may be "NA"
        table = pd.read_csv(path, dtype={"id": str}, **empty).set_index("id")
        if not table.index.is_unique:
            raise ValueError("an id twice")
        if metric not in table:
            return f"{metric} has no value per item"
        values = table[metric].astype(float)
    except (KeyError, ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"{path}: not a table of items ({error})") from error
    score = record.scores[metric]
    if values.count() != score.n or abs(values.mean() - score.value) > ROUNDING * abs(score.value):
        return f"{metric} of {record.run_id} is not the mean of its items"
    return values


def build(lines: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Table]]:
    """(task, table) of each score_key of `evaluation_rows`."""
    for key in dict.fromkeys(line["score_key"] for line in lines):
        of_key = [line for line in lines if line["score_key"] == key]
        first, better = of_key[0], {line["metric"]: line["better"] for line in of_key}
        primary = first["record"].primary
        leading = {line["name"]: line for line in of_key if line["metric"] == primary}
        metrics = list(dict.fromkeys([*paper_columns(better, primary), *better]))
        scores = {(line["name"], line["metric"]): f"{line['value']:.4g}" for line in of_key}
        head = [f"{name} {ARROWS[better[name]]}" for name in metrics]
        title = f"{first['task']} (version {first['task_version']}, {first['split']})"
        table = Table(f"{title}: predictions of models outside", metrics=metrics, score_key=key)
        table.header = ["name", "rank", *head, "difference", "95 % interval"]
        table.notes = [SAYS, f"primary score {primary}, {first['n']} items; score_key {key}"]
        table.notes += [f"difference to the best on {primary}, + is better; paired item bootstrap"]
        for name in dict.fromkeys([*leading, *(line["name"] for line in of_key)]):
            line = leading.get(name, {"rank": ABSENT, "note": f"{SAYS}; {primary} is unavailable"})
            told = [ABSENT, ABSENT]
            if "difference" in line:
                ends = line["diff_low"], line["diff_high"]
                told = [f"{line['difference']:+.3g}", "{:+.3g} to {:+.3g}".format(*ends)]
            cells = [scores.get((name, metric), ABSENT) for metric in metrics]
            table.rows.append([name, str(line["rank"]), *cells, *told])
            _, _, why = line["note"].partition("; ")
            table.footnotes += [f"{name}: {why}"] if why else []
        yield first["task"], table
