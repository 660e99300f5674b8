"""expected.csv: the values that regression checks compare with, and how much worse is too much.

exact        what no training moves: floor, oracle, scored predictions. Any change is a failure.
seeded       a tiny run on a CPU, seed by seed where machine, threads and versions are those of the
             reference, as bits repeat there. Elsewhere: statistical.
statistical  a real run. With n >= 3 stored seeds of standard deviation s, and m new ones, the mean
             may be worse by max(floor, t s sqrt(1/n + 1/m)), t the 0.999 quantile of Student's
             distribution with n - 1 degrees of freedom; with fewer by max(5 floor, 3.09 hypot(e1,
             e2)), e the standard errors over items; its rate of false alarms is not known.

The t rule fails an unchanged score once in 1,000 checks: 90 independent checks alarm in 9 % of
runs. Three seeds need a loss of 18 s (m = 3) to be noticed, five 4.5 s (m = 5): store five.
"""

from __future__ import annotations

import functools
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic import BeforeValidator as Before
from pydantic_core import from_json

from benchmarks.config.registry import BOUNDS
from benchmarks.records.keys import canonical, digest
from benchmarks.records.record import Record
from benchmarks.report.files import KEYS, csv_text
from crossflow.errors import InputError

Fields = dict[str, Any]
REPOSITORY = Path(__file__).resolve().parents[2]
ALARMS = 1e-3
TINY_FLOPS = 1e13  # of training: twice the budget of the quick preset
ON_A_CPU = "device type cpu"  # how `crossflow.clock` says so; the device's name does not
# Changes nobody would report, by the name without level and number of items; the first that fits
# counts: a number in the metric's unit, or a percentage of the value.
FLOORS = {
    r"bleu\d|meteor|rouge_l|spice|(scene|geneval|precision|recall|ssim)_\w+|delta\d\w*": "0.005",
    r"cider": "0.02",
    r"clip\w+": "0.002",
    r"psnr_\w+": "0.1",
    r"(fid|kid|is)(_\w+)?": "2%",
    r".*": "1%",
}
Words = Before(lambda cell: cell.split(";") if isinstance(cell, str) and cell else cell or ())
Json = Before(lambda cell: from_json(cell, allow_inf_nan=False) if isinstance(cell, str) else cell)
Empty = Before(lambda cell: None if cell == "" else cell)
Key = Before(lambda cell: cell[2:] if (cell or "")[:2] in KEYS.values() else cell)


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
    floor: str = Field(pattern=r"^\d+(\.\d+)?%?$")  # of the tolerance; one edited by hand stays
    score_key: Annotated[str, Key]
    fair_key: Annotated[str | None, Empty, Key]  # none for floor, oracle and evaluations
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


def default_floor(metric: str) -> str:
    """The smallest tolerance of a new reference."""
    name = re.split(r"[@/]", metric, maxsplit=1)[0]
    return next(floor for pattern, floor in FLOORS.items() if re.fullmatch(pattern, name))


def allowed(new: Reference, old: Reference) -> tuple[list[tuple[float, float, float]], str]:
    """(value, reference, tolerance) of all that the reference's class compares; the rule."""
    mean = statistics.fmean(old.values)
    alike = old.machine is not None and canonical(old.machine) == canonical(new.machine)
    values, stored = (dict(zip(row.seeds, row.values, strict=True)) for row in (new, old))
    shared = sorted(values.keys() & stored.keys())
    if old.kind == "exact" and old.predictions == new.predictions:
        tolerance = 1e-9 + 1e-9 * abs(mean) if alike else 1e-6 + 1e-5 * abs(mean)
        rule = f"exact, {'same' if alike else 'another'} machine"
        return [(value, mean, tolerance) for value in new.values], rule
    if old.kind == "seeded" and alike and shared:
        pairs = [(values[s], stored[s], 1e-9 + 1e-6 * abs(stored[s])) for s in shared]
        return pairs, "seeded, same machine and seed"
    tolerance, rule = statistical(old.values, len(values), (old.stderr, new.stderr), old.floor)
    why = {"exact": "other predictions", "seeded": "another machine or seed"}.get(old.kind)
    rule = f"{old.kind}, but {why}: {rule}" if why else rule
    return [(statistics.fmean(new.values), mean, tolerance)], rule


def statistical(
    stored: Sequence[float], seeds: int, errors: Sequence[float | None], floor: str
) -> tuple[float, str]:
    """(tolerance, rule) of a mean over new seeds. errors: standard errors over items of both."""
    n, percent = len(stored), floor.endswith("%")
    smallest = abs(statistics.fmean(stored)) * float(floor[:-1]) / 100 if percent else float(floor)
    if n >= 3:
        scatter, rule = spread_factor(n, seeds) * statistics.stdev(stored), "spread of seeds"
    else:
        smallest, floor, rule = 5 * smallest, f"5 times {floor}", "standard error over items"
        sure = 0.0 if None in errors else statistics.NormalDist().inv_cdf(1 - ALARMS)
        scatter = sure * math.hypot(*(error or 0.0 for error in errors))
    rule = rule if scatter >= smallest else f"floor {floor}"
    return max(scatter, smallest), f"statistical, seeds stored: {n}, {rule}"


@functools.cache
def spread_factor(stored: int, new: int) -> float:
    """Prediction limit of a mean, in deviations: Hahn and Meeker, Statistical Intervals, 4.8."""
    from scipy import stats

    return float(stats.t.ppf(1 - ALARMS, stored - 1) * (1 / stored + 1 / new) ** 0.5)


def default_file() -> Path:
    """expected.csv of the checkout this package lies in. InputError outside of one."""
    folder = REPOSITORY / "results" / "public"
    if not folder.is_dir():
        raise InputError("no references: no checkout with results/public; `report check --against`")
    return folder / "expected.csv"


def protocol(record: Record, method: str | None = None) -> Fields:
    """What a record, or row `method` of its match, and its reference must have in common; under
    `frame` what floor and oracle depend on besides."""
    config: Any = record.config
    proof: Any = record.fair.proof
    method = method or record.method
    if record.kind == "evaluation" or method not in BOUNDS:
        return {"score": record.fair.score, "fair": record.fair.fair, "frame": {}}
    crawled = proof.get("training_data") if "training" in proof else None
    limit = (config.get("task") or {}).get("train_limit")
    bound = bound_fields(method, limit, proof.get("frozen") or {}, crawled)
    return {"score": record.fair.score, "fair": None, "frame": bound}


def bound_fields(
    method: str, train_limit: Any, frozen: Mapping[str, Any], crawled: Any = None
) -> Fields:
    """See `protocol`. crawled: digest of training data that are not the split's own, else None."""
    if method == "floor":
        return {"train_limit": train_limit} | ({} if crawled is None else {"training": crawled})
    return {"frozen": {name: facts["sha256"] for name, facts in frozen.items()}}


def machine(record: Record) -> Fields | None:
    """What decides whether bits repeat; None where the record does not say."""
    volatile, names = record.volatile, ("device", "devices", "threads", "versions")
    if volatile.device is None or "name" not in volatile.host:
        return None
    return {"host": volatile.host["name"], **{name: getattr(volatile, name) for name in names}}


def measured(done: Sequence[Record], metric: str, fields: Fields) -> Reference:
    """A score as a row that nobody has accepted yet. InputError where its runs differ in items."""
    first, volatile = done[0], [record.volatile for record in done]
    scores = [record.scores[metric] for record in done]
    if len({(score.n, score.better) for score in scores}) > 1:
        raise InputError(f"{first.task} {first.method} {metric}: its runs score different items")
    seeds = sorted({record.seed for record in done})
    by_seed = [[run.scores[metric].value for run in done if run.seed == seed] for seed in seeds]
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
        seeds=tuple(seeds),
        values=tuple(map(statistics.fmean, by_seed)),
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
    budget, host = record.budget, record.volatile.host
    tiny = budget and budget.kind != "device_seconds" and budget.train_flops <= TINY_FLOPS
    return bool(tiny) and str(host.get("utilisation_reason")).endswith(ON_A_CPU)


def read(file: Path) -> list[Reference]:
    """All rows. InputError with file, line and column for what is malformed, twice or missing."""
    import pandas as pd

    lines: dict[tuple[str, ...], int] = {}
    rows, line = [], 1
    try:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)
        if list(frame) != COLUMNS:
            raise ValueError(f"the columns must be {','.join(COLUMNS)}")
        for line, cells in enumerate(frame.itertuples(index=False), 2):
            row = Reference.model_validate(dict(zip(Reference.model_fields, cells, strict=True)))
            if lines.setdefault(row.identity, line) != line:
                raise ValueError(f"column metric: the same row as line {lines[row.identity]}")
            rows.append(row)
    except OSError as error:
        raise InputError(f"{file}: no references can be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        cell = f"column {first['loc'][0]} {str(first['input'])[:80]!r}: " if first["loc"] else ""
        raise InputError(f"{file}, line {line}: {cell}{first['msg']}") from error
    except ValueError as error:  # pandas' own among them
        raise InputError(f"{file}, line {line}: {error}") from error
    return rows


def text(rows: Iterable[Reference]) -> str:
    """The file: sorted, all digits of every number, the same rows in the same bytes."""
    lines = []
    for row in sorted(rows, key=lambda row: row.identity):
        cells = {name: ";".join(map(str, v)) if isinstance(v, tuple) else v for name, v in row}
        json = {name: canonical(cells[name]) for name in ("commands", "machine", "protocol")}
        lines.append(cells | json | {"class": row.kind})
    return csv_text(COLUMNS, lines)
