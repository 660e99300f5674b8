"""`report check`: what records say now against the references of expected.csv.

Verdicts. ok, improved: pass. regressed: worse by more than the tolerance. changed: a score that no
training moves has moved, or counts other items. missing: the reference file knows no such arm or
metric. absent: the record has no such score, though the reference does, or a match of records here
lacks an arm that it was asked for. failed: the run did. These five end with status 1. refused: the
reference was made under another protocol; status 2. `references` says how much worse is too much.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.config.registry import BOUNDS
from benchmarks.records.keys import canonical, differing, digest
from benchmarks.records.record import Record, read_all
from benchmarks.report import references
from benchmarks.report.files import path, save, say
from benchmarks.report.references import Fields, Reference, bound_of, protocol
from benchmarks.report.rows import Row, rows_of
from crossflow.errors import InputError

FAILING = ("regressed", "changed", "missing", "absent", "failed")


@dataclass
class Check:
    """One score against its reference."""

    task: str
    name: str  # of the arm: the method, with four digits where it ran in several configurations
    key: str  # the digest that the arm's rank or score goes by
    metric: str
    verdict: str  # with ", accepted" where the value is a reference by now
    why: str  # the rule, or what is wrong
    value: float | None = None  # value and reference: the two that decide, None where none does
    reference: float | None = None
    tolerance: float | None = None
    better: str | None = None
    new: list[Reference] = field(default_factory=list)  # the rows that accepting makes references

    @property
    def wrong(self) -> str:
        """failure, error (of a comparison that is refused) or nothing."""
        failure = "failure" if self.verdict in FAILING else ""
        return "error" if self.verdict == "refused" else failure

    def __str__(self) -> str:
        """One line: verdict, task, method, metric, key, both values, tolerance, rule."""
        values = [number for number in (self.value, self.reference) if number is not None]
        parts = [" against ".join(f"{number:.8g}" for number in values)] if values else []
        word = {"regressed": "worse", "improved": "better"}.get(self.verdict.partition(",")[0])
        parts += [f"{word} by {abs(values[0] - values[1]):.3g}"] if word else []
        parts += [f"tolerance {self.tolerance:.3g}"] if self.tolerance is not None else []
        parts += [f"{self.better} is better"] if self.better is not None else []
        numbers = ", ".join(parts) + "; " if parts else ""
        arm = f"{self.task} {self.name} {self.metric} ({self.key})"
        return _plain(f"{self.verdict:<11} {arm}: {numbers}{self.why}").rstrip()


def _plain(text: str) -> str:
    """Text of records on one line, without what terminals, XML and annotations obey."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def compare(records: Iterable[Record], stored: Sequence[Reference]) -> list[Check]:
    """Every score of every arm against its reference, then the arms that should be there."""
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.task, record.method, canonical(protocol(record))].append(record)
    checks = []
    for _, members in sorted(groups.items()):
        for row in rows_of(members):
            checks += _of_arm(row, protocol(members[0]), stored)
    return checks + _vanished(groups, stored)


def _of_arm(row: Row, fields: Fields, stored: Sequence[Reference]) -> list[Check]:
    """The checks of one arm; a single one where its protocol is refused."""
    first = row.records[0]
    where = first.task, row.name, digest(fields["fair"] or fields["score"])
    done = [record for record in row.records if record.status == "completed"]
    seeds = {record.seed for record in done}
    failed = [record for record in row.records if record.seed not in seeds]
    checks = [Check(*where, "run", "failed", f"{r.run_id}: {r.volatile.error}") for r in failed]
    if not done:
        return checks
    metrics = sorted(set.intersection(*(set(record.scores) for record in done)))
    new = {metric: references.measured(done, metric, fields) for metric in metrics}
    old, differences = nearest(stored, first.task, first.method, fields)
    if differences:
        why = f"another protocol (record / reference): {'; '.join(differences)}"
        return [*checks, Check(*where, "protocol", "refused", why, new=list(new.values()))]
    checks += [_judged(where, new[metric], old.get(metric)) for metric in metrics]
    for metric in sorted(old.keys() - new.keys()):
        lacking = [record for record in done if metric not in record.scores]
        why = "; ".join(sorted({run.unavailable.get(metric, "no such score") for run in lacking}))
        why = f"{why}; reference {statistics.fmean(old[metric].values):.8g}"
        checks.append(Check(*where, metric, "absent", why, better=old[metric].better))
    return checks


def nearest(
    stored: Iterable[Reference], task: str, method: str, fields: Fields
) -> tuple[dict[str, Reference], list[str]]:
    """References of an arm by metric, and how their protocol differs from its own (`fields`).

    Of several protocols that with the fewest differing fields. Nothing at all where the file has no
    row of the arm; an evaluation, which has no budget, may have the name of one.
    """
    groups: dict[str, dict[str, Reference]] = defaultdict(dict)
    for row in stored:
        trained = row.fair_key is not None
        if (row.task, row.method, trained) == (task, method, fields["fair"] is not None):
            groups[canonical(row.protocol)][row.metric] = row
    gaps = {}
    for key, rows in sorted(groups.items()):
        gaps[key] = differing(fields, next(iter(rows.values())).protocol)
    if not gaps:
        return {}, []
    key = min(gaps, key=lambda key: len(gaps[key]))
    # A digest says nothing beside the fields it is the digest of.
    telling = [line for line in gaps[key] if not line.startswith("fair.score_key:")]
    return groups[key], telling or gaps[key]


def _judged(where: tuple[str, str, str], new: Reference, old: Reference | None) -> Check:
    """One score against the reference; of several pairs of values the worst decides."""
    check = Check(*where, new.metric, "missing", "no reference", better=new.better, new=[new])
    check.value = statistics.fmean(new.values)
    if old is None:
        return check
    check.reference = statistics.fmean(old.values)
    if (new.n, new.better) != (old.n, old.better):
        check.verdict, check.why = "changed", f"over {new.n} items, the reference over {old.n}"
        if new.better != old.better:
            check.why = f"in the reference {old.better} is better"
        return check
    pairs, check.why = references.allowed(new, old)
    sign = 1 if old.better == "lower" else -1
    worst = max(pairs, key=lambda pair: sign * (pair[0] - pair[1]) - pair[2])
    best = min(pairs, key=lambda pair: sign * (pair[0] - pair[1]) + pair[2])
    regressed = sign * (worst[0] - worst[1]) > worst[2]
    improved = sign * (best[1] - best[0]) > best[2]
    check.value, check.reference, check.tolerance = best if improved and not regressed else worst
    check.verdict = "regressed" if regressed else "improved" if improved else "ok"
    if check.verdict != "ok" and old.kind == "exact" and old.predictions == new.predictions:
        check.verdict = "changed"
    return check


def _vanished(
    groups: Mapping[tuple[str, str, str], Sequence[Record]], stored: Iterable[Reference]
) -> list[Check]:
    """Arms that references know and records lack, though a match that should have them is there.

    A reference counts for a match by its score_key and, for an arm, its fair_key. An arm is missed
    where `methods` of such a match asks for it; floor and oracle, which every match has, where the
    match's would have the reference's protocol. An evaluation belongs to no match.
    """
    runs = [run for members in groups.values() for run in members if run.kind == "run"]
    runs.sort(key=lambda run: run.run_id)
    known = {row.identity[:3]: row for row in sorted(stored, key=lambda row: row.identity)}
    checks = []
    for row in (row for identity, row in known.items() if identity not in groups):
        beside = next((run for run in runs if _should_have(run, row)), None)
        if beside is not None:
            absent = beside.fair.proof.get("absent")
            reason = absent.get(row.method) if isinstance(absent, dict) else None
            why = f"no record of it beside {beside.run_id}" + (f": {reason}" if reason else "")
            key = row.fair_key or row.score_key
            checks.append(Check(row.task, row.method, key, "run", "absent", why))
    return checks


def _should_have(run: Record, row: Reference) -> bool:
    """Whether the match of a run makes, or was asked to make, the arm of a reference."""
    if run.score_key != row.score_key:
        return False
    if row.method in BOUNDS:
        bound = bound_of(run, row.method)
        return row.fair_key is None and canonical(bound) == canonical(row.protocol["frame"])
    asked = run.config.get("methods")
    same_race = row.fair_key is not None and run.fair_key == row.fair_key
    return same_race and isinstance(asked, list) and row.method in asked


def accept(before: Sequence[Reference], checks: Sequence[Check], command: str) -> list[Reference]:
    """The rows of the new file. Marks the checks whose values are references by now.

    Whatever the verdict, failed and absent ones excepted. A row that is ok stays as it is, unless
    the records hold its seeds and more. InputError where one method ran in two configurations of
    one protocol, since their mean is no reference, and where a row would lose seeds, since its
    check would grow looser.
    """
    status, person = subprocess.getstatusoutput("git config user.name")
    mark = {
        "accepted": datetime.now(UTC).date().isoformat(),
        "accepted_by": "unknown" if status else person,
        "accepted_with": command,
    }
    rows = {row.identity: row for row in before}
    made: dict[tuple[str, ...], Reference] = {}
    for check in checks:
        for new in check.new:
            old, other = rows.get(new.identity), made.setdefault(new.identity, new)
            arm = f"--accept: {new.task} {new.method}"
            if other is not new:
                raise InputError(
                    f"{arm} ran in two configurations, {', '.join(other.run_ids)} and "
                    f"{', '.join(new.run_ids)}; keep the records of one under --out"
                )
            if old and check.verdict == "ok" and not set(new.seeds) > set(old.seeds):
                continue
            if old and len(new.seeds) < len(old.seeds):
                raise InputError(
                    f"{arm} {new.metric}: {len(new.seeds)} seeds here, {len(old.seeds)} in the "
                    "reference; run as many, or delete its row first"
                )
            kept = {}
            if old:
                values = ";".join(map(str, old.values))
                past = f"{values} (accepted {old.accepted}, commits {';'.join(old.commits)})"
                kept = {"floor": old.floor, "previous": past}
            rows[new.identity] = new.model_copy(update=mark | kept)
            check.verdict = f"{check.verdict.partition(',')[0]}, accepted"
    return list(rows.values())


def conclude(
    checks: Sequence[Check], stored: Iterable[Reference], file: Path, more: Iterable[str] = ()
) -> int:
    """Prints one line a check, how many of each verdict, and which references had no record.

    Returns 1 where a check fails, else 0. InputError for arms that must not be compared.
    """
    counts = Counter(check.verdict.partition(",")[0] for check in checks)
    each = ", ".join(f"{counts[word]} {word}" for word in sorted(counts))
    idle = {f"{row.task} {row.method}" for row in stored}
    idle -= {f"{check.task} {check.name.partition('#')[0]}" for check in checks}
    rest = f"; without a record here: {', '.join(sorted(idle))}" if idle else ""
    say([*checks, f"regression checks: {len(checks)} against {file}: {each}{rest}", *more])
    refused = [check for check in checks if check.wrong == "error"]
    if refused:
        others = f"; and {len(refused) - 1} more" if len(refused) > 1 else ""
        arm = f"{refused[0].task} {refused[0].name}"
        raise InputError(f"{arm} cannot be compared with {file}: {refused[0].why}{others}")
    return int(any(check.wrong for check in checks))


def junit(checks: Sequence[Check]) -> bytes:
    """One test case a check, as Jenkins, GitLab and GitHub's viewers read it; no times in it."""
    wrong = Counter(check.wrong for check in checks)
    totals = {"name": "regression checks", "tests": str(len(checks))}
    totals |= {"failures": str(wrong["failure"]), "errors": str(wrong["error"])}
    root = ET.Element("testsuites", totals)
    suite = ET.SubElement(root, "testsuite", totals)
    for check in checks:
        where, name = _plain(f"{check.task}.{check.name}.{check.key}"), _plain(check.metric)
        case = ET.SubElement(suite, "testcase", classname=where, name=name)
        about = {"message": str(check), "type": check.verdict} if check.wrong else {}
        ET.SubElement(case, check.wrong or "system-out", about).text = str(check)
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def github(checks: Sequence[Check]) -> list[str]:
    """Workflow commands of GitHub Actions: errors for what fails, notices for what improved.

    Escaped as actions/toolkit does it: packages/core/src/command.ts.
    """
    lines = []
    for check in checks:
        if check.wrong or check.verdict == "improved":
            title = _plain(f"{check.verdict}: {check.task} {check.name} {check.metric}")
            title = title.replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
            text = str(check).replace("%", "%25")
            lines.append(f"::{'error' if check.wrong else 'notice'} title={title}::{text}")
    return lines


def options(parser: argparse.ArgumentParser) -> None:
    """What `report check` has beside --out."""
    parser.add_argument("--against", type=path, help="references; else results/public/expected.csv")
    parser.add_argument("--junit", type=path, help="also write JUnit XML to this file")
    parser.add_argument("--accept", action="store_true", help="make these records the references")
    parser.add_argument("--github", action="store_true", help="also print GitHub annotations")


def run(chosen: argparse.Namespace) -> int:
    """`report check`; 1 on a regression. InputError (status 2) where a comparison is refused."""
    file = chosen.against or references.default_file()
    if file is None:
        raise InputError(
            "--against FILE is required: this package lies in no checkout with results/public"
        )
    before = references.read(file) if file.exists() or not chosen.accept else []
    checks = compare(read_all(chosen.out), before)
    after, more = before, []
    if chosen.accept:
        command = ["python", "-m", "benchmarks.report", "check", "--out", str(chosen.out)]
        command += ["--accept", *(["--against", str(file)] if chosen.against else [])]
        after = accept(before, checks, shlex.join(command))
    if chosen.junit is not None:
        save(chosen.junit, junit(checks))
    more += github(checks) if chosen.github else []
    if after != before:
        save(file, references.text(after))
        more.append(
            f"accepted: {sum(', ' in check.verdict for check in checks)} scores into {file}"
        )
    return conclude(checks, after, file, more)
