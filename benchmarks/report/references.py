"""expected.csv: the values that regression checks compare with, and how much worse is too much.

One row per task, method, protocol and metric, of one class:

exact        what no training moves: floor, oracle, scored predictions. Any change is a failure, for
             the better too: the code that scores has changed. Same machine: 1e-9 of the value, and
             1e-9 besides; elsewhere 1e-5 and 1e-6, for other processors round differently.
seeded       a tiny run on a CPU. Seed by seed, where machine, threads and versions are those of the
             reference: 1e-6 of the value, as bits repeat there. Elsewhere: statistical.
statistical  a real run. With n >= 3 stored seeds of standard deviation s, and m new ones, the mean
             may be worse by max(floor, t s sqrt(1/n + 1/m)), t the 0.999 quantile of Student's
             distribution with n - 1 degrees of freedom: the prediction limit of a mean. One or two
             seeds say nothing usable of how seeds scatter: there by max(5 floor, 3.09 hypot(e1,
             e2)), e the standard errors over items; its rate of false alarms is not known.

The t rule fails an unchanged score once in 1,000 checks: 90 independent checks alarm in 9 % of
runs. Three seeds need a loss of 18 s (m = 3) to be noticed, five 4.5 s (m = 5): store five. A floor
may be edited by hand, and stays when its row is replaced.
"""

from __future__ import annotations

import csv
import functools
import io
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic import BeforeValidator as Before
from pydantic_core import from_json

from benchmarks.records.keys import canonical, digest
from benchmarks.records.record import Record
from benchmarks.report.rows import Row
from crossflow.errors import InputError

Fields = dict[str, Any]
REPOSITORY = Path(__file__).resolve().parents[2]
ALARMS = 1e-3
FEWEST_SEEDS = 3
WITHOUT_SEEDS = 5.0
TINY_FLOPS = 1e13  # of training: twice the budget of the quick preset
# How `crossflow.clock` says that an arm ran on a CPU; the device's name does not.
ON_A_CPU = "device type cpu"
# Changes nobody would report: half a point of a share, a tenth of a decibel, 1 % of an error; a
# number in the metric's unit, or a percentage. By the name without level and number of items; the
# first that fits counts.
SHARES = r"bleu\d|meteor|rouge_l|spice|(scene|geneval|precision|recall|ssim)_\w+|delta\d\w*"
FLOORS = {
    SHARES: "0.005",
    r"cider": "0.02",
    r"clip\w+": "0.002",
    r"psnr_\w+": "0.1",
    r"(fid|kid|is)(_\w+)?": "2%",
    r".*": "1%",
}


def default_floor(metric: str) -> str:
    """The smallest tolerance of a new reference."""
    name = re.split(r"[@/]", metric, maxsplit=1)[0]
    return next(floor for pattern, floor in FLOORS.items() if re.fullmatch(pattern, name))


def floor_at(floor: str, value: float) -> float:
    """A floor in the metric's unit: `0.005`, or `2%` of a value."""
    return abs(value) * float(floor[:-1]) / 100 if floor.endswith("%") else float(floor)


def allowed(new: Reference, old: Reference) -> tuple[list[tuple[float, float, float]], str]:
    """(value, reference, tolerance) of all that the reference's class compares; the rule."""
    mean, machines = statistics.fmean(old.values), (canonical(old.machine), canonical(new.machine))
    same_machine = old.machine is not None and machines[0] == machines[1]
    values, stored = (dict(zip(row.seeds, row.values, strict=True)) for row in (new, old))
    shared = sorted(values.keys() & stored.keys())
    if old.kind == "exact" and old.predictions == new.predictions:
        tolerance = 1e-9 + 1e-9 * abs(mean) if same_machine else 1e-6 + 1e-5 * abs(mean)
        rule = f"exact, {'same' if same_machine else 'another'} machine"
        return [(value, mean, tolerance) for value in new.values], rule
    if old.kind == "seeded" and same_machine and shared:
        pairs = [(values[s], stored[s], 1e-9 + 1e-6 * abs(stored[s])) for s in shared]
        return pairs, "seeded, same machine and seed"
    tolerance, rule = statistical(old.values, len(values), (old.stderr, new.stderr), old.floor)
    if old.kind != "statistical":
        reason = "other predictions" if old.kind == "exact" else "another machine or seed"
        rule = f"{old.kind}, but {reason}: {rule}"
    return [(statistics.fmean(new.values), mean, tolerance)], rule


def statistical(
    stored: Sequence[float], seeds: int, errors: Sequence[float | None], floor: str
) -> tuple[float, str]:
    """(tolerance, rule) of a mean over so many new seeds, against stored values, one a seed.

    errors: standard errors over items of the stored and the new score, None where unknown.
    """
    smallest = floor_at(floor, statistics.fmean(stored))
    if len(stored) >= FEWEST_SEEDS:
        deviation = statistics.stdev(stored)
        spread = spread_factor(len(stored), seeds) * deviation
        rule = f"{len(stored)} seeds, sd {deviation:.3g}"
        if spread >= smallest:
            return spread, f"statistical, {rule}"
        return smallest, f"statistical, floor {floor} ({rule})"
    rule = f"statistical, only {len(stored)} seed{'s' if len(stored) > 1 else ''} stored"
    known = [error for error in errors if error is not None]
    scatter = statistics.NormalDist().inv_cdf(1 - ALARMS) * math.hypot(*known)
    if len(known) == len(errors) and scatter >= WITHOUT_SEEDS * smallest:
        return scatter, f"{rule}: standard error over items"
    return WITHOUT_SEEDS * smallest, f"{rule}: {WITHOUT_SEEDS:g} times the floor {floor}"


@functools.cache
def spread_factor(stored: int, new: int) -> float:
    """Standard deviations by which the mean of `new` seeds may fall below that of `stored` ones.

    The one-sided prediction limit of a mean, Hahn and Meeker, Statistical Intervals, section 4.8.
    """
    from scipy import stats

    return float(stats.t.ppf(1 - ALARMS, stored - 1) * (1 / stored + 1 / new) ** 0.5)


Words = Before(lambda cell: cell.split(";") if isinstance(cell, str) and cell else cell or ())
Json = Before(lambda cell: from_json(cell, allow_inf_nan=False) if isinstance(cell, str) else cell)
Empty = Before(lambda cell: None if cell == "" else cell)


class Reference(BaseModel):
    """One row; the fields are the columns, in the order of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    task: str
    method: str
    metric: str
    kind: Literal["exact", "seeded", "statistical"]  # the column class
    better: Literal["higher", "lower"]
    seeds: Annotated[tuple[int, ...], Words, Field(min_length=1)]  # training seeds, joined by ;
    values: Annotated[tuple[float, ...], Words]  # the score of each seed
    stderr: Annotated[float | None, Empty]  # over items, the root mean square over seeds
    n: int  # items behind each value
    floor: str = Field(pattern=r"^\d+(\.\d+)?%?$")  # smallest tolerance: see `floor_at`
    score_key: str
    fair_key: Annotated[str | None, Empty]  # none for floor, oracle and evaluations
    accepted: str = ""  # date, person and command that put the row here
    accepted_by: str = ""
    accepted_with: str = ""
    previous: str = ""  # the values it replaced, with their date and commits
    run_ids: Annotated[tuple[str, ...], Words]  # the runs behind the values
    commits: Annotated[tuple[str, ...], Words]
    created: str
    commands: Annotated[list[str], Json]
    predictions: Annotated[str | None, Empty]  # digest of an evaluation's files
    machine: Annotated[Fields | None, Json]  # see `machine`; null where the runs had several
    protocol: Annotated[Fields, Json]  # see `protocol`

    @model_validator(mode="after")
    def _consistent(self) -> Reference:
        if not len(set(self.seeds)) == len(self.seeds) == len(self.values):
            raise ValueError("column seeds: one twice, or not one a value")
        if self.protocol.keys() != {"score", "fair", "frame"}:
            raise ValueError("column protocol: must hold score, fair and frame")
        score, fair = self.protocol["score"], self.protocol["fair"]
        keys = digest(score), None if fair is None else digest(fair)
        if (self.task, self.score_key, self.fair_key) != (score.get("task"), *keys):
            raise ValueError("column protocol: task, score_key or fair_key are not those of it")
        return self

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What there is one row of; also the order of the file."""
        return self.task, self.method, canonical(self.protocol), self.metric


COLUMNS = ["class" if name == "kind" else name for name in Reference.model_fields]


def default_file() -> Path | None:
    """results/public/expected.csv of the checkout this package lies in; None outside of one."""
    folder = REPOSITORY / "results" / "public"
    return folder / "expected.csv" if folder.is_dir() else None


def protocol(record: Record) -> Fields:
    """What must be equal between a record and its reference: score and fair fields; under `frame`
    what floor and oracle depend on besides."""
    bound = record.kind == "run" and record.fair_key is None
    besides = bound_of(record, record.method) if bound else {}
    return {"score": record.fair.score, "fair": record.fair.fair, "frame": besides}


def bound_of(record: Record, method: str) -> Fields:
    """`bound_fields` of the floor or oracle of a record's match."""
    task, proof = record.config.get("task"), record.fair.proof
    limit = task.get("train_limit") if isinstance(task, dict) else None
    frozen = proof.get("frozen")
    crawled = proof.get("training_data") if "training" in proof else None
    return bound_fields(method, limit, frozen if isinstance(frozen, dict) else {}, crawled)


def bound_fields(
    method: str, train_limit: Any, frozen: Mapping[str, Any], crawled: Any = None
) -> Fields:
    """What a bound depends on beside its score_key: the floor on the training items, the oracle on
    the frozen codecs. crawled: digest of training data that are not the split's own, else None."""
    if method == "floor":
        return {"train_limit": train_limit} | ({} if crawled is None else {"training": crawled})
    return {"frozen": {name: facts["sha256"] for name, facts in frozen.items()}}


def machine(record: Record) -> Fields | None:
    """What decides whether bits repeat; None where the record does not say."""
    volatile = record.volatile
    if volatile.device is None or "name" not in volatile.host:
        return None
    names = ("device", "devices", "threads", "versions")
    return {"host": volatile.host["name"], **{name: getattr(volatile, name) for name in names}}


def measured(done: Sequence[Record], metric: str, fields: Fields) -> Reference:
    """A score of an arm as a row of references that nobody has accepted yet.

    A seed that ran twice counts once, by its mean. InputError where runs scored different items.
    """
    first, volatile = done[0], [record.volatile for record in done]
    scores = [record.scores[metric] for record in done]
    if len({(score.n, score.better) for score in scores}) > 1:
        raise InputError(f"{first.task} {first.method} {metric}: its runs score different items")
    values = Row(first.method, "arm", list(done)).values(metric) or {}
    squares = [score.stderr**2 for score in scores if score.stderr is not None]
    machines = {canonical(machine(record)) for record in done}
    digests = {str(record.fair.proof.get("predictions", "")) for record in done}
    tiny = all(map(_tiny_on_a_cpu, done))
    return Reference(
        task=first.task,
        method=first.method,
        metric=metric,
        kind="exact" if fields["fair"] is None else "seeded" if tiny else "statistical",
        better=scores[0].better,
        seeds=tuple(values),
        values=tuple(values.values()),
        stderr=statistics.fmean(squares) ** 0.5 if len(squares) == len(done) else None,
        n=scores[0].n,
        floor=default_floor(metric),
        score_key=first.score_key,
        fair_key=first.fair_key,
        run_ids=tuple(record.run_id for record in done),
        commits=tuple(sorted({one.commit or "unknown" for one in volatile})),
        created=max(one.created for one in volatile),
        commands=sorted({one.command or "unknown" for one in volatile}),
        predictions=";".join(sorted(digests)) or None,
        machine=machine(first) if len(machines) == 1 else None,
        protocol=fields,
    )


def _tiny_on_a_cpu(record: Record) -> bool:
    """Whether equal bits can be asked of this run: small, by no clock, on no GPU."""
    budget, reason = record.budget, record.volatile.host.get("utilisation_reason")
    if budget is None or budget.kind == "device_seconds" or budget.train_flops > TINY_FLOPS:
        return False
    return str(reason).endswith(ON_A_CPU)


def read(file: Path) -> list[Reference]:
    """All rows. InputError with file, line and column for what is malformed, twice or missing."""
    lines: dict[tuple[str, ...], int] = {}
    rows, line = [], 1
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            if next(reader, []) != COLUMNS:
                raise ValueError(f"the columns must be {','.join(COLUMNS)}")
            for cells in reader:
                line = reader.line_num
                named = dict(zip(Reference.model_fields, cells, strict=True))
                row = Reference.model_validate(named)
                before = lines.setdefault(row.identity, line)
                if before != line:
                    raise ValueError(f"column metric: the same row stands in line {before} already")
                rows.append(row)
    except OSError as error:
        raise InputError(f"{file}: no references can be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        cell = f"column {first['loc'][0]} {str(first['input'])[:80]!r}: " if first["loc"] else ""
        raise InputError(f"{file}, line {line}: {cell}{first['msg']}") from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{file}, line {line}: {error}") from error
    return rows


def text(rows: Iterable[Reference]) -> str:
    """The file: sorted, all digits of every number, the same rows in the same bytes."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda row: row.identity):
        writer.writerow([_cell(name, getattr(row, name)) for name in Reference.model_fields])
    return stream.getvalue()


def _cell(name: str, value: Any) -> str:
    if name in ("commands", "machine", "protocol"):
        return canonical(value)
    if isinstance(value, tuple):
        return ";".join(map(str, value))
    return "" if value is None else str(value)
