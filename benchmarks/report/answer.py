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
from benchmarks.report.leaderboard import (
    AT_FLOOR,
    SEEDS_FOR_A_VERDICT,
    collapse_of,
    leader_rows,
)
from benchmarks.report.rows import ORDER, Board, boards
from benchmarks.report.tables import ABSENT, ARROWS, escape

VERDICTS = ("better", "worse", "equivalent", "undecided", "conflicting")
# What tasks' names begin with; other names stand as they are.
WORDS = {"t2i": "text to image", "caption": "captioning", "sr": "super-resolution"}


@dataclass(frozen=True)
class Standing:
    """The arms of one board on the primary score of its task."""

    board: Board
    limit: float  # of its budget
    arms: list[dict[str, Any]]  # rows of leaderboard.csv, by rank

    @property
    def decided(self) -> bool:
        """Whether an arm has a verdict that enough seeds stand behind."""
        return any(
            arm["verdict"] in VERDICTS and (arm["common_seeds"] or 0) >= SEEDS_FOR_A_VERDICT
            for arm in self.arms
        )

    @property
    def rule(self) -> tuple[str, str]:
        return self.board.first.score_key, model_of(self.board)

    def values(self, name: str) -> list[list[float]]:
        """Values by seed of an arm or a bound; a bound of several matches may have several rows."""
        rows = [row for row in self.board.rows if row.kind != "evaluation"]
        rows = [row for row in rows if name == (row.name if row.kind == "arm" else row.method)]
        of_rows = [self.board.values(row, self.board.first.primary) for row in rows]
        return [list(values.values()) for values in of_rows if values]

    def scale(self) -> tuple[float, float] | None:
        """(floor, oracle); None where either is missing, not unique, or equal to the other."""
        floors, oracles = self.values("floor"), self.values("oracle")
        if len(floors) != 1 or len(oracles) != 1 or floors == oracles:
            return None
        return floors[0][0], oracles[0][0]

    def cell(self, name: str) -> str:
        """`0.552 ± 0.020` of an arm or a bound."""
        cells = []
        for values in self.values(name):
            spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.3g}{spread}")
        return " or ".join(cells) or ABSENT


@dataclass(frozen=True)
class Question:
    """One task and split: its standings under one rule, by budget, the smallest first."""

    title: str
    kind: str  # of budget
    standings: list[Standing]

    @property
    def first(self) -> Record:
        return self.standings[0].board.first

    @property
    def shown(self) -> list[Standing]:
        """The largest budget that has a verdict, if one has, and the largest of all."""
        decided = [standing for standing in self.standings if standing.decided][-1:]
        return decided + [last for last in self.standings[-1:] if last not in decided]


def questions(records: Sequence[Record]) -> list[Question]:
    """What the records can answer, by task, split and kind of budget."""
    leaders = leader_rows(records)
    every: dict[tuple[str, str, str], list[Standing]] = defaultdict(list)
    for board in current(boards(records)):
        first = board.first
        if first.budget and not board.quick:
            key = first.task, str(first.fair.score["split"]), first.budget.kind
            every[key].append(Standing(board, first.budget.limit, leaders_of(board, leaders)))
    tasks = [task for task, *_ in every]
    asked = []
    for (task, split, kind), standings in sorted(every.items()):
        # Those of the items and the model that say most; one a budget, that of most seeds.
        standings.sort(key=lambda one: (one.decided, one.limit, len(one.board.seeds)))
        alike = [one for one in standings if one.rule == standings[-1].rule]
        by_limit = sorted({one.limit: one for one in alike}.items())
        differs = f" ({split}, {_unit(kind)})" if tasks.count(task) > 1 else ""
        asked.append(Question(title_of(task) + differs, kind, [one for _, one in by_limit]))
    return asked


def leaders_of(board: Board, leaders: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of leaderboard.csv that are of a board and its primary score."""
    key = board.fair_key, board.first.primary
    return [row for row in leaders if (row["fair_key"], row["metric"]) == key]


def current(every: Iterable[Board]) -> list[Board]:
    """Boards with arms, of the newest version of their task; quick ones where it has no others."""
    trained = [board for board in every if board.arms]
    newest = {place[0]: place for place in sorted(map(_place, trained))}
    return [board for board in trained if _place(board) == newest[board.first.task]]


def _place(board: Board) -> tuple[str, int, bool]:
    return board.first.task, int(str(board.first.fair.score["version"])), not board.quick


def family_of(board: Board, but: str = "budget_limit") -> str:
    """Equal for boards that differ in this one field of fairness and in nothing else."""
    fair = board.first.fair.fair or {}
    return digest({name: value for name, value in fair.items() if name != but})


def title_of(task: str) -> str:
    """A task's name in words: `Text to image, coco`."""
    start, _, rest = task.partition("_")
    words = f"{WORDS.get(start, start)}, {rest}" if rest and start in (*WORDS, "depth") else task
    return (words[:1].upper() + words[1:]).replace("_", " ")


def budget_of(board: Board) -> str:
    """The limit in words: `2×10¹⁴ FLOPs`."""
    budget = board.first.budget
    return f"{powers(exact(budget.limit))} {_unit(budget.kind)}" if budget else ""


def _unit(kind: str) -> str:
    return kind.replace("flops", "FLOPs").replace("_", " ")


def model_of(board: Board) -> str:
    """The size of the arms' model."""
    return str((board.first.fair.fair or {}).get("model"))


def score_of(board: Board) -> str:
    """The primary score with an arrow that says which way is better."""
    metric = board.first.primary
    return f"{metric} {ARROWS.get(board.better.get(metric, ''), '')}".strip()


def seeds_of(boards: Sequence[Board]) -> str:
    """How many training seeds an arm has: `one seed`, `5 seeds`, `3 to 5 seeds`."""
    counts = sorted({len(arm.seeds) for board in boards for arm in board.arms})
    number = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return "one seed" if number == "1" else f"{number} seeds"


def powers(text: str) -> str:
    """A number's text with its power of ten, if it has one, as people write it: 2e+14 as 2×10¹⁴."""
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power}" if mantissa == "1" else f"{mantissa}×10{power}"


def sentence(question: Question) -> str:
    """Who is ahead at which budget, and how sure that is. The title is not part of it."""
    better = question.standings[0].board.better.get(question.first.primary, "")
    parts = "; ".join(map(_clause, question.shown))
    return f"by {question.first.primary} ({better} is better), {parts}."


def _clause(standing: Standing) -> str:
    ranked = [arm for arm in standing.arms if arm["rank"] is not None]
    names = [f"{arm['method']} ({arm['mean']:.3g})" for arm in ranked]
    leaders = sum(arm["rank"] == 1 for arm in ranked)
    if standing.board.uneven:
        order = standing.board.uneven
    elif not leaders:
        order = "no arm can be ranked"
    elif leaders > 1:
        order = f"{' and '.join(names[:leaders])} are level"
    else:
        others = " and ".join(names[1:])
        order = f"{names[0]} is ahead of {others}" if others else f"{names[0]} stands alone"
    parts = [f"{seeds_of([standing.board])}, no verdict"]
    if standing.decided:
        judged = [arm for arm in standing.arms if arm["verdict"] in VERDICTS]
        parts = [f"over {seeds_of([standing.board])}, against {judged[0]['reference']}"]
        parts += [f"{arm['method']} is {_verdict(arm)}" for arm in judged]
    barred = [arm for arm in standing.arms if arm["verdict"] in ("invalid", "not_comparable")]
    parts += [f"{arm['method']} is {_word(arm)} ({arm['note']})" for arm in barred]
    gone = [(arm.name, words) for arm in standing.board.arms if (words := collapse_of(arm))]
    parts += [f"{name}: {words}" for name, words in gone]
    return f"at {budget_of(standing.board)} {order}: {', '.join(parts)}"


def _word(arm: dict[str, Any]) -> str:
    return str(arm["verdict"] or "not judged").replace("_", " ")


def _verdict(arm: dict[str, Any]) -> str:
    """`undecided (+0.034, 90 % interval 0.026 to 0.042, margin 0.029)`, where + is better."""
    if arm["difference"] is None or arm["diff_low"] is None:
        return _word(arm)
    interval = f"90 % interval {arm['diff_low']:.2g} to {arm['diff_high']:.2g}"
    margin = "" if arm["margin"] is None else f", margin {arm['margin']:.2g}"
    floor = f", {AT_FLOOR}" * (AT_FLOOR in arm["note"])
    return f"{_word(arm)} ({arm['difference']:+.2g}, {interval}{margin}{floor})"


def summary(records: Sequence[Record], every: bool = True) -> tuple[list[str], list[list[str]]]:
    """(header, rows): tasks by methods, at every budget that the sentences tell or the first."""
    told = [(q, one) for q in questions(records) for one in q.shown[: None if every else 1]]
    arms = {arm.name for _, standing in told for arm in standing.board.arms}
    names = ["floor", *(n for n in ORDER if n in arms), *sorted(arms - set(ORDER)), "oracle"]
    rows = []
    for question, standing in told:
        seeds = seeds_of([standing.board])
        ours = next((arm for arm in standing.arms if arm["method"] == "crossflow"), {})
        verdict = ABSENT
        if ours.get("reference") == "flow_matching":
            verdict = _verdict(ours) if standing.decided else f"no verdict: {seeds}"
        cells = [question.title, score_of(standing.board), budget_of(standing.board)]
        cells.append(seeds.removesuffix(" seeds").replace("one seed", "1"))
        rows.append([*cells, *map(standing.cell, names), verdict])
    header = ["task", "score", "budget an arm", "seeds", *names, "crossflow against flow_matching"]
    return header, rows


def summary_table(records: Sequence[Record]) -> str:
    """The summary as Markdown, a row a task."""
    header, rows = summary(records, every=False)
    lines = header, ["---"] * len(header), *([escape(cell) for cell in row] for row in rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


RESULTS = """# Who is ahead

Made by `report results` from the records. A verdict takes five training seeds; margins were fixed \
before the runs; + is better.

{items}

![Primary score against budget, from the floor to the oracle](figures/answer.png)

{table}
All scores and settings: [tables](tables/overview.md), [one page](index.html), \
[leaderboard.csv](leaderboard.csv).
"""


def results_page(records: Sequence[Record]) -> str:
    """results.md: the sentences, the picture of `report figures`, and the summary."""
    items = [f"- **{escape(q.title)}**, {escape(sentence(q))}" for q in questions(records)]
    items = items or ["No trained arm that may be compared."]
    return RESULTS.format(items="\n".join(items), table=summary_table(records))
