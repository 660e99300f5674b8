"""tables/overview.md: one line per task and budget, on the primary score, for the first page."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from benchmarks.records.keys import exact
from benchmarks.report import tables

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
    versions = {
        (t.board.first.task, str(t.board.first.fair.score["version"])) for t in built if t.board
    }
    tasks = [task for task, _ in versions]
    several = {task for task in tasks if tasks.count(task) > 1}
    for table in built:
        board = table.board
        if board is None or not board.arms:
            continue
        rows.append(_line(table, several))
        where = f"{table.title}, fair_key {table.fair_key}"
        if board.uneven:
            notes.append(f"{where}: {board.uneven}; no arm is marked.")
        others = [arm.name for arm in board.arms if arm.name not in METHODS]
        if others:
            notes.append(f"{where}: also {', '.join(others)}; see its table.")
    header = ["task", "score", "budget an arm", "model", "seeds", *METHODS, "fair_key"]
    align = [*["left"] * 3, "left", "right", *["right"] * len(METHODS), "left"]
    body = tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=align)
    return "\n\n".join([body, *map(tables.escape, notes)]) + "\n"


def _line(table: tables.Table, several: Collection[str]) -> list[str]:
    """One line: cells are Markdown, already escaped. several: tasks with rows of two versions."""
    board = table.board
    assert board is not None
    first = board.first
    assert first.fair.fair is not None
    assert first.budget is not None
    score = first.primary
    scored = score in table.metrics
    cells: dict[str, list[str]] = {}
    for row, shown in zip(board.rows, tables.markdown_rows(table), strict=True):
        if scored and row.kind != "evaluation":
            # Bounds of different matches may be several rows: each is told, none is averaged.
            name = row.name if row.kind == "arm" else row.method
            cells.setdefault(name, []).append(shown[1 + table.metrics.index(score)])
    seeds = sorted({len(arm.seeds) for arm in board.arms})
    task = f"{first.task}, {first.fair.score['split']}"
    if first.task in several:
        task += f", version {first.fair.score['version']}"
    return [
        tables.escape(task) + (" (quick)" if board.quick else ""),
        tables.escape(f"{score} {tables.ARROWS[board.better[score]]}" if scored else score),
        f"{exact(first.budget.limit)} {first.budget.kind}",
        tables.escape(str(first.fair.fair["model"])),
        " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1])))),
        *(" or ".join(cells.get(name, [tables.ABSENT])) for name in METHODS),
        str(table.fair_key),
    ]
