"""Ranks stay within one fair_key, seeds are the unit, and the same records give the same bytes."""

import csv
import io
import random
from pathlib import Path

import pytest

from benchmarks.records.record import Source
from benchmarks.report import answer, command

ARMS = ("crossflow", "flow_matching")


def leaderboard_csv(records):
    return command.leaderboard_files(records, Path())["leaderboard.csv"]


def leaders(records):
    return list(csv.DictReader(io.StringIO(leaderboard_csv(records))))


def test_mean_sd_and_interval_over_seeds(record):
    values = [12.31, 12.05, 12.47, 12.20, 12.60]
    (row,) = leaders([record(seed=seed, value=value) for seed, value in enumerate(values)])
    assert int(row["seeds"]) == 5
    assert float(row["mean"]) == pytest.approx(12.326)
    assert float(row["sd"]) == pytest.approx(0.216864, abs=1e-6)
    half = (float(row["ci_high"]) - float(row["ci_low"])) / 2
    assert half == pytest.approx(0.269272, abs=1e-6)


def test_ranks_follow_the_direction_of_the_metric(record):
    arms = [
        record("crossflow", value={"absrel_object": 0.1, "delta1": 0.9}),
        record("flow_matching", value={"absrel_object": 0.2, "delta1": 0.8}),
    ]
    ranks = {(row["metric"], row["method"]): row["rank"] for row in leaders(arms)}
    for metric in ("absrel_object", "delta1"):
        assert [ranks[metric, name] for name in ARMS] == ["1", "2"]
    rows = leaders([record("crossflow", value=0.1), record("flow_matching", value=0.1)])
    assert [row["rank"] for row in rows] == ["1", "1"], "equal means share a rank"


def test_no_rank_across_fair_keys(record):
    rows = leaders([record("crossflow", value=0.1), record("regression", fair={"batch": 32})])
    assert [row["rank"] for row in rows] == ["1", "1"]
    assert len({row["fair_key"] for row in rows}) == 2
    assert len({row["score_key"] for row in rows}) == 1


def test_framing_and_evaluation_rows_are_never_ranked(record):
    others = [record("floor"), record("oracle"), record("mymodel", kind="evaluation")]
    assert [row["method"] for row in leaders([record("crossflow"), *others])] == ["crossflow"]


def test_secondary_metrics_have_no_verdict(record):
    scores = {"absrel_object": 0.3, "rmse": 0.3}
    both = [record(name, seed, scores) for name in ARMS for seed in (0, 1)]
    rows = {row["metric"]: row for row in leaders(both) if row["method"] == "crossflow"}
    assert rows["absrel_object"]["verdict"] == "undecided"
    second = rows["rmse"]
    assert second["verdict"] == second["margin"] == second["p"] == second["detectable"] == ""
    assert second["diff_low"] == rows["absrel_object"]["diff_low"] != ""


def test_failing_never_wins_where_the_floor_is_better_than_what_was_trained(record):
    """KID of random training photographs is near zero: the floor of a distance is hard to beat."""
    runs = [record("floor", value=0.0002)]
    for seed in range(3):
        runs.append(record("flow_matching", seed, 0.020 + 0.001 * seed))
        runs.append(record("crossflow", seed, 0.021, status="failed" if seed else "completed"))
    first, last = leaders(runs)
    assert (first["method"], last["method"]) == ("flow_matching", "crossflow")
    assert float(last["mean"]) == pytest.approx((0.021 + 2 * 0.022) / 3)
    higher = [
        record("floor", value={"scene_score": 0.9}, score={"primary": "scene_score"}),
        record(value={"scene_score": 0.3}, score={"primary": "scene_score"}),
        record(seed=1, status="failed", score={"primary": "scene_score"}),
    ]
    assert float(leaders(higher)[0]["mean"]) == pytest.approx(0.3)


def test_a_failed_seed_counts_by_the_floor_of_its_own_match(record):
    ours = [record(seed=0, value=0.1, match="A"), record(seed=1, status="failed", match="A")]
    floors = [record("floor", 0, 0.7, match="A"), record("floor", 1, 0.9, match="B")]
    (row,) = leaders([*ours, *floors])
    assert float(row["mean"]) == pytest.approx(0.4)
    other = record("floor", 1, 0.7, match="B")
    (row,) = leaders([*ours, other, record("floor", 2, 0.7, match="C")])
    assert float(row["mean"]) == pytest.approx(0.4), "those of other matches agree"
    (row,) = leaders([*ours, other, record("floor", 2, 0.9, match="C")])
    assert (row["mean"], row["verdict"]) == ("", "invalid"), "nobody knows which of them it is"


def test_arms_with_other_seeds_are_not_ranked(record):
    both = {"absrel_object": 0.2, "rmse": 0.3}
    other = record("regression", 1, both)
    rows = leaders([record(seed=0, value=both), record(seed=1, value=both), other])
    assert len(rows) == 4
    for row in rows:
        assert row["rank"] == ""
        assert "no rank: training seeds differ: crossflow 2 (0, 1); regression 1 (1)" in row["note"]
    (alone,) = {row["seeds"] for row in rows if row["method"] == "regression"}
    assert alone == "1"


def test_a_quick_arm_has_no_rank(record):
    first, last = leaders([record(value=0.1, config={"quick": True}), record("flow_matching")])
    assert (first["method"], first["rank"]) == ("flow_matching", "1")
    assert (last["rank"], last["verdict"]) == ("", "not_comparable")


@pytest.mark.parametrize(
    ("kind", "clock", "rank", "verdict"),
    [
        ("device_seconds", "invalid: clock", "", "invalid"),
        ("device_seconds", "valid", "1", ""),
        ("flops", "invalid: clock", "1", ""),
    ],
)
def test_an_arm_of_a_slowed_clock_has_no_rank(record, kind, clock, rank, verdict):
    one = record(value=0.1)
    slow = one.model_copy(
        update={
            "volatile": one.volatile.model_copy(update={"host": {"clock": clock}}),
            "budget": one.budget.model_copy(update={"kind": kind}),
        }
    )
    (row,) = leaders([slow])
    assert (row["rank"], row["verdict"], row["mean"]) == (rank, verdict, "0.1")
    text = command.table_files([slow], Path())["tables/depth_tabletop.md"]
    assert ("slowed clock" in text) == (verdict == "invalid")


def test_one_seed_run_twice_is_one_seed(record):
    first = record(seed=0, value=0.1)
    again = first.model_copy(
        update={"run_id": f"{first.run_id}-2", "scores": record(value=0.3).scores}
    )
    (row,) = leaders([first, again])
    assert row["seeds"] == "1"
    assert float(row["mean"]) == pytest.approx(0.2)
    assert row["sd"] == row["ci_low"] == ""


def test_the_same_records_in_any_order_give_the_same_bytes(record):
    records = [record(name, seed) for name in ARMS for seed in range(3)]
    records += [record(fair={"batch": 32}), record("floor"), record("mine", kind="evaluation")]
    expected = leaderboard_csv(records), command.table_files(records, Path())
    for seed in range(5):
        random.Random(seed).shuffle(records)
        assert (leaderboard_csv(records), command.table_files(records, Path())) == expected


@pytest.mark.parametrize(
    ("sigma", "mean", "collapsed"),
    [
        (0.27, 0.34, True),  # shrunk to a point
        (0.84, 0.023, True),  # as far as noise, and says nothing
        (0.67, 0.45, False),
        (1.0, 0.0, False),  # noise, and meant to be
        (0.0, 0.3, False),  # the source itself, which is no draw
    ],
)
def test_a_collapsed_source_is_noted(record, sigma, mean, collapsed):
    source = Source(sigma_mean=sigma, mu_std=mean, kl_per_dimension=None, transport=None)
    runs = [record(seed=0, source=source), record(seed=1)]
    (row,) = leaders(runs)
    words = f"source collapsed in 1 of 2 runs (sigma {sigma:.2f}, std(mu) {mean:.2f})"
    assert (words in row["note"]) == collapsed
    assert (words in answer.results_page(runs)) == collapsed
