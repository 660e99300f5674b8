"""The fairness proof of every match, checked again from what the records hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from benchmarks.records.keys import exact
from benchmarks.records.record import Record
from benchmarks.report.gates import chain_of, clock_is_invalid, read_the_same
from benchmarks.report.rows import Board
from benchmarks.report.tables import ABSENT, Table

GAP = 0.05  # parameters and FLOPs of two arms differ by at most this part
BAD = "✗ "  # before what does not hold
HEADER = [
    "arm",
    "match",
    "run",
    "hash chain of training ids",
    "parameters / crossflow's",
    "FLOPs per evaluation / crossflow's",
    "parameters at inference, of these encoder",
    "training FLOPs",
    "training pairs read",
    "guidance tried on validation",
    "guidance used",
    "clock",
]


def proof(board: Board) -> dict[str, Any]:
    """Keys with their fields, what was frozen, pairs of arms, and what each arm spent."""
    keys = [("score_key", board.first.score_key, list(flat(board.first.fair.score)))]
    if board.arms and board.first.fair.fair is not None:
        keys.append(("fair_key", str(board.fair_key), list(flat(board.first.fair.fair))))
    named = [(arm.name, run) for arm in board.arms for run in arm.records]
    named.sort(key=lambda arm: (str(arm[1].match), arm[1].seed))
    return {
        "keys": keys,
        "frozen": _frozen(board.records),
        "pairs": list(_pairs(named)),
        "table": Table("Proof", header=HEADER, rows=[_arm(*arm) for arm in named]),
    }


def flat(fields: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """(dotted name, value as text) of every field; an empty group is one field."""
    for name, value in sorted(fields.items()):
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", exact(value) if isinstance(value, float) else str(value)


def _frozen(records: Iterable[Record]) -> list[tuple[str, str]]:
    """What was frozen and charged to no arm; each once."""
    frozen_parts: dict[tuple[str, str], None] = {}
    for record in records:
        frozen = record.fair.proof.get("frozen")
        for name, facts in sorted(frozen.items() if isinstance(frozen, dict) else ()):
            texts = flat(facts if isinstance(facts, dict) else {"is": facts})
            frozen_parts[name, ", ".join(f"{key} {text}" for key, text in texts)] = None
    return list(frozen_parts)


def _pairs(named: Iterable[tuple[str, Record]]) -> Iterable[str]:
    """Each two arms of one seed: up to which step both chains hold the same value.

    Of two chains that agree the shorter is the beginning of the longer: hashes are chained.
    """
    for (name, run), (other_name, other_run) in combinations(named, 2):
        if run.seed != other_run.seed or name == other_name:
            continue
        ours, theirs = chain_of(run), chain_of(other_run)
        common = max((int(step) for step in ours.keys() & theirs.keys()), default=0)
        steps = min((max(map(int, chain), default=0) for chain in (ours, theirs)), default=0)
        same = bool(common) and read_the_same(run, other_run) and read_the_same(other_run, run)
        text = f"{name} and {other_name}, seed {run.seed}: "
        if same and common == steps:
            yield f"{text}the same training pairs in all {steps} steps of the shorter run"
        elif same:
            yield f"{text}the same training pairs in {common} of {steps} steps, then no common mark"
        else:
            yield f"{BAD}{text}the order of training pairs is not proved"


def _arm(name: str, record: Record) -> list[str]:
    """A row of HEADER."""
    given, model, budget = record.fair.proof, record.model, record.budget
    chain, trials = given.get("training_ids"), given.get("guidance_trials")
    clock = str(record.volatile.host.get("clock", "not recorded"))
    if clock.startswith("invalid"):
        of_use = clock_is_invalid(record)
        clock = f"{BAD}{clock}" if of_use else f"{clock} (no matter: the budget is not of seconds)"
    return [
        name,
        str(record.match),
        f"{BAD if record.status == 'failed' else ''}seed {record.seed}, {record.status}",
        f"{chain['steps']} steps, {chain['value']}"
        if isinstance(chain, dict)
        else f"{BAD}not recorded",
        _ratio(given.get("params_ratio_to_crossflow")),
        _ratio(given.get("evaluation_flops_ratio_to_crossflow")),
        f"{model.params:,}, {model.params_encoder:,}" if model else ABSENT,
        f"{budget.train_flops:.4g}" if budget else ABSENT,
        f"{budget.samples:,}" if budget else ABSENT,
        ", ".join(f"{float(str(weight)):g}" for weight in trials)
        if isinstance(trials, list) and trials
        else "none",
        f"{model.guidance:g}" if model and model.guidance is not None else ABSENT,
        clock,
    ]


def _ratio(value: Any) -> str:
    """A ratio, marked where it is outside of what is called matched."""
    if not isinstance(value, float | int):
        return f"{BAD}not recorded"
    return f"{BAD}{value:.4f} (outside 5 %)" if abs(value - 1) > GAP else f"{value:.4f}"
