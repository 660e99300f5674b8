"""Regression checks for people, for test reports (JUnit XML) and for pull requests (GitHub)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.report.check import Check
from benchmarks.report.references import Reference

# What XML 1.0 has no way to write, escaped or not.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def line(check: Check) -> str:
    """One check on one line: verdict, task, method, metric, key, both values, tolerance, rule."""
    accepted = ", accepted" if check.accepted else ""
    return _one_line(
        f"{check.verdict + accepted:<11} {check.arm.task} {check.arm.name} {check.metric} "
        f"({check.arm.key}): {_values(check)}{check.why}"
    )


def _values(check: Check) -> str:
    said = []
    if check.value is not None and check.reference is not None:
        said.append(f"{check.value:.8g} against {check.reference:.8g}")
        difference = check.value - check.reference
        if check.verdict not in ("ok", "changed"):
            word = "better" if (difference < 0) == (check.better == "lower") else "worse"
            said.append(f"{word} by {abs(difference):.3g}")
    elif check.value is not None:
        said.append(f"{check.value:.8g}")
    elif check.reference is not None:
        said.append(f"reference {check.reference:.8g}")
    if check.tolerance is not None:
        said.append(f"tolerance {check.tolerance:.3g}")
    if check.better is not None:
        said.append(f"{check.better} is better")
    return ", ".join(said) + "; " if said else ""


def _one_line(text: str) -> str:
    """Text of records may hold line breaks; a line per check holds none."""
    return "".join(c if c.isprintable() else " " for c in text).rstrip()


def summary(checks: Sequence[Check], references: Sequence[Reference], file: Path) -> str:
    """The last line: how many of each verdict, and which references nobody compared with."""
    counts = Counter(check.verdict for check in checks)
    told = ", ".join(f"{counts[word]} {word}" for word in sorted(counts))
    seen = {(check.arm.task, check.arm.method) for check in checks}
    held = {(row.task, row.method) for row in references}
    idle = [f"{task} {method}" for task, method in sorted(held - seen)]
    rest = f"; without a record here: {', '.join(idle)}" if idle else ""
    return _one_line(f"regression checks: {len(checks)} against {file}: {told}{rest}")


def junit(checks: Sequence[Check]) -> bytes:
    """One test case a check, as Jenkins, GitLab and GitHub's viewers read it; no times in it."""
    totals = {
        "tests": str(len(checks)),
        "failures": str(sum(check.fails for check in checks)),
        "errors": str(sum(check.refused for check in checks)),
        "skipped": "0",
        "time": "0",
    }
    root = ET.Element("testsuites", {"name": "regression checks", **totals})
    suite = ET.SubElement(root, "testsuite", {"name": "regression checks", **totals})
    for check in checks:
        case = ET.SubElement(
            suite,
            "testcase",
            {
                "classname": _xml(f"{check.arm.task}.{check.arm.name}.{check.arm.key}"),
                "name": _xml(check.metric),
                "time": "0",
            },
        )
        told = _xml(line(check))
        if check.fails or check.refused:
            kind = "failure" if check.fails else "error"
            found = ET.SubElement(case, kind, {"message": told, "type": check.verdict})
            found.text = told
        else:
            ET.SubElement(case, "system-out").text = told
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _xml(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)


def github(checks: Sequence[Check]) -> list[str]:
    """Workflow commands of GitHub Actions: errors for what fails, notices for what improved."""
    found = []
    for check in checks:
        if check.fails or check.refused:
            level = "error"
        elif check.verdict == "improved":
            level = "notice"
        else:
            continue
        title = _property(f"{check.verdict}: {check.arm.task} {check.arm.name} {check.metric}")
        found.append(f"::{level} title={title}::{_data(line(check))}")
    return found


def _data(text: str) -> str:
    """Escaped as actions/toolkit does it: packages/core/src/command.ts."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
