"""Rows: one per run and metric; what makes an arm, a bound, an evaluation; what stands together."""

import csv
import io
import statistics
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.report import command, page, rows


def names(records):
    return [row.name for board in rows.boards(records) for row in board.rows]


def runs(records):
    text = command.leaderboard_files(records, None)["runs.csv"]
    return list(csv.DictReader(io.StringIO(text)))


def test_whole_numbers_and_all_digits_survive_the_csv(record):
    values = [0.1 + 0.2, 1 / 3, 1e-7, 123456789.0, 1e22]
    found = runs([record(seed=seed, value=value) for seed, value in enumerate(values)])
    assert [row["value"] for row in found] == [repr(value) for value in values]
    assert (found[0]["n"], found[0]["params"], found[0]["budget_limit"]) == (
        *("256", "2500000"),
        "20000000000000.0",
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"training": {"checkpoint_seconds": 5.0}},
        {"training": {"recompute": True, "accumulate": 2}},
        {"sampling": {"curve": [1, 2]}},
        {"task": {"root": "/data"}},
        {"task": {"prompts": "a.jsonl"}},
        {"weights": {"clip": "a.bin"}},
        {"method_file": "elsewhere.py"},
    ],
)
def test_settings_without_effect_and_places_make_no_arm(record, changed):
    """Seeds of one arm may be run on machines that keep their data elsewhere."""
    usual = record().config
    config = {k: usual[k] | v if isinstance(v, dict) else v for k, v in changed.items()}
    ((row,),) = [board.rows for board in rows.boards([record(), record(seed=1, config=config)])]
    assert (row.name, row.seeds) == ("crossflow", [0, 1])


def test_a_bound_is_one_row_where_the_scores_that_both_have_agree(record):
    """Floors of before and after a metric came are one; another value is another floor."""
    full = record("floor", 0, {"absrel_object": 0.9, "delta1": 0.4})
    older, last_digit = record("floor", 1, 0.9), record("floor", 2, 0.900001)
    assert names([full, older, last_digit]) == ["floor"]
    shared, other = (
        record("floor", 3, 0.91),
        record("floor", 4, {"absrel_object": 0.9, "delta1": 0.5}),
    )
    for differing in (shared, other):
        found = names([full, older, differing])
        assert len(found) == 2 and all(name.startswith("floor#") for name in found)
    assert len(names([full, record("floor", 5, status="failed")])) == 2


def test_options_of_other_arms_of_a_match_make_no_arm(record):
    """A baseline beside an ablation is the baseline that ran without it."""
    options = {"crossflow": {"kl_weight": 1.0}}
    several = [record("flow_matching"), record("crossflow")]
    several += [record(name, 1, config={"arm": options}) for name in ("flow_matching", "crossflow")]
    found = names(several)
    assert found[0] == "flow_matching"
    assert len(found) == 3 and all(name.startswith("crossflow#") for name in found[1:])


def test_settings_with_effect_make_another_arm(record):
    """validation_limit chooses the guidance, and an edited method is another method."""
    task = record().config["task"] | {"validation_limit": 7}
    for config in ({"task": task}, {"method_file_sha256": "1" * 64}, {"training": {"lr": 0.1}}):
        assert len(names([record(seed=0), record(seed=1, config=config)])) == 2


def test_variants_whose_first_digits_clash_are_still_two_arms(record, monkeypatch):
    digests = {0.1: "abcd1" + "0" * 59, 0.2: "abcd2" + "0" * 59}
    monkeypatch.setattr(rows, "digest", lambda own, _: digests[own["training"]["lr"]])
    both = [record(value=lr, config={"training": {"lr": lr}}) for lr in (0.1, 0.2)]
    assert names(both) == ["crossflow#abcd1", "crossflow#abcd2"]


def test_runs_have_a_row_per_score_and_levels_apart(record):
    found = runs([record(value={"scene_score": 0.5, "scene_score/L2": 0.25})])
    assert [(row["metric"], row["level"], row["value"]) for row in found] == [
        ("scene_score", "", "0.5"),
        ("scene_score", "L2", "0.25"),
    ]
    assert found[0]["nfe"] == "16"
    assert found[0]["task_version"] == "1"
    (row,) = runs([record(status="failed")])
    assert (row["status"], row["metric"], row["value"]) == ("failed", "", "")


def read(content):
    """As pandas reads a CSV by itself."""
    return pd.read_csv(io.StringIO(content), keep_default_na=False, na_values=[""])


def test_keys_are_never_read_as_numbers(record):
    """Twelve hex digits may be 503112345678, or 5031e1234567, which is infinite."""
    keys = {"score_key": "503112345678", "fair_key": "5031e1234567"}
    one, outside = record(), record("mine", kind="evaluation", match=None)
    several = [one.model_copy(update=keys), outside.model_copy(update={"score_key": "0" * 12})]
    files = command.leaderboard_files(several, Path()) | command.table_files(several, Path())
    csvs = {name: read(text) for name, text in files.items() if name.endswith(".csv")}
    assert len(csvs) == 4
    assert set(csvs["runs.csv"]["score_key"]) == {"s-503112345678", "s-000000000000"}
    for name, table in csvs.items():
        assert all(key.startswith("s-") for key in table["score_key"]), name
    for name in ("runs.csv", "leaderboard.csv", "tables/depth_tabletop.csv"):
        found = csvs[name]["fair_key"].dropna()
        assert set(found) == {"f-5031e1234567"}, name


def test_tables_as_csv_hold_a_number_a_cell(record):
    values = [0.1, 1 / 3, 0.2]
    several = [record(seed=seed, value=value) for seed, value in enumerate(values)]
    several += [record("floor", value=0.9), record("mine", kind="evaluation")]
    several += [record("regression", status="failed", model=None, unavailable={"rmse": "why"})]
    text = command.table_files(several, Path())["tables/depth_tabletop.csv"]
    assert text.isascii()
    table = read(text).set_index("method")
    arm = table.loc["crossflow"]
    expected = {"mean": sum(values) / 3, "sd": statistics.stdev(values), "n": 3, "items": 256}
    expected |= {"nfe": 16, "params": 2.5e6, "train_flops": 2e13, "guidance": 2.0}
    assert {name: arm[name] for name in expected} == pytest.approx(expected)
    assert (arm["metric"], arm["better"], arm["kind"]) == ("absrel_object", "lower", "arm")
    for name in ("mean", "sd", "n", "items", "nfe", "samples", "seconds", "lr", "task_version"):
        assert pd.api.types.is_numeric_dtype(table[name]), name
    assert table.loc["regression", ["mean", "items", "nfe"]].isna().tolist() == [False, True, True]
    assert table["failed"].to_dict() == {"floor": 0, "regression": 1, "crossflow": 0, "mine": 0}
    assert table.loc[["floor", "mine"], ["sd", "nfe", "lr", "seconds"]].isna().all(axis=None)
    assert table["kind"].to_dict() | {"crossflow": ""} == {
        "floor": "bound",
        "regression": "arm",
        "crossflow": "",
        "mine": "evaluation",
    }


@pytest.mark.parametrize(
    ("method", "config", "lr"),
    [
        ("crossflow", {}, 1e-3),
        ("crossflow", {"arm": {"crossflow": {"lr": 5e-4}}}, 5e-4),
        ("crossflow", {"arm": {"crossflow": {"lr": None, "kl_weight": 1.0}}}, 1e-3),
        ("own", {"arm": {"own": {"method": "crossflow"}}}, 1e-3),
        ("own", {"method_file_sha256": "1" * 64}, None),  # may have its own, and does not say so
    ],
)
def test_the_learning_rate_of_an_arm(record, method, config, lr):
    ((row,),) = [board.rows for board in rows.boards([record(method, config=config)])]
    assert row.costs["lr"] == lr


def spent(record, method, seconds, flops, **volatile):
    one = record(method)
    time = one.volatile.model_copy(update={"device_seconds": seconds, **volatile})
    budget = one.budget.model_copy(update={"train_flops": flops})
    return one.model_copy(update={"volatile": time, "budget": budget})


@pytest.mark.parametrize(
    ("seconds", "flops", "marked"),
    [
        (149.0, 2e13, False),
        (151.0, 2e13, True),
        (151.0, 3e13, False),  # more of both
        (100.0, 1.3e13, True),
        (None, 2e13, False),
    ],
)
def test_where_time_and_flops_disagree_it_is_marked(record, seconds, flops, marked):
    """By more than a factor of 1.5, ratio against ratio, of two arms under one fair_key."""
    two = [spent(record, "crossflow", seconds, flops), spent(record, "regression", 100.0, 2e13)]
    (board,) = rows.boards(two)
    said = f"{(seconds or 0) / 100 * 2e13 / flops:.3g} times the seconds a FLOP of regression"
    assert board.time_marks == ({"crossflow": said} if marked else {})
    files = command.leaderboard_files(two, Path()) | command.table_files(two, Path())
    found = read(files["leaderboard.csv"]).set_index("method")
    assert found["time_mark"].dropna().to_dict() == board.time_marks
    assert found.loc["regression", "seconds"] == 100
    text, paper = files["tables/depth_tabletop.md"], files["tables/depth_tabletop.tex"]
    html = page.files(two, Path())["index.html"]
    for shown, mark in ((text, r"\* "), (paper, "{*} "), (html, "* ")):
        assert (f"{mark}crossflow: {said}" in shown) == marked
        assert "100" in shown


def test_seconds_of_two_devices_are_named(record):
    two = [spent(record, "a", 200.0, 2e13, device="slow"), spent(record, "b", 100.0, 2e13)]
    (board,) = rows.boards(two)
    assert board.time_marks["a"].endswith("of b (slow, against cpu)")


def test_the_leaderboard_says_what_was_run_on_what(record):
    text = command.leaderboard_files([spent(record, "crossflow", 9.5, 2e13)], Path())
    (row,) = csv.DictReader(io.StringIO(text["leaderboard.csv"]))
    expected = {"task_version": "1", "split": "iid", "quick": "False", "lr": "0.001", "nfe": "16"}
    expected |= {"device": "cpu", "seconds": "9.5", "time_mark": ""}
    assert {name: row[name] for name in expected} == expected
