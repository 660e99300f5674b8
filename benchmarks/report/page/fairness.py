"""The fairness proof of every match, checked again from what the records hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from benchmarks.records.keys import exact
from benchmarks.records.record import Record
from benchmarks.report.gates import chain_of, clock_is_invalid, read_the_same
from benchmarks.report.page.shown import Comparison
from benchmarks.report.rows import by
from crossflow.order import is_prefix

MATCHES = 10  # of one comparison that are shown
GAP = 0.05  # design: parameters and FLOPs of two arms differ by at most this part
RATIOS = ("params_ratio_to_crossflow", "evaluation_flops_ratio_to_crossflow")
NOT_RECORDED = "not recorded"


def proof(comparison: Comparison) -> dict[str, Any]:
    """Keys with their fields, and what each match says for itself."""
    matches = list(by(comparison.arms, "match").items())
    across = _across([group for _, group in matches[:MATCHES]])
    return {
        "title": comparison.title,
        "anchor": comparison.anchor,
        "quick": comparison.quick,
        "keys": _keys(comparison),
        "frozen": _frozen(comparison.records),
        "matches": [
            _match(str(name), group, comparison.names)
            | {"elsewhere": any(name in pair["matches"] for pair in across)}
            for (name,), group in matches[:MATCHES]
        ],
        "across": across,
        "left_out": max(0, len(matches) - MATCHES),
        "of": len(matches),
    }


def _keys(comparison: Comparison) -> list[dict[str, Any]]:
    """Each key, its value and the fields it is the digest of, nested names dotted."""
    fair = comparison.arms[0].fair.fair if comparison.arms else None
    score = comparison.first.fair.score
    keys = [{"name": "score_key", "value": comparison.score_key, "fields": list(flat(score))}]
    if fair is not None:
        keys.append(
            {"name": "fair_key", "value": str(comparison.fair_key), "fields": list(flat(fair))}
        )
    return keys


def flat(fields: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """(dotted name, value as text) of every field; an empty group is one field."""
    for name, value in sorted(fields.items()):
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _said(value)


def _said(value: Any) -> str:
    if value is None or (isinstance(value, Mapping | list) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    return exact(value) if isinstance(value, float) else str(value)


def _frozen(records: Sequence[Record]) -> list[tuple[str, str]]:
    """What was frozen and charged to no arm; each once."""
    found: dict[tuple[str, str], None] = {}
    for record in records:
        frozen = record.fair.proof.get("frozen")
        for name, facts in sorted(frozen.items() if isinstance(frozen, dict) else ()):
            said = facts if isinstance(facts, dict) else {"is": facts}
            found[name, ", ".join(f"{key} {text}" for key, text in flat(said))] = None
    return list(found)


def _match(name: str, group: Sequence[Record], names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "seeds": ", ".join(map(str, sorted({record.seed for record in group}))),
        "orders": _orders(group),
        "arms": [_arm(record, names[record.run_id]) for record in group],
    }


def _chain(record: Record) -> Mapping[str, Any] | None:
    chain = record.fair.proof.get("training_ids")
    return chain if isinstance(chain, dict) else None


def _orders(group: Sequence[Record]) -> list[dict[str, Any]]:
    """Every pair of arms: whether the shorter run read the beginning of what the longer read.

    Checked here from the marks of both chains; what the records claim of it is compared.
    """
    found = []
    for index, one in enumerate(group):
        for other in group[index + 1 :]:
            chains = _chain(one), _chain(other)
            if chains[0] is None or chains[1] is None:
                continue
            pair = sorted(
                ((one, chains[0]), (other, chains[1])), key=lambda side: int(side[1]["steps"])
            )
            (short, first), (long, second) = pair
            proved = is_prefix(first, second)
            claims = {_claim(short, long), _claim(long, short)} - {None}
            found.append(
                {
                    "text": f"{short.method} ({first['steps']} steps) is the beginning of "
                    f"{long.method} ({second['steps']} steps)",
                    "proved": proved,
                    "disagrees": claims != {proved} and bool(claims),
                }
            )
    return found


def _across(matches: Sequence[Sequence[Record]]) -> list[dict[str, Any]]:
    """Pairs of arms of one seed, each trained alone in one of `matches`.

    Shown is up to which step they read the same rows: the last that both chains have a value for.
    """
    lonely = [group[0] for group in matches if len(group) == 1]
    found = []
    for one, other in combinations(lonely, 2):
        if one.seed != other.seed or one.method == other.method:
            continue
        common = chain_of(one).keys() & chain_of(other).keys()
        ends = [record.budget.steps for record in (one, other) if record.budget]
        steps = max((int(step) for step in common), default=0)
        found.append(
            {
                "text": f"{one.method} and {other.method}, seed {one.seed}, each in a match of its "
                f"own: the same rows in {steps} of {min(ends, default=0)} steps",
                "matches": (one.match, other.match),
                "proved": bool(common) and read_the_same(one, other),
            }
        )
    return found


def _claim(one: Record, other: Record) -> bool | None:
    claimed = one.fair.proof.get("same_ids_as")
    said = claimed.get(other.method) if isinstance(claimed, dict) else None
    return said if isinstance(said, bool) else None


def _arm(record: Record, name: str) -> dict[str, Any]:
    """A row of the table of a match; `cells` follow HEADER, each is (text, whether it fails)."""
    given, chain, budget = record.fair.proof, _chain(record), record.budget
    trials = given.get("guidance_trials")
    model = record.model
    tried = [f"{float(str(one)):g}" for one in trials] if isinstance(trials, list) else []
    clock, slowed = str(record.volatile.host.get("clock", NOT_RECORDED)), clock_is_invalid(record)
    if clock.startswith("invalid") and not slowed:
        clock += " (without effect: the budget is not of seconds)"
    return {
        "method": name,
        "run_id": record.run_id,
        "cells": [
            (f"seed {record.seed}, {record.status}", record.status == "failed"),
            (
                f"{chain['steps']} steps, {chain['value']}" if chain else NOT_RECORDED,
                chain is None,
            ),
            *(_ratio(given.get(ratio)) for ratio in RATIOS),
            (
                f"{model.params:,}, of these encoder {model.params_encoder:,}" if model else "",
                False,
            ),
            (f"{budget.train_flops:.4g}" if budget else "", False),
            (f"{budget.samples:,}" if budget else "", False),
            (f"{', '.join(tried)} ({len(tried)} trials)" if tried else "none", False),
            (f"{model.guidance:g}" if model and model.guidance is not None else "", False),
            (clock, slowed),
        ],
    }


HEADER = (
    "arm",
    "run",
    "hash chain of training ids",
    "parameters / crossflow's",
    "FLOPs per evaluation / crossflow's",
    "parameters at inference",
    "training FLOPs",
    "training pairs read",
    "guidance tried on validation",
    "guidance used",
    "clock",
)


def _ratio(value: Any) -> tuple[str, bool]:
    """A ratio, and whether it is outside of what is called matched."""
    if not isinstance(value, float | int):
        return NOT_RECORDED, True
    outside = abs(value - 1) > GAP
    return f"{value:.4f}{' (outside 5 %)' if outside else ''}", outside
