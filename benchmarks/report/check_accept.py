"""`report check --accept`: records become references, with where they come from."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.records.keys import canonical, differing
from benchmarks.report.check import Check, Measured
from benchmarks.report.references import Fields, Reference
from benchmarks.report.rows import arm_config
from benchmarks.report.tolerance import default_floor
from crossflow.errors import InputError


@dataclass(frozen=True)
class Stamp:
    """When, by whom and with which command rows were accepted."""

    date: str
    person: str
    command: str


def stamp(out: Path, against: Path | None) -> Stamp:
    """Today in UTC, git's user (who commits the file) or the login, and the command."""
    command = ["python", "-m", "benchmarks.report", "check", "--out", str(out), "--accept"]
    if against is not None:
        command += ["--against", str(against)]
    return Stamp(datetime.now(UTC).date().isoformat(), _person(), shlex.join(command))


def _person() -> str:
    """What is known of who accepts: a container may have no git, and a user without a name."""
    try:
        return _git_user() or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _git_user() -> str:
    try:
        done = subprocess.run(
            ["git", "config", "user.name"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.SubprocessError):  # no git, which is no reason not to accept
        return ""
    return done.stdout.strip()


def accept(references: Sequence[Reference], checks: Sequence[Check], by: Stamp) -> list[Reference]:
    """The rows of the new file. Marks the checks whose values are references by now.

    A row that is ok stays as it is, unless the records hold its seeds and more; every other one is
    replaced. Failed runs and absent scores leave no row. InputError where one method ran in two
    configurations of one protocol, since their mean is no reference, and where a row would lose
    seeds, since its check would grow looser.
    """
    _refuse_two_of_one(checks)
    rows = {row.identity: row for row in references}
    for check in checks:
        arm = check.arm
        if check.verdict in ("failed", "absent"):
            continue
        for metric in arm.metrics() if check.verdict == "refused" else [check.metric]:
            new = row_of(arm, metric, by)
            old = rows.get(new.identity)
            if old is not None:
                if check.verdict == "ok" and not set(new.seeds) > set(old.seeds):
                    continue
                if len(new.seeds) < len(old.seeds):
                    raise InputError(
                        f"--accept: {arm.task} {arm.name} {metric}: {len(new.seeds)} seeds here, "
                        f"{len(old.seeds)} in the reference; run as many, or delete its row first"
                    )
                new = replace(new, floor=old.floor, previous=_told(old))
            rows[new.identity] = new
            check.accepted = True
    return list(rows.values())


def _refuse_two_of_one(checks: Iterable[Check]) -> None:
    first: dict[tuple[str, str, str], Measured] = {}
    for arm in (check.arm for check in checks):
        other = first.setdefault((arm.task, arm.method, canonical(arm.protocol)), arm)
        if other is not arm:
            fields = differing(
                _own_config(other) | {"predictions": other.predictions},
                _own_config(arm) | {"predictions": arm.predictions},
            )
            raise InputError(
                f"--accept: {arm.task} {arm.method} ran in two configurations, which differ in "
                f"{'; '.join(fields)}; keep the records of one under --out"
            )


def _own_config(arm: Measured) -> Fields:
    return arm_config((arm.done or arm.failed)[0])


def row_of(arm: Measured, metric: str, by: Stamp) -> Reference:
    """An arm's score as a new reference. InputError where its runs scored different items."""
    values, scores, first = arm.by_seed(metric), arm.scores(metric), arm.done[0]
    volatile = [record.volatile for record in arm.done]
    if len({(score.n, score.better) for score in scores}) > 1:
        raise InputError(
            f"--accept: {arm.task} {arm.name} {metric}: the runs differ in the number of items or "
            "in which way is better"
        )
    return Reference(
        task=arm.task,
        method=arm.method,
        metric=metric,
        kind=arm.kind,
        better=scores[0].better,
        seeds=tuple(values),
        values=tuple(values.values()),
        stderr=arm.mean(metric).stderr,
        n=scores[0].n,
        floor=default_floor(metric),
        score_key=first.score_key,
        fair_key=first.fair_key,
        accepted=by.date,
        accepted_by=by.person,
        accepted_with=by.command,
        previous="",
        run_ids=tuple(record.run_id for record in arm.done),
        commits=tuple(sorted({one.commit or "unknown" for one in volatile})),
        created=max(one.created for one in volatile),
        commands=sorted({one.command or "unknown" for one in volatile}),
        predictions=arm.predictions,
        machine=arm.machine,
        protocol=arm.protocol,
    )


def _told(old: Reference) -> str:
    values = ";".join(map(str, old.values))
    return f"{values} (accepted {old.accepted}, commits {';'.join(old.commits)})"
