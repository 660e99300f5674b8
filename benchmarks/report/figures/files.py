"""`report figures`: every figure that the records under `out` have something to show for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.records import samples
from benchmarks.records.keys import exact
from benchmarks.records.record import Record
from benchmarks.report.figures import blends, charts, grids, points, style
from benchmarks.report.rows import arms as arms_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Draw = Callable[[], "Figure"]


def files(records: Sequence[Record], out: Path) -> dict[str, str | bytes]:
    """figures/<name>.pdf and .png; what is not drawn is named on stderr, with the reason.

    Names are <task>-<figure>, with what tells them apart where a task has several of one figure.
    """
    found: dict[str, str | bytes] = {}
    for name, draw in _planned(records, out):
        try:
            pdf, png = style.files(draw)
        except style.NothingToShowError as reason:
            print(f"not drawn: {name}: {reason}", file=sys.stderr)
        else:
            found |= {f"figures/{name}.pdf": pdf, f"figures/{name}.png": png}
    return found


def _planned(records: Sequence[Record], out: Path) -> Iterator[tuple[str, Draw]]:
    """Names and makers of all figures that might be drawn, in the order of their names' kinds."""
    arms = points.arms(records)
    for spent in points.SPENT:
        for name, part in _groups(arms, f"budget_{spent}", "budget_family", ("model", "kind")):
            yield name, partial(charts.budget, part, spent)
    for name, part in _groups(arms, "size", "size_family", ("limit", "kind")):
        yield name, partial(charts.size, part)
    for name, part in _groups(arms, "ablation", "fair_key"):
        yield name, partial(charts.ablation, part)
    curves = points.curves(records, out)
    for name, part in _groups(curves, "evaluations", "fair_key"):
        yield name, partial(charts.evaluations, part)
    for name, part in _groups(curves, "guidance", "fair_key"):
        yield name, partial(charts.guidance, part)
    for name, part in _groups(points.losses(records, out), "losses", "fair_key"):
        for arm, own in part.groupby("arm", sort=True):
            yield f"{name}-{str(arm).replace('#', '-')}", partial(charts.losses, own)
    for name, part in _groups(arms, "samples", "fair_key"):
        yield name, partial(_grid, records, out, part)
    for kind in samples.BLENDS:
        for name, part in _groups(arms, kind, "fair_key"):
            yield from _blends(kind, name, records, out, part)


def _groups(
    frame: pd.DataFrame, kind: str, family: str, fields: Sequence[str] = ("model", "limit", "kind")
) -> Iterator[tuple[str, pd.DataFrame]]:
    """(name, rows of one family with the task's floor and oracle) for each family of arms.

    fields: what tells the families of a task apart in words; where they do not, their key does.
    """
    import pandas as pd

    versions = frame.groupby("task")["score_key"].nunique()
    for (task, score_key), own in frame.groupby(["task", "score_key"], sort=True):
        base = str(task) if versions[task] == 1 else f"{task}-{score_key}"
        across = own[own["fair_key"].isna()]
        parts = dict(list(own[own["fair_key"].notna()].groupby(family, sort=True)))
        words = {key: _words(part.iloc[0], fields) for key, part in parts.items()}
        for key, part in parts.items():
            unique = list(words.values()).count(words[key]) == 1
            ending = "" if len(parts) == 1 else f"-{words[key] if unique else key}"
            own_frames = _beside(across, part)
            yield (
                f"{base}-{kind}{ending}",
                pd.concat([part, own_frames]) if len(own_frames) else part,
            )


def _beside(across: pd.DataFrame, part: pd.DataFrame) -> pd.DataFrame:
    """Floor and oracle of these arms, each value once."""
    if not len(across):
        return across
    found = across[across["beside"].isin(set(part["fair_key"]))]
    return found.drop_duplicates(["arm", "mean"])


def _words(row: Any, fields: Sequence[str]) -> str:
    limit = exact(row["budget_limit"]).replace("+", "")
    words = {"model": row["model"], "limit": limit, "kind": row["budget_kind"]}
    return "-".join(str(words[field]) for field in fields)


def _members(records: Sequence[Record], part: pd.DataFrame) -> list[Record]:
    fair_key = part["fair_key"].dropna().iloc[0]
    return [record for record in records if record.fair_key == fair_key]


def _lowest_seeds(members: Sequence[Record]) -> list[tuple[str, str, Record]]:
    """Name, label and the completed run with the lowest seed, of each arm that has one."""
    arms = arms_of(members)
    labels = points.variant_labels({arm.name: arm.records for arm in arms})
    done = {arm.name: [r for r in arm.records if r.status == "completed"] for arm in arms}
    return [
        (name, labels[name], min(runs, key=lambda record: (record.seed, record.run_id)))
        for name, runs in done.items()
        if runs
    ]


def _title(record: Record, part: pd.DataFrame) -> str:
    row = part[part["fair_key"].notna()].iloc[0]
    return f"{record.task}, model {row['model']}, {charts.limit(row)}"


def _grid(records: Sequence[Record], out: Path, part: pd.DataFrame) -> Figure:
    """The grid of one fair_key: of each arm the run with the lowest seed."""
    members = _members(records, part)
    first = members[0]
    files = {end: f"{end}-{first.score_key}" for end in samples.FRAMES}
    files |= {label: record.run_id for _, label, record in _lowest_seeds(members)}
    paths = {name: samples.path_of(out, first.task, row) for name, row in files.items()}
    kept = {name: samples.read(path) for name, path in paths.items() if path is not None}
    missing = [files[name] for name, path in paths.items() if path is None]
    if (missing and (set(files) - set(kept)) & set(samples.FRAMES)) or len(kept) < 3:
        raise style.NothingToShowError(f"no samples of {', '.join(missing)}")
    if missing:
        print(f"{first.task}: drawn without samples of {', '.join(missing)}", file=sys.stderr)
    return grids.grid(_title(first, part), kept, any(record.quick for record in members))


def _blends(
    kind: str, name: str, records: Sequence[Record], out: Path, part: pd.DataFrame
) -> Iterator[tuple[str, Draw]]:
    """Strips or sums of every arm of one fair_key that has some: one whose x0 is its source."""
    for arm, label, record in _lowest_seeds(_members(records, part)):
        path = samples.path_of(out, record.task, f"{record.run_id}-{kind}")
        if path is None:
            continue
        source = samples.path_of(out, record.task, f"source-{record.score_key}")
        title = f"{_title(record, part)}, {label}"
        where = f"{name}-{arm.replace('#', '-')}"
        if kind == "interpolation":
            yield where, partial(_strips, title, path, source, record.quick)
        else:
            yield where, partial(_sums, title, path, record.quick)


def _strips(title: str, path: Path, source: Path | None, quick: bool) -> Figure:
    if source is None:
        raise style.NothingToShowError("no samples of the captions")
    return blends.strips(title, samples.read(path), samples.read(source), quick)


def _sums(title: str, path: Path, quick: bool) -> Figure:
    return blends.sums(title, samples.read(path), quick)
