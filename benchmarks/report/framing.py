"""Rows that are never ranked: floor and oracle beside arms, and evaluations of predictions.

What a floor or an oracle reaches depends on training rows and frozen codecs, which two matches of
one score_key need not share. So arms stand between the frames of their own matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.config.registry import FRAMING
from benchmarks.records.keys import digest
from benchmarks.records.record import Record
from benchmarks.report.arms import by, digits_of


@dataclass(frozen=True)
class Unranked:
    """One row. kind: frame or evaluation. note: what tells it from rows of the same name."""

    name: str
    kind: str
    records: list[Record]
    note: str = ""

    def value(self, metric: str) -> float | None:
        """The row's score. No seed moves it, so that its records have one value, not a mean."""
        return next((r.scores[metric].value for r in self.records if metric in r.scores), None)


def unranked(same_items: Iterable[Record], arms: Sequence[Record]) -> list[Record]:
    """Frames beside the arms of one fair_key, and all evaluations of the score_key."""
    without = [record for record in same_items if record.fair_key is None]
    return _beside(without, arms) + [one for one in without if one.kind == "evaluation"]


def floors(same_items: Iterable[Record], arms: Sequence[Record]) -> list[Record]:
    """The floor's records for the arms of one fair_key; none where it is not known which holds."""
    frames = [one for one in same_items if one.method == "floor" and one.kind == "run"]
    found = _beside(frames, arms)
    own = {one.match for one in arms} & {one.match for one in found}
    return found if own or len(_reading_alike(found)) == 1 else []


def _beside(records: Iterable[Record], arms: Sequence[Record]) -> list[Record]:
    """Floor and oracle of the arms' own matches; those of all matches where these have none."""
    matches = {record.match for record in arms}
    found = []
    frames = [record for record in records if record.kind == "run"]
    for method in FRAMING:
        every = [record for record in frames if record.method == method]
        found += [record for record in every if record.match in matches] or every
    return found


def rows(records: Iterable[Record]) -> list[Unranked]:
    """One row per frame and per set of predictions, among records that may be of many arms.

    Frames whose scores differ are rows of their own, and so are different predictions that were
    given the same name: a mean over them would be the mean of two things.
    """
    found = []
    without = [record for record in records if record.fair_key is None]
    for (method, kind), members in by(without, "method", "kind").items():
        members = sorted(members, key=lambda record: record.run_id)
        evaluation = kind == "evaluation"
        groups = _by_predictions(members) if evaluation else _reading_alike(members)
        digits = digits_of(groups)
        for key, group in sorted(groups.items()):
            name, note = str(method), ""
            if len(groups) > 1:
                name = f"{method}#{key[:digits]}"
                note = f"{name}: {_of_records(group) if evaluation else _of_matches(group)}"
            found.append(Unranked(name, "evaluation" if evaluation else "frame", group, note))
    return found


def _by_predictions(members: Iterable[Record]) -> dict[str, list[Record]]:
    """Evaluations by the digest of what was scored."""
    found: dict[str, list[Record]] = {}
    for record in members:
        found.setdefault(str(record.fair.proof.get("predictions", "unknown")), []).append(record)
    return found


def _reading_alike(members: Iterable[Record]) -> dict[str, list[Record]]:
    """Frames by a digest of their scores at a table's four digits: machines differ in the last.

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


def _of_matches(group: Iterable[Record]) -> str:
    matches = sorted({str(record.match) for record in group})
    several = "matches" if len(matches) > 1 else "match"
    return f"of {several} {', '.join(matches)}; rows of different matches are not averaged"


def _of_records(group: Sequence[Record]) -> str:
    several = "records" if len(group) > 1 else "record"
    names = ", ".join(record.run_id for record in group)
    return f"of {several} {names}; other predictions are another row"
