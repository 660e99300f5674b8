"""`report check`: lines, JUnit XML, annotations, accepting. `run check=true` ends alike."""

from __future__ import annotations

import argparse
import getpass
import re
import shlex
import subprocess
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.records.keys import canonical, differing
from benchmarks.records.record import read_all
from benchmarks.report import references
from benchmarks.report.check import Check, Measured, compare
from benchmarks.report.files import path, say
from benchmarks.report.references import Reference
from benchmarks.report.rows import arm_config
from benchmarks.report.tolerance import default_floor
from crossflow.errors import InputError
from crossflow.files import write_atomic

# What XML 1.0 has no way to write, escaped or not.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def options(parser: argparse.ArgumentParser) -> None:
    """What `report check` has beside --out."""
    for name, text in (
        ("--against", "references; without it results/public/expected.csv of this checkout"),
        ("--junit", "also write JUnit XML"),
    ):
        parser.add_argument(name, type=path, metavar="FILE", help=text)
    for name, text in (
        ("--accept", "make the records of --out the references"),
        ("--github", "also print annotations for GitHub Actions"),
    ):
        parser.add_argument(name, action="store_true", help=text)


def run(chosen: argparse.Namespace) -> int:
    """`report check`; 1 on a regression. InputError (status 2) where a comparison is refused.

    --accept makes records the references whatever the verdict, failed and absent ones excepted.
    """
    file = chosen.against or references.default_file()
    if file is None:
        raise InputError(
            "--against FILE is required: this package lies in no checkout with results/public"
        )
    before = references.read(file) if file.exists() or not chosen.accept else []
    checks = compare(read_all(chosen.out), before)
    after = accept(before, checks, chosen.out, chosen.against) if chosen.accept else before
    try:
        if chosen.junit is not None:
            write_atomic(chosen.junit, junit(checks))
        if after != before:
            write_atomic(file, references.text(after))
    except OSError as error:
        raise InputError(f"cannot write {error.filename or file}: {error.strerror}") from error
    print_checks(checks, after, file)
    if chosen.github:
        say(github(checks))
    if after != before:
        say([f"accepted: {sum(check.accepted for check in checks)} scores into {file}"])
    return status(checks, file)


def print_checks(checks: Sequence[Check], rows: Sequence[Reference], file: Path) -> None:
    """One line a check, then how many of each verdict, and which references had no record."""
    counts = Counter(check.verdict for check in checks)
    each = ", ".join(f"{counts[word]} {word}" for word in sorted(counts))
    seen = {(check.arm.task, check.arm.method) for check in checks}
    idle = sorted({(row.task, row.method) for row in rows} - seen)
    rest = "; without a record here: " + ", ".join(map(" ".join, idle)) if idle else ""
    last = f"regression checks: {len(checks)} against {file}: {each}{rest}"
    say([*map(line, checks), last])


def status(checks: Sequence[Check], file: Path) -> int:
    """1 where a check fails, else 0. InputError for arms that must not be compared."""
    refused = [check for check in checks if check.refused]
    if refused:
        first = refused[0]
        more = f"; and {len(refused) - 1} more" if len(refused) > 1 else ""
        raise InputError(
            f"{first.arm.task} {first.arm.name} cannot be compared with {file}: {first.why}{more}"
        )
    return int(any(check.fails for check in checks))


def line(check: Check) -> str:
    """One check on one line: verdict, task, method, metric, key, both values, tolerance, rule."""
    value, reference = check.value, check.reference
    parts = [] if value is None else [f"{value:.8g}"]
    if reference is not None:
        parts = [f"{value:.8g} against {reference:.8g}" if parts else f"reference {reference:.8g}"]
    if check.verdict in ("regressed", "improved") and value is not None and reference is not None:
        word = "worse" if check.verdict == "regressed" else "better"
        parts.append(f"{word} by {abs(value - reference):.3g}")
    parts += [f"tolerance {check.tolerance:.3g}"] if check.tolerance is not None else []
    parts += [f"{check.better} is better"] if check.better is not None else []
    verdict = check.verdict + (", accepted" if check.accepted else "")
    arm = f"{check.arm.task} {check.arm.name} {check.metric} ({check.arm.key})"
    values = ", ".join(parts) + "; " if parts else ""
    # Text of records may hold line breaks.
    text = f"{verdict:<11} {arm}: {values}{check.why}"
    return "".join(sign if sign.isprintable() else " " for sign in text).rstrip()


def junit(checks: Sequence[Check]) -> bytes:
    """One test case a check, as Jenkins, GitLab and GitHub's viewers read it; no times in it."""
    totals = {
        "name": "regression checks",
        "tests": str(len(checks)),
        "failures": str(sum(check.fails for check in checks)),
        "errors": str(sum(check.refused for check in checks)),
        "skipped": "0",
        "time": "0",
    }
    root = ET.Element("testsuites", totals)
    suite = ET.SubElement(root, "testsuite", totals)
    for check in checks:
        where, text = f"{check.arm.task}.{check.arm.name}.{check.arm.key}", _xml(line(check))
        names = {"classname": _xml(where), "name": _xml(check.metric), "time": "0"}
        case = ET.SubElement(suite, "testcase", names)
        if check.fails or check.refused:
            kind = "failure" if check.fails else "error"
            ET.SubElement(case, kind, {"message": text, "type": check.verdict}).text = text
        else:
            ET.SubElement(case, "system-out").text = text
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _xml(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)


def github(checks: Sequence[Check]) -> list[str]:
    """Workflow commands of GitHub Actions: errors for what fails, notices for what improved.

    Escaped as actions/toolkit does it: packages/core/src/command.ts.
    """
    found = []
    for check in checks:
        wrong = check.fails or check.refused
        if wrong or check.verdict == "improved":
            title = f"{check.verdict}: {check.arm.task} {check.arm.name} {check.metric}"
            title = _escape(title).replace(":", "%3A").replace(",", "%2C")
            level = "error" if wrong else "notice"
            found.append(f"::{level} title={title}::{_escape(line(check))}")
    return found


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def accept(
    before: Sequence[Reference], checks: Sequence[Check], out: Path, against: Path | None
) -> list[Reference]:
    """The rows of the new file. Marks the checks whose values are references by now.

    A row that is ok stays as it is, unless the records hold its seeds and more; every other one is
    replaced. InputError where one method ran in two configurations of one protocol, since their
    mean is no reference, and where a row would lose seeds, since its check would grow looser.
    """
    _refuse_two_of_one(checks)
    command = ["python", "-m", "benchmarks.report", "check", "--out", str(out), "--accept"]
    command += ["--against", str(against)] if against else []
    person = _person()
    rows = {row.identity: row for row in before}
    for check in checks:
        if check.verdict in ("failed", "absent"):
            continue
        arm = check.arm
        for metric in arm.metrics if check.verdict == "refused" else [check.metric]:
            new = _row_of(arm, metric, person, shlex.join(command))
            old = rows.get(new.identity)
            if old is not None:
                if check.verdict == "ok" and not set(new.seeds) > set(old.seeds):
                    continue
                if len(new.seeds) < len(old.seeds):
                    raise InputError(
                        f"--accept: {arm.task} {arm.name} {metric}: {len(new.seeds)} seeds here, "
                        f"{len(old.seeds)} in the reference; run as many, or delete its row first"
                    )
                values = ";".join(map(str, old.values))
                past = f"{values} (accepted {old.accepted}, commits {';'.join(old.commits)})"
                new = new.model_copy(update={"floor": old.floor, "previous": past})
            rows[new.identity] = new
            check.accepted = True
    return list(rows.values())


def _person() -> str:
    """git's user, who commits the file, or the login; a container may have neither."""
    try:
        asked = ["git", "config", "user.name"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10)
        return done.stdout.strip() or getpass.getuser()
    except (KeyError, OSError, subprocess.SubprocessError):
        return "unknown"


def _refuse_two_of_one(checks: Sequence[Check]) -> None:
    first: dict[tuple[str, str, str], Measured] = {}
    for arm in (check.arm for check in checks):
        other = first.setdefault((arm.task, arm.method, canonical(arm.protocol)), arm)
        if other is not arm:
            this, that = (
                arm_config((one.done or one.failed)[0]) | {"predictions": one.predictions}
                for one in (other, arm)
            )
            raise InputError(
                f"--accept: {arm.task} {arm.method} ran in two configurations, which differ in "
                f"{'; '.join(differing(this, that))}; keep the records of one under --out"
            )


def _row_of(arm: Measured, metric: str, person: str, command: str) -> Reference:
    """An arm's score as a new reference. InputError where its runs scored different items."""
    scores = [record.scores[metric] for record in arm.done]
    if len({(score.n, score.better) for score in scores}) > 1:
        raise InputError(
            f"--accept: {arm.task} {arm.name} {metric}: the runs differ in the number of items or "
            "in which way is better"
        )
    values, first = arm.by_seed(metric), arm.done[0]
    volatile = [record.volatile for record in arm.done]
    same = ("task", "method", "predictions", "machine", "protocol")
    return Reference.model_validate(
        {name: getattr(arm, name) for name in same}
        | {
            "metric": metric,
            "class": arm.kind,
            "better": scores[0].better,
            "seeds": tuple(values),
            "values": tuple(values.values()),
            "stderr": arm.mean(metric).stderr,
            "n": scores[0].n,
            "floor": default_floor(metric),
            "score_key": first.score_key,
            "fair_key": first.fair_key,
            "accepted": datetime.now(UTC).date().isoformat(),
            "accepted_by": person,
            "accepted_with": command,
            "previous": "",
            "run_ids": tuple(record.run_id for record in arm.done),
            "commits": tuple(sorted({one.commit or "unknown" for one in volatile})),
            "created": max(one.created for one in volatile),
            "commands": sorted({one.command or "unknown" for one in volatile}),
        }
    )
