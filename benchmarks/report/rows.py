"""What every report makes of records first: one data frame of scores, and the boards they stand on.

`rows` has one row an arm's run and metric: runs.csv and more. `boards` says which rows may stand in
one table: arms of one fair_key, the bounds beside them, and evaluations of the same items. What a
floor or an oracle reaches depends on training rows and frozen codecs, which two matches of one
score_key need not share: arms stand between the bounds of their own matches.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from benchmarks.config.registry import BOUNDS
from benchmarks.records.keys import digest
from benchmarks.records.record import Record

if TYPE_CHECKING:
    import pandas as pd

RUN_COLUMNS = (
    "run_id match kind task task_version split level method model track seed budget_kind "
    "budget_limit steps samples device_seconds train_flops sample_flops params params_encoder "
    "solver nfe guidance device threads precision peak_memory metric better value stderr n "
    "score_key fair_key status commit created"
).split()
# score: the metric with its level. arm: its name in the leaderboard, else the method. options: of
# the arm, a dictionary, None where none were given.
MORE_COLUMNS = ["score", "primary", "arm", "options", "quick"]
WHOLE = "task_version seed steps samples params params_encoder nfe threads peak_memory n".split()
REAL = "budget_limit device_seconds train_flops sample_flops guidance value stderr".split()
ORDER = ("floor", "oracle", "regression", "flow_matching", "crossflow")

# What a configuration says about the comparison around an arm, has no effect on a score, or is a
# path: codecs, training data and a method's file count by digests of what they hold.
AROUND = (
    "seed methods check download name predictions export training.checkpoint_seconds weights "
    "sampling.curve method_file task_file task.root task.split_file task.prompts task.train_root "
    "train_root_files"
).split()


@dataclass(frozen=True)
class Row:
    """One row of a table: an arm with its runs, one or more per seed; a bound; or an evaluation."""

    name: str  # the method, with the first digits of `variant` where it has several rows
    kind: str  # arm, bound or evaluation
    records: list[Record]
    variant: str = ""  # digest of an arm's configuration, the same for all arms of a match
    note: str = ""  # what tells a bound or an evaluation from others of its name

    @property
    def method(self) -> str:
        return self.records[0].method

    @property
    def label(self) -> str:
        """The name as tables show it: who trains and how is known of arms alone."""
        return f"{self.name} (predictions only)" if self.kind == "evaluation" else self.name

    @property
    def seeds(self) -> list[int]:
        return sorted({record.seed for record in self.records})

    @property
    def completed(self) -> list[Record]:
        """The runs that tell what the row cost: the completed ones; all where none was."""
        return [run for run in self.records if run.status == "completed"] or self.records

    def values(self, metric: str, failed: float | None = None) -> dict[int, float] | None:
        """An arm's value per training seed, `failed` for a failed seed; None where one has none.

        No seed moves a bound or an evaluation: its records have one value, not a mean.
        """
        if self.kind != "arm":
            known = [run for run in self.records if metric in run.scores]
            return {known[0].seed: known[0].scores[metric].value} if known else None
        values: dict[int, float] = {}
        for seed in self.seeds:
            done = [run for run in self.records if (run.seed, run.status) == (seed, "completed")]
            scored = [run.scores[metric].value for run in done if metric in run.scores]
            value = statistics.fmean(scored) if scored else failed
            if len(scored) < len(done) or value is None:
                return None
            values[seed] = value
        return values


@dataclass(frozen=True)
class Board:
    """Rows that may stand in one table, in its order: bounds, arms, evaluations."""

    rows: list[Row]
    records: list[Record]  # the arms' by run_id, then those of bounds, then evaluations
    fair_key: str | None  # of the arms; None where nothing was trained

    @property
    def first(self) -> Record:
        return self.records[0]

    @property
    def arms(self) -> list[Row]:
        return [row for row in self.rows if row.kind == "arm"]

    @property
    def better(self) -> dict[str, str]:
        """Which way each score is better."""
        return {name: score.better for one in self.records for name, score in one.scores.items()}

    @property
    def quick(self) -> bool:
        """Whether an arm, or where there is none any row, was made by a preset too small."""
        trained = [record for record in self.records if record.fair_key is not None]
        return any(record.quick for record in trained or self.records)

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for arm in self.arms for seed in arm.seeds})

    @property
    def floors(self) -> list[Record]:
        """Records of the floor; none where it is not known which of several holds for the arms."""
        rows = [row for row in self.rows if (row.kind, row.method) == ("bound", "floor")]
        floors = [record for row in rows for record in row.records]
        matches = {record.match for arm in self.arms for record in arm.records}
        return floors if len(rows) == 1 or any(one.match in matches for one in floors) else []

    def failed(self, metric: str) -> float | None:
        """What a failed seed counts as: the worse of the floor and the worst completed run.

        The floor alone can be better than all that was trained (a distance of distributions is
        near zero for training photographs), and failing would win. None where no floor is known.
        """
        floors = [one.scores[metric].value for one in self.floors if metric in one.scores]
        runs = [run for arm in self.arms for run in arm.records if metric in run.scores]
        worst = max if self.better.get(metric) == "lower" else min
        return worst([*floors, *(run.scores[metric].value for run in runs)]) if floors else None

    def values(self, row: Row, metric: str) -> dict[int, float] | None:
        """Values of one of the rows by training seed: see `Row.values`."""
        return row.values(metric, self.failed(metric))

    @property
    def uneven(self) -> str:
        """Where arms have different training seeds, which each has; else empty.

        Means over different seeds are no race: such arms get neither rank nor mark. A rank over
        the common seeds would stand beside means of others. Verdicts are paired by seed and stay.
        """
        seeds = {arm.name: arm.seeds for arm in sorted(self.arms, key=lambda arm: arm.name)}
        if len({tuple(of_arm) for of_arm in seeds.values()}) < 2:
            return ""
        each = (f"{name} {len(of)} ({', '.join(map(str, of))})" for name, of in seeds.items())
        return f"training seeds differ: {'; '.join(each)}"


def rows(records: Sequence[Record]) -> pd.DataFrame:
    """One row per record and score, RUN_COLUMNS and MORE_COLUMNS, in the order of the records.

    A record without scores has one row with an empty metric.
    """
    import pandas as pd

    names = {
        (record.fair_key, record.run_id): arm.name
        for group in by(records, "fair_key").values()
        for arm in arms(group)
        for record in arm.records
    }
    lines: list[dict[str, Any]] = []
    for record in records:
        shared = shared_cells(record)
        shared["arm"] = names.get((record.fair_key, record.run_id), record.method)
        for name, score in sorted(record.scores.items()):
            metric, _, level = name.partition("/")
            lines.append({**shared, "score": name, "metric": metric, "level": level, **vars(score)})
        if not record.scores:
            lines.append(shared)
    types = dict.fromkeys(WHOLE, "Int64") | dict.fromkeys(REAL, "float64")
    return pd.DataFrame(lines, columns=RUN_COLUMNS + MORE_COLUMNS).astype(types)


def shared_cells(record: Record) -> dict[str, Any]:
    """The cells that all scores of a record share, but `arm`; and fields that are no column."""
    model, budget, config = record.model, record.budget, record.config
    training, options = config.get("training"), config.get("arm")
    names = "run_id match kind task method seed score_key fair_key status primary quick".split()
    return {
        **(vars(model) if model else {}),
        **(vars(budget) if budget else {}),
        **vars(record.volatile),
        **{name: getattr(record, name) for name in names},
        "task_version": record.fair.score.get("version"),
        "split": record.fair.score.get("split"),
        "model": model.size if model else None,
        "track": config.get("track"),
        "options": options.get(record.method) if isinstance(options, dict) else None,
        "budget_kind": budget.kind if budget else None,
        "budget_limit": budget.limit if budget else None,
        "precision": training.get("precision") if isinstance(training, dict) else None,
    }


def boards(records: Iterable[Record]) -> list[Board]:
    """One per score_key and fair_key, ordered by task, score_key and budget, smaller ones first."""
    found = []
    ordered = sorted(records, key=lambda record: record.run_id)
    for same_items in by(ordered, "task", "score_key").values():
        fields = {key: field for (key,), field in by(same_items, "fair_key").items() if key}
        for key, field in sorted(fields.items(), key=lambda item: _budget(item[1])) or [(None, [])]:
            others = _beside(same_items, field)
            members = sorted([*arms(field), *untrained(others)], key=_place)
            found.append(Board(members, [*field, *others], None if key is None else str(key)))
    return found


def arms(records: Iterable[Record]) -> list[Row]:
    """Ranked rows of one fair_key. A method run with two configurations makes two arms.

    fair_key leaves the learning rate and the like open, and a mean over two of them would be the
    mean of two things: such arms are named by the first digits of their configuration's digest.
    """
    grouped: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.fair_key is not None:
            grouped[record.method][digest(arm_config(record), 64)].append(record)
    digits = digits_of(variant for variants in grouped.values() for variant in variants)
    found = []
    for method, variants in sorted(grouped.items()):
        for variant, members in sorted(variants.items()):
            name = method if len(variants) == 1 else f"{method}#{variant[:digits]}"
            members.sort(key=lambda record: record.run_id)
            found.append(Row(name, "arm", members, variant))
    return found


def arm_config(record: Record) -> dict[str, Any]:
    """What an arm's configuration says about the arm itself: all but AROUND and others' options."""
    found: dict[str, Any] = {}
    for name, value in record.config.items():
        if name == "arm" and isinstance(value, dict):
            found |= {name: value[record.method]} if value.get(record.method) else {}
            continue
        if isinstance(value, dict):
            value = {key: item for key, item in value.items() if f"{name}.{key}" not in AROUND}
        if name not in AROUND:
            found[name] = value
    return found


def untrained(records: Iterable[Record]) -> list[Row]:
    """Bounds and evaluations among records. A mean over two things is none: what differs in scores
    (bounds) or predictions (evaluations) under one name is a row of its own."""
    found = []
    without = [record for record in records if record.fair_key is None]
    for (method, kind), members in by(without, "method", "kind").items():
        members = sorted(members, key=lambda record: record.run_id)
        evaluation = kind == "evaluation"
        if evaluation:
            scored = [str(one.fair.proof.get("predictions", "unknown")) for one in members]
            pairs = list(zip(scored, members, strict=True))
            groups = {key: [one for of, one in pairs if of == key] for key in scored}
        else:
            groups = _reading_alike(members)
        digits = digits_of(groups)
        for key, group in sorted(groups.items()):
            name, note = str(method), ""
            if len(groups) > 1:
                name = f"{method}#{key[:digits]}"
                note = f"{name}: {_told_apart(group, evaluation)}"
            found.append(Row(name, "evaluation" if evaluation else "bound", group, note=note))
    return found


def digits_of(digests: Iterable[str]) -> int:
    """How many first digits tell these digests apart: four, more where two of them clash."""
    every = set(digests)
    return next(n for n in count(4) if len({text[:n] for text in every}) == len(every))


def by(records: Iterable[Record], *names: str) -> dict[tuple[Any, ...], list[Record]]:
    """Records grouped by some of their fields, groups in the order of their values."""
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[tuple(getattr(record, name) for name in names)].append(record)
    return dict(sorted(groups.items(), key=lambda group: tuple(map(str, group[0]))))


def _beside(same_items: Sequence[Record], field: Sequence[Record]) -> list[Record]:
    """Floor and oracle of the arms' own matches (of all matches where these have none), and all
    evaluations of the items."""
    matches = {record.match for record in field}
    found = []
    for method in BOUNDS:
        every = [one for one in same_items if (one.method, one.kind) == (method, "run")]
        every = [record for record in every if record.fair_key is None]
        found += [record for record in every if record.match in matches] or every
    return found + [record for record in same_items if record.kind == "evaluation"]


def _budget(field: Sequence[Record]) -> tuple[str, float]:
    budgets = [record.budget for record in field if record.budget is not None]
    return (budgets[0].kind, budgets[0].limit) if budgets else ("", 0.0)


def _place(row: Row) -> tuple[int, int, str]:
    """Floor and oracle, then the arms, then evaluations of somebody's predictions."""
    known = ORDER.index(row.method) if row.method in ORDER else len(ORDER)
    return int(row.kind == "evaluation"), known, row.name


def _reading_alike(members: Iterable[Record]) -> dict[str, list[Record]]:
    """Bounds by a digest of their scores at a table's four digits: machines differ in the last.

    A score that only some of them have tells none apart; a failed one has no score at all.
    """
    groups: list[tuple[dict[str, str], list[Record]]] = []
    for record in members:
        shown = {name: f"{score.value:.4g}" for name, score in record.scores.items()}
        for known, group in groups:
            if all(known.get(name, text) == text for name, text in shown.items()):
                known.update(shown)
                group.append(record)
                break
        else:
            groups.append((shown, [record]))
    return {digest(shown, 64): group for shown, group in groups}


def _told_apart(group: Sequence[Record], evaluation: bool) -> str:
    """Of what a bound or an evaluation is that has rows of the same name beside it."""
    if evaluation:
        runs = [record.run_id for record in group]
        of = f"of record{'s' if len(runs) > 1 else ''} {', '.join(runs)}"
        return f"{of}; other predictions are another row"
    matches = sorted({str(record.match) for record in group})
    of = f"of match{'es' if len(matches) > 1 else ''} {', '.join(matches)}"
    return f"{of}; rows of different matches are not averaged"
