"""tables/overview.md: one line per task and budget, on the primary score, for the first page."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from benchmarks.records.digits import exact
from benchmarks.report import tables
from benchmarks.report.entries import uneven

METHODS = ("floor", "regression", "flow_matching", "crossflow", "oracle")
NOTE = (
    "Lines are not to be compared with each other: each is a fair_key of its own. Best arm of a "
    "line bold, second underlined, equal numbers alike; none in lines marked quick, which are too "
    "small to compare methods. A difference may be chance: the verdicts are in leaderboard.csv. "
    "Floor and oracle frame, they are not ranked. – is not run, not applicable or without this "
    "score; the task's table says which, and holds all other scores."
)


def markdown(built: Sequence[tables.Table]) -> str:
    """All trained arms; evaluations have no budget and stand in the task's table."""
    from tabulate import tabulate

    rows, notes = [], [NOTE]
    versions = {(_task(table), _version(table)) for table in built if table.entries}
    tasks = [task for task, _ in versions]
    several = {task for task in tasks if tasks.count(task) > 1}
    for table in built:
        arms = [entry for entry in table.entries if entry.kind == "arm"]
        if not arms:
            continue
        rows.append(_line(table, several))
        said = uneven(arms)
        if said:
            notes.append(f"{table.title}, fair_key {table.fair_key}: {said}; no arm is marked.")
        others = [entry.name for entry in arms if entry.name not in METHODS]
        if others:
            names = ", ".join(others)
            notes.append(f"{table.title}, fair_key {table.fair_key}: also {names}; see its table.")
    header = ["task", "score", "budget an arm", "model", "seeds", *METHODS, "fair_key"]
    align = [*["left"] * 3, "left", "right", *["right"] * len(METHODS), "left"]
    body = tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=align)
    return "\n\n".join([body, *map(tables.escape, notes)]) + "\n"


def _task(table: tables.Table) -> str:
    return table.entries[0].records[0].task


def _version(table: tables.Table) -> str:
    return str(table.entries[0].records[0].fair.score["version"])


def _line(table: tables.Table, several: Collection[str]) -> list[str]:
    """One line: cells are Markdown, already escaped. several: tasks with rows of two versions."""
    arms = [entry for entry in table.entries if entry.kind == "arm"]
    first = arms[0].records[0]
    assert first.fair.fair is not None
    assert first.budget is not None
    score = first.primary
    scored = score in table.metrics
    shown = tables.markdown_rows(table)
    cells: dict[str, list[str]] = {}
    for row, entry in enumerate(table.entries):
        if scored and entry.kind != "evaluation":
            # Frames of different matches may be several rows: each is told, none is averaged.
            name = entry.name if entry.kind == "arm" else entry.records[0].method
            cells.setdefault(name, []).append(shown[row][1 + table.metrics.index(score)])
    seeds = sorted({len({record.seed for record in arm.records}) for arm in arms})
    quick = tables.QUICK in table.notes
    task = f"{first.task}, {first.fair.score['split']}"
    if first.task in several:
        task += f", version {_version(table)}"
    return [
        tables.escape(task) + (" (quick)" if quick else ""),
        tables.escape(f"{score} {tables.ARROWS[table.better[score]]}" if scored else score),
        f"{exact(first.budget.limit)} {first.budget.kind}",
        tables.escape(str(first.fair.fair["model"])),
        " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1])))),
        *(" or ".join(cells.get(name, [tables.ABSENT])) for name in METHODS),
        str(table.fair_key),
    ]
