"""Rows: one per run and metric; what makes an arm, a bound, an evaluation; what stands together."""

import csv
import io

import pytest

from benchmarks.report import command, rows


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
