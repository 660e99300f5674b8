"""What every report makes of records first: lines of runs.csv, and the boards that arms stand on.

`boards` says which rows may stand in one table: arms of one fair_key, the bounds beside them, and
evaluations of the same items. What a floor or an oracle reaches depends on training rows and frozen
codecs, which two matches of one score_key need not share: arms stand between the bounds of their
own matches.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from benchmarks.config.registry import BOUNDS
from benchmarks.records.keys import digest
from benchmarks.records.record import Record

RUN_COLUMNS = (
    "run_id match kind task task_version split level method model track seed budget_kind "
    "budget_limit steps samples device_seconds train_flops sample_flops params params_encoder "
    "solver nfe guidance device threads precision peak_memory metric better value stderr n "
    "score_key fair_key status commit created"
).split()
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
    records: list[Record]  # by run_id
    variant: str = ""  # of an arm a digest of its configuration, the same for all arms of a match
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

    def failed(self, metric: str) -> float | None:
        """What a failed seed counts as: the worse of the floor and the worst completed run.

        The floor alone can be better than all that was trained (a distance of distributions is
        near zero for training photographs), and failing would win. None where no floor is known, or
        not which of several holds for the arms.
        """
        rows = [row for row in self.rows if (row.kind, row.method) == ("bound", "floor")]
        floors = [run for row in rows for run in row.records]
        runs = [run for arm in self.arms for run in arm.records]
        mine = {run.match for run in runs} & {floor.match for floor in floors}
        if not any(metric in floor.scores for floor in floors) or not (len(rows) == 1 or mine):
            return None
        worst = max if self.better[metric] == "lower" else min
        return worst(run.scores[metric].value for run in floors + runs if metric in run.scores)

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


def run_rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Lines of runs.csv: a record and a score each, in the order of the records.

    A record without scores has one line with an empty metric.
    """
    lines = []
    for record in records:
        shared = shared_cells(record)
        for name, score in sorted(record.scores.items()):
            metric, _, level = name.partition("/")
            lines.append({**shared, "metric": metric, "level": level, **vars(score)})
        if not record.scores:
            lines.append(shared)
    return lines


def shared_cells(record: Record) -> dict[str, Any]:
    """The cells that all scores of a record share; and fields that are no column."""
    model, budget, training = record.model, record.budget, record.config.get("training")
    options = record.config.get("arm")
    names = "run_id match kind task method seed score_key fair_key status quick".split()
    return {
        **(vars(model) if model else {}),
        **(vars(budget) if budget else {}),
        **vars(record.volatile),
        **{name: getattr(record, name) for name in names},
        "task_version": record.fair.score.get("version"),
        "split": record.fair.score.get("split"),
        "model": model.size if model else None,
        "track": record.config.get("track"),
        "options": options.get(record.method) if isinstance(options, dict) else None,  # of the arm
        "budget_kind": budget.kind if budget else None,
        "budget_limit": budget.limit if budget else None,
        "precision": training.get("precision") if isinstance(training, dict) else None,
    }


def boards(records: Iterable[Record]) -> list[Board]:
    """One per score_key and fair_key, ordered by task, score_key and budget, smaller ones first."""
    every = []
    ordered = sorted(records, key=lambda record: record.run_id)
    for same_items in by(ordered, "task", "score_key").values():
        fields = {key: field for (key,), field in by(same_items, "fair_key").items() if key}
        for key, field in sorted(fields.items(), key=lambda item: _budget(item[1])) or [(None, [])]:
            members = [*field, *_beside(same_items, field)]
            every.append(Board(sorted(rows_of(members), key=_place), members, key))
    return every


def rows_of(records: Iterable[Record]) -> list[Row]:
    """Rows of records that share a score_key and, where they have one, a fair_key.

    A mean over two things is none, and fair_key leaves the learning rate and the like open: what
    differs in configuration (arms), scores (bounds) or predictions (evaluations) under one name is
    a row of its own, named by the first digits of that digest.
    """
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.run_id):
        untrained = "evaluation" if record.kind == "evaluation" else "bound"
        groups["arm" if record.fair_key else untrained, record.method].append(record)
    rows = []
    for (kind, method), members in sorted(groups.items()):
        variants = _reading_alike(members) if kind == "bound" else _of_one_thing(members)
        digits = next(n for n in count(4) if len({key[:n] for key in variants}) == len(variants))
        for variant, group in sorted(variants.items()):
            if len(variants) == 1:
                rows.append(Row(method, kind, group, variant))
                continue
            name, note = f"{method}#{variant[:digits]}", ""
            if kind == "bound":
                matches = _listed("match", "es", {str(record.match) for record in group})
                note = f"{name}: of {matches}; rows of different matches are not averaged"
            elif kind == "evaluation":
                scored = _listed("record", "s", {record.run_id for record in group})
                note = f"{name}: of {scored}; other predictions are another row"
            rows.append(Row(name, kind, group, variant, note))
    return rows


def _listed(noun: str, ending: str, names: set[str]) -> str:
    return f"{noun}{ending if len(names) > 1 else ''} {', '.join(sorted(names))}"


def _of_one_thing(members: Iterable[Record]) -> dict[str, list[Record]]:
    """Arms by a digest of their configuration, evaluations by that of their predictions."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in members:
        scored = str(record.fair.proof.get("predictions", "unknown"))
        groups[digest(arm_config(record), 64) if record.fair_key else scored].append(record)
    return groups


def arm_config(record: Record) -> dict[str, Any]:
    """What an arm's configuration says about the arm itself: all but AROUND and others' options."""
    kept: dict[str, Any] = {}
    for name, value in record.config.items():
        if name == "arm" and isinstance(value, dict):
            kept |= {name: value[record.method]} if value.get(record.method) else {}
            continue
        if isinstance(value, dict):
            value = {key: item for key, item in value.items() if f"{name}.{key}" not in AROUND}
        if name not in AROUND:
            kept[name] = value
    return kept


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
