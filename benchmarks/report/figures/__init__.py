"""`report figures`: every figure that the records under `out` have something to show for.

Charts are written as PDF and SVG, pictures as PDF and PNG, the answer as all three. Equal records
give equal bytes.
"""

from __future__ import annotations

import io
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.records import samples
from benchmarks.records.keys import exact
from benchmarks.records.record import Record
from benchmarks.report.answer import budget_of, current, family_of, model_of, questions
from benchmarks.report.figures import charts, pictures
from benchmarks.report.files import Files
from benchmarks.report.rows import Board, Row, boards
from crossflow.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    # Names of files without an ending, the (first) boards that the figures are of, the figures.
    Drawn = Iterator[tuple[str, Board, Figure]]

STYLE: dict[str, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "lines.markersize": 4.5,
    "lines.markeredgewidth": 0,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # TrueType, embedded: journals refuse Type 3
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "crossflow-bench",  # equal figures have equal ids
    "text.parse_math": False,  # a method or caption with a dollar sign is no formula
}
# Of curves: ending of a run's file, first columns, that without which a row says nothing. A sweep
# is `guidance` (full steps, weight varied) or `steps` (chosen weight, steps varied); value is the
# primary score of n validation items, stderr its standard error over items, nfe counts calls of
# both branches. loss is the weighted sum of the terms, which are further columns.
CURVES = {
    "sampling": (".csv", "sweep guidance steps nfe metric value stderr n".split(), "value"),
    "losses": ("-losses.csv", "steps samples loss".split(), "loss"),
}
UNTOLD = {"pdf": ["CreationDate"], "svg": ["Creator", "Date", "Format", "Type"]}


def styled() -> AbstractContextManager[None]:
    """Our settings on matplotlib's own defaults: a user's matplotlibrc changes nothing."""
    from matplotlib import style

    return style.context(STYLE, after_reset=True)


def files(records: Sequence[Record], out: Path) -> Files:
    """figures/<name>.<ending>. Of two figures of one name the later has its fair_key in it too."""
    written: Files = {}
    with styled():
        for draw, ending in ((chart_figures, "svg"), (picture_figures, "png")):
            for name, board, figure in draw(records, out):
                if f"figures/{name}.pdf" in written:
                    name += f"-{board.fair_key}"
                for kind in ("pdf", "png", "svg") if name == "answer" else ("pdf", ending):
                    written[f"figures/{name}.{kind}"] = image(figure, kind)
    return written


def image(figure: Figure, ending: str) -> bytes:
    """The figure as pdf, png or svg, without dates. The SVG shows what lies below it, and has two
    decimals, which are enough for a point."""
    file, svg = io.BytesIO(), ending == "svg"
    metadata = dict.fromkeys(UNTOLD.get(ending, ()))
    figure.savefig(file, format=ending, metadata=metadata, transparent=svg)
    digits = re.compile(rb"(\.\d\d)\d+")
    short = re.sub(rb"<[^>]+>", lambda tag: digits.sub(rb"\1", tag[0]), file.getvalue())
    return short if svg else file.getvalue()


def chart_figures(records: Sequence[Record], out: Path) -> Drawn:
    """The answer, the charts of several models, those of each board. Draw within `styled()`."""
    asked = questions(records)
    if asked:
        yield "answer", asked[0].standings[0].board, charts.overview(asked)
    trained, sizes = current(boards(records)), defaultdict(list)
    for board in trained:
        sizes[family_of(board, but="model")].append(board)
    for family in sizes.values():
        if len(family) > 1:
            yield _name(family[0], "size"), family[0], charts.size(family)
    for board in trained:
        for kind, draw in (("sampling", charts.sampling), ("losses", charts.losses)):
            if frames := arm_curves(board, out, kind):
                yield _name(board, kind), board, draw(board, frames)


def picture_figures(records: Sequence[Record], out: Path) -> Drawn:
    """Grids, strips and sums of the arms. A file of samples that is missing is named on stderr."""
    for board in current(boards(records)):
        kept = {name: row for name, row in kept_samples(board, board.arms, out).items() if row.ids}
        if len(kept) < 3 or not kept.keys() >= set(samples.ENDS):
            continue
        title = f"{board.first.task}, {budget_of(board)}"
        yield _name(board, "samples"), board, pictures.grid(title, kept, board.quick)
        for kind in pictures.BLENDS:
            for arm in board.arms:
                path = samples.path_of(out, board.first.task, f"{_lowest_seed(arm)}-{kind}")
                if path is not None:
                    row, of_arm = samples.read(path), f"{title}, {arm.name}"
                    figure = pictures.blends(of_arm, kind, row, kept["source"], board.quick)
                    yield _name(board, f"{kind}-{arm.name}"), board, figure


def arm_curves(board: Board, out: Path, kind: str) -> list[tuple[Row, pd.DataFrame]]:
    """A kind of CURVES of each arm that has some, with a column run_id.

    InputError names a file that is no such table.
    """
    import pandas as pd

    ending, columns, needed = CURVES[kind]
    dtype = defaultdict(lambda: "float", sweep="str", metric="str")
    found = []
    for arm in board.arms:
        frames = []
        for run in arm.records:
            path = out / "curves" / run.task / f"{run.run_id}{ending}"
            if path.is_file():
                try:
                    text = path.read_text("utf-8")
                    if not text.endswith("\n"):
                        raise ValueError("the last line is cut off")
                    table = pd.read_csv(io.StringIO(text), dtype=dtype)
                except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
                    raise InputError(f"{path}: not a table of curves ({error})") from error
                if list(table.columns[: len(columns)]) != columns:
                    raise InputError(f"{path}: the columns do not start with {','.join(columns)}")
                frames.append(table.assign(run_id=run.run_id).dropna(subset=[needed]))
        if any(map(len, frames)):
            found.append((arm, pd.concat(frames, ignore_index=True)))
    return found


def kept_samples(board: Board, rows: Sequence[Row], out: Path) -> dict[str, samples.Samples]:
    """Samples by name: of source, truth and the run of each row with the lowest seed.

    Those that have no file are empty, and named on stderr.
    """
    files = {end: f"{end}-{board.first.score_key}" for end in samples.ENDS}
    files |= {row.name: _lowest_seed(row) for row in rows}
    paths = {name: samples.path_of(out, board.first.task, file) for name, file in files.items()}
    missing = [files[name] for name, path in paths.items() if path is None]
    if missing:
        print(f"{board.first.task}: no samples of {', '.join(missing)}", file=sys.stderr)
    empty = samples.Samples("text", [], [])
    return {name: samples.read(path) if path else empty for name, path in paths.items()}


def _lowest_seed(row: Row) -> str:
    return min(row.completed, key=lambda run: run.seed).run_id


def _name(board: Board, kind: str) -> str:
    budget = board.first.budget
    limit = f"{exact(budget.limit).replace('+', '')}-{budget.kind}" if budget else "none"
    quick = ["quick"] if board.quick else []
    return "-".join([board.first.task, model_of(board), limit, *quick, kind]).replace("#", "-")
