"""Predictions of others: ranked within one score_key, compared item by item where that is right."""

import csv
import io

import numpy as np
import pytest

from benchmarks.records.record import write_items
from benchmarks.report import command, page
from benchmarks.report.evaluations import SAYS, bootstrap

ITEMS = np.random.default_rng(1).uniform(0.2, 0.4, 256)


@pytest.fixture
def outside(record, tmp_path):
    """outside(name, per-item values, ...) -> a record of predictions, its items below tmp_path."""

    def make(name, items, value=None, **scores):
        value = float(np.mean(items)) if value is None else value
        one = record(name, value={"absrel_object": value, **scores}, kind="evaluation", match=None)
        path = tmp_path / "items" / one.task / f"{one.run_id}.csv"
        write_items(path, {"id": [f"{n:03}" for n in range(len(items))], "absrel_object": items})
        return one

    return make


def rows_of(records, out):
    text = command.leaderboard_files(records, out)["evaluations.csv"]
    return list(csv.DictReader(io.StringIO(text)))


def test_a_board_per_score_key_ranks_every_score(record, outside, tmp_path):
    several = [outside("b", ITEMS + 0.01, delta1=0.9), outside("a", ITEMS, delta1=0.8)]
    other = record("c", kind="evaluation", score={"split": "pairs"})
    found = rows_of([*several, other, record(), record("floor")], tmp_path)
    told = [(row["split"], row["metric"], row["rank"], row["name"], row["n"]) for row in found]
    assert sorted(told) == [
        ("iid", "absrel_object", "1", "a", "256"),
        ("iid", "absrel_object", "2", "b", "256"),
        ("iid", "delta1", "1", "b", "256"),
        ("iid", "delta1", "2", "a", "256"),
        ("pairs", "absrel_object", "1", "c", "256"),
    ]
    assert {row["score_key"] for row in found} == {f"s-{r.score_key}" for r in (*several, other)}
    assert all(row["note"].startswith(SAYS) for row in found)
    assert "says nothing about training" in SAYS
    assert rows_of([record()], tmp_path) == []


def test_the_interval_is_that_of_paired_items(outside, tmp_path):
    """A shift of all items is certain, however much the items differ among themselves."""
    noise = np.random.default_rng(2).normal(0, 0.05, 256)
    several = [outside("best", ITEMS), outside("shifted", ITEMS + 0.02)]
    several.append(outside("noisy", ITEMS + 0.03 + noise))
    rows = {row["name"]: row for row in rows_of(several, tmp_path)}
    assert rows["best"]["best"] == rows["best"]["difference"] == ""
    shifted = rows["shifted"]
    for name in ("difference", "diff_low", "diff_high"):
        assert float(shifted[name]) == pytest.approx(-0.02, abs=1e-9)
    assert (shifted["best"], shifted["common_items"]) == ("best", "256")
    low, high = (float(rows["noisy"][name]) for name in ("diff_low", "diff_high"))
    error = noise.std(ddof=1) / 16
    mean = -0.03 - noise.mean()
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.2 * error)


def test_the_bootstrap_repeats_and_a_score_that_is_better_higher_turns_the_sign(
    record, outside, tmp_path
):
    assert bootstrap(ITEMS) == bootstrap(ITEMS.copy())
    lines = []
    for name, value in (("a", 0.9), ("b", 0.7)):
        one = record(name, value={"delta1": value}, kind="evaluation", score={"primary": "delta1"})
        path = tmp_path / "items" / one.task / f"{one.run_id}.csv"
        write_items(path, {"id": [str(n) for n in range(256)], "delta1": [value] * 256})
        lines.append(one)
    best, other = rows_of(lines, tmp_path)
    assert (best["name"], float(other["difference"])) == ("a", pytest.approx(-0.2))


def test_an_item_that_one_of_them_lacks_counts_for_neither(record, outside, tmp_path):
    some = [None, *ITEMS[1:]]
    value = float(np.mean(ITEMS[1:]))
    lacking = outside("lacking", some, value)
    score = lacking.scores["absrel_object"].__class__(value, 0.01, 255, "lower")
    lacking = lacking.model_copy(update={"scores": {"absrel_object": score}})
    rows = rows_of([lacking, outside("whole", ITEMS + 0.5)], tmp_path)
    assert (rows[1]["common_items"], float(rows[1]["difference"])) == ("255", pytest.approx(-0.5))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.unlink(), ".csv is missing"),
        (lambda path: path.write_text("id,other\n1,2\n"), "absrel_object has no value per item"),
        (
            lambda path: path.write_text(path.read_text().replace("\n001,0", "\n001,1")),
            "is not the mean of its items",
        ),
    ],
)
def test_without_items_there_is_no_interval_and_the_row_says_why(outside, tmp_path, change, why):
    best, other = outside("best", ITEMS), outside("other", ITEMS + 0.01)
    change(tmp_path / "items" / other.task / f"{other.run_id}.csv")
    row = rows_of([best, other], tmp_path)[1]
    assert (row["rank"], row["difference"], row["diff_low"]) == ("2", "", "")
    assert why in row["note"]


@pytest.mark.parametrize("text", ["", "id,absrel_object\n1,x\n", "id,absrel_object\n1,1\n1,1\n"])
def test_a_damaged_file_of_items_is_one_line(outside, written, tmp_path, capsys, text):
    several = [outside("best", ITEMS), outside("other", ITEMS + 0.01)]
    out = written(several)
    (tmp_path / "items").rename(out / "items")
    path = out / "items" / several[1].task / f"{several[1].run_id}.csv"
    path.write_text(text)
    assert command.main(["leaderboard", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert f"{path}: not a table of items" in error and len(error.splitlines()) == 1
    assert not (out / "evaluations.csv").exists()


def test_tables_and_page_show_the_board(record, outside, tmp_path):
    several = [outside("best", ITEMS), outside("other", ITEMS + 0.01), record()]
    without = record("without", value={"delta1": 0.5}, kind="evaluation")
    text = command.table_files([*several, without], tmp_path)["tables/depth_tabletop.md"]
    board = text.partition("predictions of models outside")[2]
    assert SAYS in board
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in board.splitlines()]
    shown = {row[0]: row[1:] for row in cells if row}
    assert shown["other"][0] == "2" and shown["other"][-2:] == ["-0.01", "-0.01 to -0.01"]
    assert shown["without"] == ["–", "–", "0.5", "–", "–"]
    assert "without: absrel_object is unavailable" in board
    html = page.files(several, tmp_path)["index.html"]
    assert SAYS in html and "-0.01 to -0.01" in html
