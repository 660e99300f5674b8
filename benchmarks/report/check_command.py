"""`report check`: options, files, exit status. `run check=true` ends in the same way."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.records.record import read_all
from benchmarks.report import check_output, references
from benchmarks.report.check import Check, compare
from benchmarks.report.check_accept import accept, stamp
from benchmarks.report.files import path
from benchmarks.report.references import Reference
from crossflow.errors import InputError
from crossflow.files import write_atomic


def options(parser: argparse.ArgumentParser) -> None:
    """What `report check` has beside --out."""
    parser.add_argument(
        "--against",
        type=path,
        metavar="FILE",
        help="references; without it results/public/expected.csv of this checkout",
    )
    parser.add_argument(
        "--accept", action="store_true", help="make the records of --out the references"
    )
    parser.add_argument("--junit", type=path, metavar="FILE", help="also write JUnit XML")
    parser.add_argument(
        "--github", action="store_true", help="also print annotations for GitHub Actions"
    )


def run(chosen: argparse.Namespace) -> int:
    """`report check`; 1 on a regression. InputError (status 2) where a comparison is refused."""
    file = reference_file(chosen.against)
    before = references.read(file) if file.exists() or not chosen.accept else []
    checks = compare(read_all(chosen.out), before)
    after = before
    if chosen.accept:
        after = accept(before, checks, stamp(chosen.out, chosen.against))
    print_checks(checks, after, file)
    if chosen.github:
        print("\n".join(check_output.github(checks)))
    if chosen.junit is not None:
        try:
            write_atomic(chosen.junit, check_output.junit(checks))
        except OSError as error:
            raise InputError(f"--junit: cannot write {chosen.junit}: {error.strerror}") from error
    if after != before:
        references.write(file, after)
        print(f"accepted: {sum(check.accepted for check in checks)} scores into {file}")
    return status(checks, file)


def reference_file(against: Path | None) -> Path:
    """The file of references: the one given, else this checkout's. InputError outside of one."""
    found = against or references.default_file()
    if found is None:
        raise InputError(
            "--against FILE is required: this package lies in no checkout with results/public"
        )
    return found


def print_checks(checks: Sequence[Check], rows: Sequence[Reference], file: Path) -> None:
    """One line a check, then one that counts them."""
    for check in checks:
        print(check_output.line(check))
    print(check_output.summary(checks, rows, file), flush=True)


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
