"""What every report is a view of: lines of runs.csv, and boards, on which rows may be compared.

A board has the arms of one fair_key, evaluations of the same items, and floor and oracle of the
arms' own matches: these depend on training rows and codecs, which score_key does not fix.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from benchmarks.config.registry import BOUNDS
from benchmarks.records.keys import digest
from benchmarks.records.record import Record
from benchmarks.report.intervals import deviation

RUN_COLUMNS = (
    "run_id match kind task task_version split level method model track seed budget_kind "
    "budget_limit steps samples device_seconds train_flops sample_flops params params_encoder "
    "solver nfe guidance device threads precision peak_memory metric better value stderr n "
    "score_key fair_key status commit created"
).split()
TABLE_COLUMNS = (
    "task task_version split score_key fair_key budget_kind budget_limit quick kind method model "
    "metric better mean sd n failed items nfe guidance params samples train_flops seconds lr device"
).split()
ORDER = (  # shipped methods stand in this order, a user's after them
    "floor oracle regression flow_matching crossflow crossflow_paper ot_flow_matching "
    "conditional_source joint_attention noised_source data_dependent bridge autoregressive"
).split()
TIME_AND_FLOPS = 1.5  # the factor between ratios of seconds and of FLOPs that is told
COSTS = "nfe guidance params samples train_flops device_seconds lr".split()
# What a configuration says about the comparison around an arm, has no effect on a score, or is a
# path: codecs, training data and a method's file count by digests of what they hold.
AROUND = (
    "seed methods check download name predictions export training.checkpoint_seconds "
    "training.recompute training.accumulate weights sampling.curve method_file task_file task.root "
    "task.split_file task.prompts task.train_root train_root_files arm_files"
).split()


@dataclass(frozen=True)
class Row:
    """One row of a table: an arm with its runs, one or more per seed; a bound; or an evaluation."""

    name: str  # the method, with the first digits of `variant` where it has several rows
    kind: str  # arm, bound or evaluation
    records: list[Record]  # by run_id
    variant: str = ""  # digest of what tells rows of one method apart; of arms, one for a match

    @property
    def method(self) -> str:
        return self.records[0].method

    @property
    def seeds(self) -> list[int]:
        return sorted({record.seed for record in self.records})

    @property
    def completed(self) -> list[Record]:
        """The completed runs, which tell what the row cost; all where none was."""
        return [run for run in self.records if run.status == "completed"] or self.records

    @property
    def costs(self) -> dict[str, Any]:
        """What an arm is and cost: means over its completed runs, None where one does not say; a
        failed run spent a part of the budget. seconds: of training, times devices."""
        cells = [shared_cells(run) | {"lr": peak_lr(run)} for run in self.completed]
        costs: dict[str, Any] = {name: _mean([cell.get(name) for cell in cells]) for name in COSTS}
        costs["seconds"] = costs.pop("device_seconds")
        return costs | {"device": "; ".join(sorted({cell["device"] or "" for cell in cells}))}


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
        return any(run.quick for run in self.records if run.fair_key or not self.fair_key)

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for arm in self.arms for seed in arm.seeds})

    @property
    def time_marks(self) -> dict[str, str]:
        """Arms that need more than TIME_AND_FLOPS times the seconds a FLOP of another arm: under a
        budget of FLOPs they had more time, under one of time fewer FLOPs."""
        costs = {arm.name: arm.costs for arm in self.arms}
        spent = {name: (of["seconds"], of["train_flops"]) for name, of in costs.items()}
        paces = {name: time / flops for name, (time, flops) in spent.items() if time and flops}
        fastest, marks = min(paces, key=lambda name: (paces[name], name), default=""), {}
        for name, pace in paces.items():
            if (ratio := pace / paces[fastest]) > TIME_AND_FLOPS:
                devices = costs[name]["device"], costs[fastest]["device"]
                where = f" ({devices[0]}, against {devices[1]})" * (devices[0] != devices[1])
                marks[name] = f"{ratio:.3g} times the seconds a FLOP of {fastest}{where}"
        return marks

    def failed(self, metric: str) -> float | None:
        """What a failed seed counts as: the worse of floor and worst completed run. By the floor
        alone failing could win: KID of training photographs is near zero. None: no one floor."""
        if not (floors := self.floors(metric)):
            return None
        runs = [run for arm in self.arms for run in arm.records]
        scored = [run.scores[metric].value for run in runs if metric in run.scores]
        return (max if self.better[metric] == "lower" else min)(floors + scored)

    def floors(self, metric: str) -> list[float]:
        """Values of the one floor of the board, or of those of its arms' own matches."""
        rows = [row for row in self.rows if (row.kind, row.method) == ("bound", "floor")]
        floors = [run for row in rows for run in row.records if metric in run.scores]
        matches = {run.match for arm in self.arms for run in arm.records}
        if len(rows) > 1 and not matches & {floor.match for floor in floors}:
            return []
        return [floor.scores[metric].value for floor in floors]

    def values(self, row: Row, metric: str) -> dict[int, float] | None:
        """An arm's value per training seed, see `failed`; None where a seed has none. No seed moves
        a bound or an evaluation: its records have one value, not a mean."""
        if row.kind != "arm":
            known = [run for run in row.records if metric in run.scores]
            return {known[0].seed: known[0].scores[metric].value} if known else None
        values: dict[int, float] = {}
        for seed in row.seeds:
            done = [run for run in row.records if (run.seed, run.status) == (seed, "completed")]
            scored = [run.scores[metric].value for run in done if metric in run.scores]
            value = statistics.fmean(scored) if scored else self.failed(metric)
            if len(scored) < len(done) or value is None:
                return None
            values[seed] = value
        return values

    @property
    def uneven(self) -> str:
        """Which training seeds arms have, where these differ and forbid ranks; else empty."""
        seeds = {arm.name: arm.seeds for arm in sorted(self.arms, key=lambda arm: arm.name)}
        if len({tuple(of_arm) for of_arm in seeds.values()}) < 2:
            return ""
        each = (f"{name} {len(of)} ({', '.join(map(str, of))})" for name, of in seeds.items())
        return f"training seeds differ: {'; '.join(each)}"


def run_rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Lines of runs.csv, a record and a score each; one without a metric where it has no scores."""
    lines = []
    for record in records:
        shared = shared_cells(record)
        for name, score in sorted(record.scores.items()):
            metric, _, level = name.partition("/")
            lines.append({**shared, "metric": metric, "level": level, **vars(score)})
        lines += [] if record.scores else [shared]
    return lines


def table_rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Lines of tables/<task>.csv, a table below another: a row and metric each, of all seeds.

    n is the number of seeds behind mean and sd, items that behind each value; failed runs count
    as the board says. Keys and budget are the table's: an evaluation or a bound has none.
    """
    lines = []
    for board in boards(records):
        fair = board.first.fair.fair or {}
        shared = shared_cells(board.first) | {"model": fair.get("model")}
        for row in board.rows:
            of_row = shared | row.costs | {"kind": row.kind, "method": row.name}
            of_row |= {"quick": any(run.quick for run in row.records)}
            of_row |= {"failed": sum(run.status == "failed" for run in row.records)}
            for metric in sorted({board.first.primary, *board.better}):
                values = list((board.values(row, metric) or {}).values())
                scores = [run.scores[metric] for run in row.records if metric in run.scores]
                line = of_row | {"metric": metric, "better": board.better.get(metric)}
                line |= {"n": len(values), "mean": statistics.fmean(values) if values else None}
                line |= {"sd": deviation(values), "items": max((s.n for s in scores), default=None)}
                lines += [line] if values or metric == board.first.primary else []
    return lines


def shared_cells(record: Record) -> dict[str, Any]:
    """The cells that all scores of a record share, and fields that are no column."""
    config, model, budget = record.config, record.model, record.budget
    training, options = config.get("training"), config.get("arm")
    return {
        **dict(model or {}),
        **dict(budget or {}),
        **dict(record.volatile),
        **dict(record),
        "seed": record.seed,
        "quick": record.quick,
        "task_version": record.fair.score.get("version"),
        "split": record.fair.score.get("split"),
        "model": model.size if model else None,
        "track": config.get("track"),
        "options": options.get(record.method) if isinstance(options, dict) else None,  # of the arm
        "budget_kind": budget.kind if budget else None,
        "budget_limit": budget.limit if budget else None,
        "precision": training.get("precision") if isinstance(training, dict) else None,
    }


def _mean(values: Sequence[Any]) -> Any:
    """The value that all share, else their mean; None where one is missing."""
    if None in values:
        return None
    return values[0] if len(set(values)) == 1 else statistics.fmean(values)


def peak_lr(run: Record) -> Any:
    """The learning rate of an arm. None for what was not trained, and for a user's method without
    options, which may have its own and does not say so."""
    options, training = shared_cells(run)["options"], run.config.get("training")
    if not (run.fair_key and isinstance(training, dict) and (options or run.method in ORDER)):
        return None
    return (options or {}).get("lr") or training.get("lr")


def boards(records: Iterable[Record]) -> list[Board]:
    """One per score_key and fair_key, ordered by task, score_key and budget, smaller ones first."""
    every = []
    ordered = sorted(records, key=lambda record: record.run_id)
    for same_items in by(ordered, "task", "score_key").values():
        trained = by([record for record in same_items if record.fair_key], "fair_key").values()
        for arms in sorted(trained, key=_budget) or [[]]:
            matches = {record.match for record in arms}
            members = list(arms)
            for bound in BOUNDS:
                known = [one for one in same_items if (one.method, _kind(one)) == (bound, "bound")]
                members += [one for one in known if one.match in matches] or known
            members += [record for record in same_items if record.kind == "evaluation"]
            rows = sorted(rows_of(members), key=_place)
            every.append(Board(rows, members, arms[0].fair_key if arms else None))
    return every


def by(records: Iterable[Record], *names: str) -> dict[tuple[Any, ...], list[Record]]:
    """Records grouped by some of their fields, groups in the order of their values."""
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[tuple(getattr(record, name) for name in names)].append(record)
    return dict(sorted(groups.items(), key=lambda group: tuple(map(str, group[0]))))


def _budget(arms: Sequence[Record]) -> tuple[str, float]:
    budget = arms[0].budget
    return (budget.kind, budget.limit) if budget else ("", 0.0)


def _kind(record: Record) -> str:
    return "arm" if record.fair_key else "bound" if record.kind == "run" else "evaluation"


def _place(row: Row) -> tuple[int, int, str]:
    known = ORDER.index(row.method) if row.method in ORDER else len(ORDER)
    return int(row.kind == "evaluation"), known, row.name


def rows_of(records: Iterable[Record]) -> list[Row]:
    """Rows of records that share a score_key and, where they have one, a fair_key. What differs
    under one name (see `_variant`) is a row of its own, named by the digest's first digits."""
    groups: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(dict)
    for record in sorted(records, key=lambda record: record.run_id):
        variants = groups[_kind(record), record.method]
        variants.setdefault(_variant(record, variants), []).append(record)
    rows = []
    for (kind, method), variants in sorted(groups.items()):
        digits = next(n for n in count(4) if len({key[:n] for key in variants}) == len(variants))
        for variant, members in sorted(variants.items()):
            name = method if len(variants) == 1 else f"{method}#{variant[:digits]}"
            rows.append(Row(name, kind, members, variant))
    return rows


def _variant(record: Record, known: Mapping[str, Sequence[Record]]) -> str:
    """Digest of predictions, of an arm's configuration, of a bound's scores; or a known bound's."""
    if record.kind == "evaluation":
        return str(record.fair.proof.get("predictions", "unknown"))
    if record.fair_key:
        return digest(arm_config(record), 64)
    alike = (key for key, runs in known.items() if all(_agree(record, run) for run in runs))
    return next(alike, digest(_shown(record), 64))


def _agree(one: Record, other: Record) -> bool:
    """In the scores that both have, at 4 digits: machines differ in the last digit."""
    ours, theirs = _shown(one), _shown(other)
    return bool(ours) == bool(theirs) and all(ours[n] == theirs[n] for n in ours.keys() & theirs)


def _shown(record: Record) -> dict[str, str]:
    return {name: f"{score.value:.4g}" for name, score in record.scores.items()}


def arm_config(record: Record) -> dict[str, Any]:
    """What an arm's configuration says about the arm itself: all but AROUND and others' options."""
    config = dict(record.config)
    options = config.pop("arm", None)
    if isinstance(options, dict) and options.get(record.method):
        config["arm"] = options[record.method]
    kept: dict[str, Any] = {name: value for name, value in config.items() if name not in AROUND}
    for name, value in kept.items():
        if isinstance(value, dict):
            kept[name] = {key: of for key, of in value.items() if f"{name}.{key}" not in AROUND}
    return kept


def ranks(numbers: Sequence[float | None], better: str) -> list[int | None]:
    """1 for the best number; equal ones share a place and use up those after it; None for None."""
    sign = {"higher": -1, "lower": 1}[better]
    ordered = sorted(sign * number for number in numbers if number is not None)
    return [None if number is None else 1 + ordered.index(sign * number) for number in numbers]
