"""`report check`: what records say now against the references of expected.csv.

ok, improved: pass. Status 1: regressed; changed, a score that no training moves or that counts
other items; missing, no such reference; absent, no such score or arm, though there is a reference;
failed, the run. Status 2: refused, the reference was made under another protocol.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from benchmarks.config.output import say
from benchmarks.config.registry import BOUNDS
from benchmarks.records.keys import canonical, differing, digest
from benchmarks.records.record import Record, read_all
from benchmarks.report import references
from benchmarks.report.files import save
from benchmarks.report.references import Fields, Reference, protocol
from benchmarks.report.rows import Row, rows_of
from crossflow.errors import InputError


@dataclass
class Check:
    """One score against its reference."""

    task: str
    name: str  # of the row
    key: str  # its fair_key, else its score_key
    metric: str
    verdict: str
    why: str  # the two values that decide, tolerance and rule, or what is wrong
    new: list[Reference] = field(default_factory=list)  # the rows that accepting makes references
    accepted: bool = False  # the value is a reference by now

    @property
    def wrong(self) -> str:
        if self.accepted or self.verdict in ("ok", "improved"):
            return ""
        return "error" if self.verdict == "refused" else "failure"

    def __str__(self) -> str:
        verdict = self.verdict + ", accepted" * self.accepted
        arm = f"{self.task} {self.name} {self.metric} ({self.key})"
        return _plain(f"{verdict:<11} {arm}: {self.why}")


def _plain(text: str) -> str:
    """Text of records on one line, without what terminals, XML and annotations obey."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def compare(records: Sequence[Record], stored: Sequence[Reference]) -> list[Check]:
    """Every score of every arm against its reference, then the arms that should be there."""
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.task, record.method, canonical(protocol(record))].append(record)
    rows = [row for _, members in sorted(groups.items()) for row in rows_of(members)]
    checks = [check for row in rows for check in _of_arm(row, stored)]
    return checks + _vanished(groups, records, stored)


def _of_arm(row: Row, stored: Sequence[Reference]) -> list[Check]:
    first, fields = row.records[0], protocol(row.records[0])
    where = first.task, row.name, digest(fields["fair"] or fields["score"])
    done = [record for record in row.records if record.status == "completed"]
    failed = [run for run in row.records if run.seed not in {record.seed for record in done}]
    checks = [Check(*where, "run", "failed", f"{r.run_id}: {r.volatile.error}") for r in failed]
    if not done:
        return checks
    metrics = sorted(set.intersection(*(set(record.scores) for record in done)))
    new = {metric: references.measured(done, metric, fields) for metric in metrics}
    old, differences = nearest(stored, first.task, first.method, fields)
    if differences:
        why = f"another protocol (record / reference): {'; '.join(differences)}"
        return [*checks, Check(*where, "protocol", "refused", why, list(new.values()))]
    checks += [_judged(where, new[metric], old.get(metric)) for metric in metrics]
    for metric in sorted(old.keys() - new.keys()):
        reasons = {run.unavailable.get(metric) for run in done if metric not in run.scores}
        why = "; ".join(sorted(reason or "no such score" for reason in reasons))
        checks.append(Check(*where, metric, "absent", why))
    return checks


def nearest(
    stored: Iterable[Reference], task: str, method: str, fields: Fields
) -> tuple[dict[str, Reference], list[str]]:
    """References of an arm by metric, and how their protocol differs from its own (`fields`): of
    several that with the fewest differing fields; nothing where the file has no row of the arm."""
    groups: dict[str, dict[str, Reference]] = defaultdict(dict)
    for row in sorted(stored, key=lambda row: row.identity):
        trained = row.fair_key is not None
        if (row.task, row.method, trained) == (task, method, fields["fair"] is not None):
            groups[canonical(row.protocol)][row.metric] = row
    gaps = [(differing(fields, next(iter(of.values())).protocol), of) for of in groups.values()]
    differences, rows = min(gaps, key=lambda gap: len(gap[0]), default=([], {}))
    # A digest says nothing beside the fields it is the digest of.
    telling = [line for line in differences if not line.startswith("fair.score_key:")]
    return rows, telling or differences


def _judged(where: tuple[str, str, str], new: Reference, old: Reference | None) -> Check:
    """One score against the reference; of several pairs of values the worst decides."""
    if old is None:
        return Check(*where, new.metric, "missing", "no reference", [new])
    if (new.n, new.better) != (old.n, old.better):
        why = f"{new.n} items, {new.better} is better; the reference: {old.n} items, {old.better}"
        return Check(*where, new.metric, "changed", why, [new])
    pairs, rule = references.allowed(new, old)
    sign = 1 if old.better == "lower" else -1
    worst = max(pairs, key=lambda pair: sign * (pair[0] - pair[1]) - pair[2])
    best = min(pairs, key=lambda pair: sign * (pair[0] - pair[1]) + pair[2])
    regressed = sign * (worst[0] - worst[1]) > worst[2]
    improved = sign * (best[1] - best[0]) > best[2] and not regressed
    value, reference, tolerance = best if improved else worst
    by = f", {'worse' if regressed else 'better'} by {abs(value - reference):.3g}"
    why = f"{value:.8g} against {reference:.8g}{by * (regressed or improved)}, tolerance "
    why += f"{tolerance:.3g}, {old.better} is better; {rule}"
    verdict = "regressed" if regressed else "improved" if improved else "ok"
    if verdict != "ok" and old.kind == "exact" and old.predictions == new.predictions:
        verdict = "changed"
    return Check(*where, new.metric, verdict, why, [new])


def _vanished(
    there: Collection[object], runs: Iterable[Record], stored: Iterable[Reference]
) -> list[Check]:
    """Rows that references know and records lack, though a match that should have them is there:
    floor and oracle of its protocol, and an arm that its `methods` ask for."""
    runs = sorted((run for run in runs if run.kind == "run"), key=lambda run: run.run_id)
    checks = []
    for (task, method, wanted), row in {row.identity[:3]: row for row in stored}.items():
        for run in runs if (task, method, wanted) not in there else ():
            config: Any = run.config
            asked = method in BOUNDS or method in (config.get("methods") or ())
            if asked and run.task == task and canonical(protocol(run, method)) == wanted:
                proof: Any = run.fair.proof
                reason = (proof.get("absent") or {}).get(method)
                why = f"no record of it beside {run.run_id}" + (f": {reason}" if reason else "")
                checks.append(
                    Check(task, method, row.fair_key or row.score_key, "run", "absent", why)
                )
                break
    return checks


def accept(before: Sequence[Reference], checks: Sequence[Check], command: str) -> list[Reference]:
    """The rows of the new file. A row that is ok stays, unless the records hold its seeds and more.
    InputError where a method ran in two configurations, or a row would lose seeds: grow looser."""
    status, person = subprocess.getstatusoutput("git config user.name")
    mark = {
        "accepted": datetime.now(UTC).date().isoformat(),
        "accepted_by": "unknown" if status else person,
        "accepted_with": command,
    }
    rows = {row.identity: row for row in before}
    made: dict[tuple[str, ...], Reference] = {}
    for check, new in [(one, new) for one in checks for new in one.new]:
        old, other = rows.get(new.identity), made.setdefault(new.identity, new)
        arm = f"--accept: {new.task} {new.method}"
        if other is not new:
            raise InputError(
                f"{arm} ran in two configurations, {', '.join(other.run_ids)} and "
                f"{', '.join(new.run_ids)}; keep the records of one under --out"
            )
        if old and check.verdict == "ok" and not set(new.seeds) > set(old.seeds):
            continue
        kept = {}
        if old:
            if len(new.seeds) < len(old.seeds):
                raise InputError(
                    f"{arm} {new.metric}: {len(new.seeds)} seeds here, {len(old.seeds)} in the "
                    "reference; run as many, or delete its row first"
                )
            values = ";".join(map(str, old.values))
            past = f"{values} (accepted {old.accepted}, commits {';'.join(old.commits)})"
            kept = {"floor": old.floor, "previous": past}
        rows[new.identity] = new.model_copy(update=mark | kept)
        check.accepted = True
    return list(rows.values())


def conclude(checks: Sequence[Check], file: Path, more: Iterable[str] = ()) -> int:
    """Prints one line a check, and how many of each verdict. 1 where one fails, else 0; InputError
    for arms that must not be compared."""
    counts = sorted(Counter(check.verdict for check in checks).items())
    each = ", ".join(f"{count} {word}" for word, count in counts)
    say([*checks, f"regression checks: {len(checks)} against {file}: {each}", *more])
    refused = [check for check in checks if check.wrong == "error"]
    if refused:
        arm, others = f"{refused[0].task} {refused[0].name}", len(refused) - 1
        why = refused[0].why + (f"; and {others} more" if others else "")
        raise InputError(f"{arm} cannot be compared with {file}: {why}")
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
    """Workflow commands of GitHub Actions, escaped as actions/toolkit's command.ts does it."""
    lines = []
    for check in checks:
        if check.wrong or check.verdict == "improved":
            title = _plain(f"{check.verdict}: {check.task} {check.name} {check.metric}")
            title = title.replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
            text = str(check).replace("%", "%25")
            lines.append(f"::{'error' if check.wrong else 'notice'} title={title}::{text}")
    return lines


def run(chosen: argparse.Namespace) -> int:
    """Compares records with the references of expected.csv; status 1 on a regression."""
    file = chosen.against or references.default_file()
    before = references.read(file) if file.exists() or not chosen.accept else []
    checks = compare(read_all(chosen.out), before)
    command = ["python", "-m", "benchmarks.report", "check", "--out", str(chosen.out), "--accept"]
    command += ["--against", str(file)] if chosen.against else []
    after = accept(before, checks, shlex.join(command)) if chosen.accept else before
    if chosen.junit is not None:
        save(chosen.junit, junit(checks))
    more = github(checks) if chosen.github else []
    if after != before:
        save(file, references.text(after))
        more.append(f"accepted: {sum(check.accepted for check in checks)} scores into {file}")
    return conclude(checks, file, more)
