"""Numbers that papers print: `published.csv`, copied by hand, none of them re-run here.

`metric` is the paper's name, never one of the harness's, which promise a protocol; `value` is in
the scale of the harness, `printed` has the paper's digits; remarks of a `note` stand between "; ".
They are shown apart from ours, never ranked. tests/report/test_published.py checks the columns.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report import tables

if TYPE_CHECKING:
    import pandas as pd

FILE = Path(__file__).with_name("published.csv")
SETTINGS = {
    "zero-shot": "not trained on the data set it is scored on",
    "zero-shot, aligned": "not trained on the data set it is scored on; relative depth, aligned "
    "with the truth before scoring",
    "trained": "trained on the training split of the data set it is scored on",
    "ablation": "variants of one model, to be compared with each other only",
    "analysis": "a property of a trained model, not a score of the task",
    "not stated": "whether it was trained on the data set it is scored on is not stated",
}
LOWER = ("FID-30K", "FID-10K", "FID", "FID-50K train", "FID-50K valid", "AbsRel")
STATUS = "published, not re-run"
PREFACE = (
    "Copied from papers, not re-run. Metric names are the papers': their protocols differ from "
    "those of this harness or are not known, so nothing here is ranked against our rows. Values "
    "are in the scale of this harness. No bold was copied: in the CrossFlow paper it marks the "
    "paper's own rows, not the best ones."
)


def rows(task: str | None = None) -> pd.DataFrame:
    """Published numbers of a task (all where None), texts in the order of the file; often none."""
    import pandas as pd

    every = pd.read_csv(FILE, dtype=str, keep_default_na=False)
    return every if task is None else every[every["task"] == task]


def markdown(rows: pd.DataFrame) -> str:
    """The tables of these rows as GitHub Markdown below one heading; "" where there are none."""
    text = tables.markdown(build(rows))
    return f"## Published numbers\n\n{PREFACE}\n\n{text}" if len(rows) else ""


def build(rows: pd.DataFrame) -> list[tables.Table]:
    """One table per task, setting and source, in the order of the rows: never two papers in one."""
    return [
        _table(block)
        for _, of_task in rows.groupby("task", sort=False)
        for _, of_setting in of_task.groupby("setting", sort=False)
        for _, block in of_setting.groupby("source", sort=False)
    ]


def _table(block: pd.DataFrame) -> tables.Table:
    """All rows of one block: a line per method, a column per metric."""
    first, metrics = block.iloc[0], block["metric"].unique()
    paper, _, number = first["source"].split(", ")
    methods = block.drop_duplicates("method").set_index("method")
    cells = block.pivot(index="method", columns="metric", values="value")
    cells = cells.reindex(index=methods.index, columns=metrics)
    cells.columns = [
        f"{name} {tables.ARROWS['lower' if name in LOWER else 'higher']}" for name in metrics
    ]
    notes = [f"{STATUS}; {first['source']}", f"{first['setting']}: {SETTINGS[first['setting']]}"]
    if block["params"].any():
        cells["parameters"] = methods["params"]
    if block["train_data"].nunique() > 1:
        cells["training data"] = methods["train_data"]
    else:
        notes.append(f"training data: {first['train_data']}")
    notes += [f"scored on: {text}" for text in _shared(block, block["reference_set"], "metric")]
    percent = block[block["value"] != block["printed"]]["metric"].unique()
    if len(percent):
        notes.append(f"printed 100 times as large in the source: {', '.join(percent)}")
    return tables.Table(
        f"{first['task']}, {first['setting']}: {paper}, {number}",
        notes,
        ["method", *cells.columns],
        [list(line) for line in cells.fillna("").replace("", tables.ABSENT).itertuples()],
        _shared(block, block["note"].str.split("; "), "method"),
        metrics=list(metrics),
    )


def _shared(block: pd.DataFrame, texts: pd.Series[Any], owner: str) -> list[str]:
    """Each text once, after the owners (methods or metrics) of its rows, unless these are the whole
    block; where it stands beside some of the owners' rows only, they are named too."""
    other = {"method": "metric", "metric": "method"}[owner]
    beside = block.assign(text=texts).explode("text")
    lines = []
    for text, members in beside[beside["text"] != ""].groupby("text", sort=False):
        names = ", ".join(members[owner].unique())
        if len(members) != block[owner].isin(members[owner]).sum():
            names += f" ({', '.join(members[other].unique())})"
        lines.append(text if len(members) == len(block) else f"{names}: {text}")
    return lines
