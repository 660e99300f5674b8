"""The answer first: per task, who is ahead at which budget, and how sure that is.

The page, the panel figure, summary.md and results.md are made of it. Rows marked quick and older
versions of a task never enter. A task is shown at the largest budget that has a verdict, which
takes five seeds, and besides at the largest of all, where that is another.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.records.keys import digest, exact
from benchmarks.records.record import Record
from benchmarks.report.leaderboard import leader_rows
from benchmarks.report.rows import ORDER, Board, Row, boards
from benchmarks.report.tables import ABSENT, ARROWS, escape
from benchmarks.report.verdicts import SEEDS_FOR_A_VERDICT

VERDICTS = ("better", "worse", "equivalent", "undecided", "conflicting")
# What tasks' names begin with; others stand as they are.
WORDS = {
    "t2i": "text to image",
    "caption": "captioning",
    "depth": "depth",
    "sr": "super-resolution",
}
UNITS = {"flops": "FLOPs", "device_seconds": "device seconds"}


@dataclass(frozen=True)
class Standing:
    """The arms of one board on the primary score of its task."""

    board: Board
    arms: list[dict[str, Any]]  # rows of leaderboard.csv, by rank

    @property
    def metric(self) -> str:
        return self.board.first.primary

    @property
    def limit(self) -> float:
        return self.board.first.budget.limit if self.board.first.budget else 0.0

    @property
    def budget(self) -> str:
        return budget_of(self.board)

    @property
    def seeds(self) -> str:
        return seeds_of([self.board])

    @property
    def decided(self) -> bool:
        """Whether an arm has a verdict that enough seeds stand behind."""
        return any(
            arm["verdict"] in VERDICTS and (arm["common_seeds"] or 0) >= SEEDS_FOR_A_VERDICT
            for arm in self.arms
        )

    def of(self, name: str) -> list[Row]:
        """The rows of an arm or a bound; a bound of several matches may have several."""
        rows = [row for row in self.board.rows if row.kind != "evaluation"]
        return [row for row in rows if name == (row.name if row.kind == "arm" else row.method)]

    def scale(self) -> tuple[float, float] | None:
        """(floor, oracle); None where either is missing, not unique, or equal to the other."""
        values = [
            value
            for name in ("floor", "oracle")
            for row in self.of(name)
            for value in (self.board.values(row, self.metric) or {}).values()
        ]
        return (values[0], values[1]) if len(set(values)) == len(values) == 2 else None

    def cell(self, name: str) -> str:
        """`0.552 ± 0.020` of an arm or a bound."""
        cells = []
        for row in self.of(name):
            values = list((self.board.values(row, self.metric) or {}).values())
            if values:
                spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
                cells.append(f"{statistics.fmean(values):.3g}{spread}")
        return " or ".join(cells) or ABSENT


@dataclass(frozen=True)
class Question:
    """One task and split: its standings under one rule, by budget, the smallest first."""

    title: str
    standings: list[Standing]

    @property
    def first(self) -> Record:
        return self.standings[0].board.first

    @property
    def score(self) -> str:
        return score_of(self.standings[0].board)

    @property
    def shown(self) -> list[Standing]:
        """The largest budget that has a verdict, if one has, and the largest of all."""
        decided = [standing for standing in self.standings if standing.decided]
        last = self.standings[-1]
        return [*decided[-1:], *([] if decided[-1:] == [last] else [last])]


def questions(records: Sequence[Record]) -> list[Question]:
    """What the records can answer, by task and split."""
    leaders: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in leader_rows(records):
        leaders[row["fair_key"], row["metric"]].append(row)
    fields: dict[tuple[str, str, str], list[Standing]] = defaultdict(list)
    for board in current(boards(records)):
        first = board.first
        if first.budget and not board.quick:
            standing = Standing(board, leaders[str(board.fair_key), first.primary])
            fields[first.task, str(first.fair.score["split"]), first.budget.kind].append(standing)
    tasks = [task for task, *_ in fields]
    asked = []
    for (task, split, kind), standings in sorted(fields.items()):
        differs = f" ({split}, {UNITS.get(kind, kind)})" if tasks.count(task) > 1 else ""
        asked.append(Question(title_of(task) + differs, _under_one_rule(standings)))
    return asked


def current(every: Sequence[Board]) -> list[Board]:
    """Boards with arms, of the newest version of their task; quick ones where it has no others."""
    of_task: dict[str, list[Board]] = defaultdict(list)
    for board in every:
        if board.arms:
            of_task[board.first.task].append(board)
    newest_boards = []
    for boards_of in of_task.values():
        newest = max(map(_version, boards_of))
        newer = [board for board in boards_of if _version(board) == newest]
        newest_boards += [board for board in newer if not board.quick] or newer
    return newest_boards


def _version(board: Board) -> int:
    return int(str(board.first.fair.score["version"]))


def family_of(board: Board, but: str = "budget_limit") -> str:
    """Equal for boards that differ in this one field of fairness and in nothing else."""
    fair = board.first.fair.fair or {}
    return digest({name: value for name, value in fair.items() if name != but})


def title_of(task: str) -> str:
    """A task's name in words: `Text to image, coco`."""
    start, _, rest = task.partition("_")
    words = f"{WORDS[start]}, {rest}" if start in WORDS and rest else task
    return (words[:1].upper() + words[1:]).replace("_", " ")


def budget_of(board: Board) -> str:
    """The limit in words: `2×10¹⁴ FLOPs`."""
    budget = board.first.budget
    return f"{powers(exact(budget.limit))} {UNITS.get(budget.kind, budget.kind)}" if budget else ""


def score_of(board: Board) -> str:
    """The primary score with an arrow that says which way is better."""
    metric = board.first.primary
    return f"{metric} {ARROWS.get(board.better.get(metric, ''), '')}".strip()


def seeds_of(boards: Sequence[Board]) -> str:
    """How many training seeds an arm has: `one seed`, `5 seeds`, `3 to 5 seeds`."""
    counts = sorted({len(arm.seeds) for board in boards for arm in board.arms})
    number = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return "one seed" if number == "1" else f"{number} seeds"


def _under_one_rule(standings: Sequence[Standing]) -> list[Standing]:
    """The items and the model that say most; one standing a budget, that of most seeds."""
    rules: dict[tuple[str, str], list[Standing]] = defaultdict(list)
    for standing in standings:
        first = standing.board.first
        rules[first.score_key, str((first.fair.fair or {}).get("model"))].append(standing)

    def says(rule: Iterable[Standing]) -> tuple[bool, float, int]:
        ranks = [(standing.decided, standing.limit, len(standing.board.seeds)) for standing in rule]
        decided, limits, seeds = zip(*ranks, strict=True)
        return any(decided), max(limits), max(seeds)

    ordered = sorted(max(rules.values(), key=says), key=lambda standing: len(standing.board.seeds))
    by_limit = {standing.limit: standing for standing in ordered}
    return [by_limit[limit] for limit in sorted(by_limit)]


def sentence(question: Question) -> str:
    """Who is ahead at which budget, and how sure that is. The title is not part of it."""
    better = question.standings[0].board.better.get(question.first.primary, "")
    parts = "; ".join(map(_tell, question.shown))
    return f"by {question.first.primary} ({better} is better), {parts}."


def _tell(standing: Standing) -> str:
    ranked = [arm for arm in standing.arms if arm["rank"] is not None]
    leaders = [_named(arm) for arm in ranked if arm["rank"] == 1]
    behind = [_named(arm) for arm in ranked if arm["rank"] != 1]
    if standing.board.uneven:
        order = standing.board.uneven
    elif not leaders:
        order = "no arm can be ranked"
    elif len(leaders) > 1:
        order = f"{_and(leaders)} are level"
    else:
        order = leaders[0] + (f" is ahead of {_and(behind)}" if behind else " stands alone")
    out = [arm for arm in standing.arms if arm["verdict"] in ("invalid", "not_comparable")]
    barred = [f"{arm['method']} is {_words(arm)} ({arm['note']})" for arm in out]
    return f"at {standing.budget} {order}: {', '.join([_how_sure(standing), *barred])}"


def _how_sure(standing: Standing) -> str:
    if not standing.decided:
        return f"{standing.seeds}, no verdict"
    judged = [arm for arm in standing.arms if arm["verdict"] in VERDICTS]
    verdicts = ", ".join(f"{arm['method']} is {_verdict(arm)}" for arm in judged)
    return f"over {standing.seeds}, against {judged[0]['reference']}, {verdicts}"


def _verdict(arm: dict[str, Any]) -> str:
    """`undecided (+0.034, 90 % interval 0.026 to 0.042, margin 0.029)`, where + is better."""
    if arm["difference"] is None or arm["diff_low"] is None:
        return _words(arm)
    interval = f"90 % interval {arm['diff_low']:.2g} to {arm['diff_high']:.2g}"
    margin = "" if arm["margin"] is None else f", margin {arm['margin']:.2g}"
    return f"{_words(arm)} ({arm['difference']:+.2g}, {interval}{margin})"


def _words(arm: dict[str, Any]) -> str:
    return str(arm["verdict"] or "not judged").replace("_", " ")


def _named(arm: dict[str, Any]) -> str:
    return f"{arm['method']} ({arm['mean']:.3g})"


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def methods_of(standings: Sequence[Standing]) -> list[str]:
    """Names of bounds and arms in the order of tables: floor, arms, oracle."""
    names = {arm.name for standing in standings for arm in standing.board.arms}
    return ["floor", *(n for n in ORDER if n in names), *sorted(names - set(ORDER)), "oracle"]


def matrix(records: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of methods by tasks: the standings that the sentences tell."""
    columns = [
        (question, standing) for question in questions(records) for standing in question.shown
    ]
    header = ["method"]
    for question, standing in columns:
        header.append(f"{question.title}: {question.score}, {standing.budget}, {standing.seeds}")
    rows = []
    for name in methods_of([standing for _, standing in columns]) if columns else []:
        cells = []
        for _, standing in columns:
            arm = next((arm for arm in standing.arms if arm["method"] == name), {})
            verdict = f" {_words(arm)}" if standing.decided and arm.get("verdict") else ""
            cells.append(standing.cell(name) + verdict)
        rows.append([name, *cells])
    return header, rows


def summary_table(records: Sequence[Record]) -> str:
    """Markdown, a row a task at the largest budget that has a verdict, else at the largest."""
    from tabulate import tabulate

    asked = questions(records)
    names = methods_of([question.shown[0] for question in asked])
    header = ["task", "score", "budget an arm", "seeds", *names, "crossflow against flow_matching"]
    rows = []
    for question in asked:
        standing = question.shown[0]
        arms = {arm["method"]: arm for arm in standing.arms}
        ours = arms.get("crossflow", {})
        verdict = ABSENT
        if ours.get("reference") == "flow_matching":
            verdict = _verdict(ours) if standing.decided else f"no verdict: {standing.seeds}"
        cells = [
            question.title,
            question.score,
            standing.budget,
            standing.seeds.removesuffix(" seeds").replace("one seed", "1"),
        ]
        rows.append([*cells, *map(standing.cell, names), verdict])
    body = tabulate(
        [[escape(cell) for cell in row] for row in rows],
        header,
        tablefmt="pipe",
        disable_numparse=True,
    )
    return body + "\n"


def results_page(records: Sequence[Record]) -> str:
    """results.md: the sentences, the picture of `report figures`, and the summary."""
    items = [f"- **{escape(q.title)}**, {escape(sentence(q))}" for q in questions(records)]
    return (
        "\n\n".join(
            [
                "# Who is ahead",
                "Made by `report results` from the records. A verdict takes five training seeds; "
                "margins were fixed before the runs; + is better.",
                "\n".join(items) or "No trained arm that may be compared.",
                "![Primary score against budget, from the floor to the oracle](figures/answer.png)",
                summary_table(records).strip(),
                "All scores and settings: [tables](tables/overview.md), [one page](index.html), "
                "[leaderboard.csv](leaderboard.csv).",
            ]
        )
        + "\n"
    )


def powers(text: str) -> str:
    """A number's text with its power of ten, if it has one, as people write it: 2e+14 as 2×10¹⁴."""
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    mantissa = mantissa.removesuffix(".0")
    return f"10{power}" if mantissa == "1" else f"{mantissa}×10{power}"
