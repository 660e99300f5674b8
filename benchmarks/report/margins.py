"""The smallest difference that is worth a word: `margins.csv`, fixed per metric before the runs.

A margin chosen after the numbers are known can make any two arms equivalent, or any one better;
that is why it is a committed file and no option. Columns:

- metric: a metric's name; `@*` stands for any number of samples (`fid@*` covers `fid@30000`).
- margin: a plain number above 0.
- kind: `absolute`, in the scale of the metric, or `relative`, a share of the reference's mean.
- reason: why this much and not less. Never empty.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from crossflow.errors import InputError

FILE = Path(__file__).with_name("margins.csv")
COLUMNS = ["metric", "margin", "kind", "reason"]
KINDS = ("absolute", "relative")
NUMBER = re.compile(r"\d+(\.\d+)?")
PROTOCOL = re.compile(r"@\d+$")


@dataclass(frozen=True)
class Margin:
    """How much a difference must be, as it is or as a share of the reference's mean (kind)."""

    value: float
    kind: str

    def around(self, reference: float) -> float:
        """The margin in the scale of the metric, given the mean of the reference arm."""
        return self.value * abs(reference) if self.kind == "relative" else self.value


def margin_of(metric: str, file: Path = FILE) -> Margin | None:
    """The margin of a metric; None where the file has none: it gets no verdict word then.

    Raises InputError that names file and line for a file that breaks a rule above.
    """
    known = _read(file)
    return known.get(metric) or known.get(PROTOCOL.sub("@*", metric))


@lru_cache
def _read(file: Path) -> dict[str, Margin]:
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            if next(reader, []) != COLUMNS:
                raise InputError(f"{file}, line 1: the columns must be {','.join(COLUMNS)}")
            found: dict[str, Margin] = {}
            for cells in reader:
                metric, margin = _row(f"{file}, line {reader.line_num}", cells)
                if metric in found:
                    raise InputError(f"{file}, line {reader.line_num}: {metric} has a margin above")
                found[metric] = margin
    except FileNotFoundError:
        raise InputError(f"{file} is missing; install the package again") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} is no CSV file in UTF-8: {error}") from error
    return found


def _row(where: str, cells: list[str]) -> tuple[str, Margin]:
    """One line, all its fields checked."""
    if len(cells) != len(COLUMNS):
        raise InputError(f"{where}: {len(cells)} cells for {len(COLUMNS)} columns")
    metric, margin, kind, reason = cells
    if not metric or ("*" in metric and not re.fullmatch(r"[^*@]+@\*", metric)):
        raise InputError(f"{where}, metric {metric!r}: must be a name, or a name before @*")
    if not NUMBER.fullmatch(margin) or float(margin) == 0:
        raise InputError(f"{where}, margin {margin!r}: must be a plain number above 0")
    if kind not in KINDS:
        raise InputError(f"{where}, kind {kind!r}: not one of {', '.join(KINDS)}")
    if not reason.strip():
        raise InputError(f"{where}, reason: must not be empty")
    return metric, Margin(float(margin), kind)
