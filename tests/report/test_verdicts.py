"""Every verdict word of the leaderboard, what takes it back, and what forbids it."""

from dataclasses import replace

import pytest

from benchmarks.report.leaderboard import leader_rows

ARMS = ("crossflow", "flow_matching")
NOISE = (0.004, -0.003, 0.001, -0.004, 0.002)
BASE = 0.5  # the margin of absrel_object is a twentieth of it


def arm(record, method, shift, *, seeds=5, metrics=("absrel_object",), **changes):
    """Records of an arm: BASE, what a seed does to every arm, and the shift of this one."""
    shifts = dict.fromkeys(metrics, shift) if isinstance(shift, float) else shift
    return [
        record(
            method,
            seed,
            {
                name: BASE + 0.01 * seed + by + NOISE[seed % 5] * bool(by)
                for name, by in shifts.items()
            },
            **changes,
        )
        for seed in range(seeds)
    ]


def rows(records):
    return {
        (row["task"], row["method"]): row
        for row in leader_rows(records)
        if row["metric"] == records[0].primary
    }


def judged(records, method="crossflow", task="depth_tabletop"):
    row = rows(records)[task, method]
    return row["verdict"], row["note"]


WORDS = [(-0.2, "better"), (0.2, "worse"), (1e-4, "equivalent"), (0.026, "undecided")]


@pytest.mark.parametrize(("shift", "word"), WORDS)
def test_the_words(record, shift, word):
    records = arm(record, "flow_matching", 0.0) + arm(record, "crossflow", shift)
    row = rows(records)["depth_tabletop", "crossflow"]
    assert row["verdict"] == word
    assert row["reference"] == "flow_matching"
    assert row["common_seeds"] == 5
    assert row["difference"] == pytest.approx(-shift, abs=1e-9), "positive is better"
    assert row["diff_low"] < row["difference"] < row["diff_high"]
    assert row["margin"] == pytest.approx(0.05 * 0.52)
    assert row["detectable"] > 0
    assert "Holm over 1 comparison of 1 task" in row["note"]
    assert rows(records)["depth_tabletop", "flow_matching"]["verdict"] == ""


@pytest.mark.parametrize(("floor", "word"), [(0.9, "equivalent"), (0.53, "undecided")])
def test_two_arms_at_the_floor_are_not_equivalent(record, floor, word):
    """They are equal in having learned nothing; the margin is .026, their means .52."""
    records = arm(record, "flow_matching", 0.0) + arm(record, "crossflow", 1e-4)
    verdict, note = judged([*records, record("floor", value=floor)])
    assert verdict == word
    assert ("neither beats the floor" in note) == (word == "undecided")


def test_a_difference_that_is_sure_but_small_says_so(record):
    both = arm(record, "flow_matching", 0.0)
    assert "differs from 0, but not surely" in judged(both + arm(record, "crossflow", 0.026))[1]
    word, note = judged(both + arm(record, "crossflow", 0.012))
    assert word == "equivalent"
    assert "differs from 0 by less than the margin" in note


def test_four_seeds_decide_nothing(record):
    for ours, theirs in ((4, 5), (5, 4)):
        records = arm(record, "flow_matching", 0.0, seeds=theirs)
        word, note = judged(records + arm(record, "crossflow", -0.2, seeds=ours))
        assert word == "undecided"
        assert "common seeds: 4; a verdict needs 5" in note
    row = rows(records + arm(record, "crossflow", -0.2))["depth_tabletop", "crossflow"]
    assert row["detectable"] > 0
    assert row["p"] is None


def test_the_reference_is_the_first_of_a_fixed_order(record):
    names = ("zebra", "crossflow", "regression", "flow_matching")
    records = [one for name in names for one in arm(record, name, 0.0, seeds=1)]
    for name in ("flow_matching", "regression", "crossflow", "zebra"):
        assert {row["reference"] for row in rows(records).values()} == {name}
        records = [one for one in records if one.method != name]


def test_of_several_references_the_one_of_the_same_configuration(record):
    changed = {"config": {"training": {"lr": 0.1, "precision": "float32"}}}
    records = arm(record, "flow_matching", 0.0) + arm(record, "crossflow", -0.2)
    records += arm(record, "flow_matching", -0.4, **changed)
    found = rows(records)
    own = found["depth_tabletop", "crossflow"]["reference"]
    assert own.startswith("flow_matching#")
    assert found["depth_tabletop", "crossflow"]["verdict"] == "better"
    assert found["depth_tabletop", own]["verdict"] == ""
    third = arm(record, "regression", -0.2, config={"training": {"lr": 0.3}})
    word, note = judged(records + third, "regression")
    assert word == "not_comparable"
    assert "none is set up like this" in note


def test_a_seed_that_changes_nothing_repeats_nothing(record):
    same = [record("crossflow", seed, 0.3) for seed in range(5)]
    still = [record("flow_matching", seed, 0.5) for seed in range(5)]
    word, note = judged(still + same)
    assert word == "undecided"
    assert "the seeds are no repetitions" in note


def test_holm_over_tasks_takes_a_word_back(record):
    """One difference just below 0.05 by itself is not, among four tasks that show nothing."""
    shifts = (0.13, 0.10, 0.25, 0.02, 0.20)  # p is 0.024

    def task(name, shifts):
        return [
            record(method, seed, BASE + value * (method == "crossflow"), task=name)
            for method in ("flow_matching", "crossflow")
            for seed, value in enumerate(shifts)
        ]

    alone = task("depth_tabletop", shifts)
    assert judged(alone)[0] == "worse"
    quiet = [one for name in "abc" for one in task(name, (0.1, -0.1, 0.05, -0.04, 0.01))]
    word, note = judged(alone + quiet)
    assert word == "undecided"
    assert "Holm over 4 comparisons of 4 tasks" in note
    row = rows(alone + quiet)["depth_tabletop", "crossflow"]
    assert row["p"] < 0.05 < row["p_holm"] == pytest.approx(4 * row["p"], rel=1e-6)
    others = [one for one in quiet if one.method == "flow_matching"]
    assert judged(alone + others)[0] == "worse", "a task without the arm is no comparison"


def sr(record, kid, psnr):
    """Both arms on super-resolution; values are better when KID is lower and PSNR higher."""
    changes = {"task": "sr_tabletop", "score": {"primary": "kid_tabletop@1000"}}
    metrics = ("kid_tabletop@1000", "psnr_y")
    both = arm(record, "flow_matching", 0.0, metrics=metrics, **changes)
    both += arm(record, "crossflow", {metrics[0]: kid, metrics[1]: psnr}, **changes)
    higher = {"better": "higher"}
    return [
        one.model_copy(
            update={"scores": one.scores | {"psnr_y": replace(one.scores["psnr_y"], **higher)}}
        )
        for one in both
    ]


@pytest.mark.parametrize(
    ("kid", "psnr", "word"),
    [
        (-0.2, 0.5, "better"),
        (-0.2, 0.05, "better"),
        (-0.2, -0.05, "better"),
        (-0.2, -0.5, "conflicting"),
        (0.2, 0.5, "conflicting"),
        (0.2, -0.5, "worse"),
    ],
)
def test_psnr_beside_kid(record, kid, psnr, word):
    records = sr(record, kid, psnr)
    found, note = judged(records, task="sr_tabletop")
    assert found == word
    assert ("by psnr_y it is" in note) == (word == "conflicting")
    board = leader_rows(records)
    assert not any(row.get("verdict") for row in board if row["metric"] == "psnr_y")
    assert {row.get("margin") for row in board if row["metric"] == "psnr_y"} == {None, 0.1}


SECONDS = {"budget_kind": "device_seconds", "device": "x", "devices": 1, "threads": 2}


@pytest.mark.parametrize(
    ("other", "shift", "word"),
    [
        (SECONDS, 0.2, "conflicting"),
        (SECONDS, -0.2, "better"),
        (SECONDS, 1e-4, "better"),
        ({"budget_limit": 4e13}, 0.2, "better"),
        ({**SECONDS, "batch": 32}, 0.2, "better"),
    ],
)
def test_another_kind_of_budget(record, other, shift, word):
    records = arm(record, "flow_matching", 0.0) + arm(record, "crossflow", -0.2)
    key = records[0].fair_key
    records += arm(record, "flow_matching", 0.0, fair=other)
    records += arm(record, "crossflow", shift, fair=other)
    found = {(row["fair_key"], row["method"]): row for row in leader_rows(records)}
    row = found[key, "crossflow"]
    assert row["verdict"] == word
    assert ("device_seconds it is worse" in row["note"]) == (word == "conflicting")


@pytest.mark.parametrize(("samples", "word"), [(9999, ""), (10_000, "better")])
def test_fid_of_few_samples_gets_no_verdict(record, samples, word):
    metric = f"fid@{samples}"
    changes = {"metrics": (metric,), "score": {"primary": metric}}
    records = arm(record, "flow_matching", 0.0, **changes)
    found, note = judged(records + arm(record, "crossflow", -0.2, **changes))
    assert found == word
    assert ("fewer than 10,000" in note) == (samples < 10_000)


def test_a_metric_without_a_margin_gets_no_word(record):
    changes = {"metrics": ("oddness",), "score": {"primary": "oddness"}}
    records = arm(record, "flow_matching", 0.0, **changes)
    word, note = judged(records + arm(record, "crossflow", -0.2, **changes))
    assert word == "undecided"
    assert "no margin for oddness" in note


def proven(records, **proof):
    return [
        one.model_copy(update={"fair": one.fair.model_copy(update={"proof": proof})})
        for one in records
    ]


def chain(**marks):
    return {"marks": {}, "steps": 9, "value": "z"} | {"marks": {k[1:]: v for k, v in marks.items()}}


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ({"evaluation_flops_ratio_to_crossflow": 1.04}, {}, None),
        ({"evaluation_flops_ratio_to_crossflow": 1.06}, {}, "1.06 times"),
        ({}, {"evaluation_flops_ratio_to_crossflow": 0.9}, "flow_matching: 0.90 times"),
        ({"same_ids_as": {"flow_matching": True}}, {}, None),
        ({"same_ids_as": {"flow_matching": False}}, {}, "other training rows"),
        ({}, {"same_ids_as": {"crossflow": False}}, "other training rows"),
        ({"same_ids_as": {"regression": False}}, {}, None),
        ({"training_ids": chain(_4="a")}, {"training_ids": chain(_4="a", _8="b")}, None),
        ({"training_ids": chain(_4="a")}, {"training_ids": chain(_4="b")}, "other training rows"),
    ],
)
def test_a_failed_gate_is_invalid(record, ours, theirs, said):
    records = proven(arm(record, "flow_matching", 0.0), **theirs)
    word, note = judged(records + proven(arm(record, "crossflow", -0.2), **ours))
    assert word == ("better" if said is None else "invalid")
    assert said is None or said in note


def of_flops(records, flops):
    return [
        one.model_copy(
            update={"model": one.model.model_copy(update={"evaluation_flops": flops * 1e8})}
        )
        for one in records
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (1.04, 1.0, None),
        (1.06, 1.0, "1.06 times the FLOPs per network evaluation of flow_matching"),
        (1.0, 1.06, "0.94 times"),
        (1.049, 0.951, "1.10 times"),
        (1.0, 0.0, "flow_matching"),
        (0.0, 0.0, None),
    ],
)
def test_two_arms_of_unequal_flops_are_invalid(record, ours, theirs, said):
    """Each may be within 5 % of CrossFlow, or say nothing of it, and not of the other."""
    records = of_flops(arm(record, "flow_matching", 0.0), theirs)
    records += of_flops(arm(record, "regression", -0.2), ours)
    word, note = judged(records, "regression")
    assert word == ("better" if said is None else "invalid")
    assert said is None or said in note


def test_a_failed_run_of_unequal_flops_is_not_held_against_its_arm(record):
    lost = of_flops([record("crossflow", 5, status="failed")], 2.0)
    records = arm(record, "flow_matching", 0.0, seeds=6) + arm(record, "crossflow", -0.2) + lost
    assert "FLOPs" not in judged([*records, record("floor", value=0.9)])[1]


def test_an_arm_whose_every_run_failed_proves_nothing(record):
    floor = [record("floor", value=0.9)]
    for lost, kept in (("crossflow", "flow_matching"), ("flow_matching", "crossflow")):
        records = arm(record, kept, 0.0) + floor
        records += [record(lost, seed, status="failed") for seed in range(5)]
        word, note = judged(records)
        assert word == "invalid"
        assert f"{lost}: no run was completed" in note


def test_where_every_run_failed_the_arms_stay_on_the_board(record):
    (row,) = leader_rows([record("crossflow", status="failed"), record("floor", value=0.9)])
    assert (row["mean"], row["verdict"]) == (0.9, "invalid")


def test_an_arm_alone_under_its_key_names_what_differs(record):
    records = arm(record, "crossflow", 0.0) + arm(record, "flow_matching", 0.0, fair={"batch": 32})
    word, note = judged(records)
    assert word == "not_comparable"
    assert "flow_matching under fair_key" in note
    assert "batch: 64 / 32" in note
    assert judged(arm(record, "crossflow", 0.0)) == ("", ""), "no rival, nothing to explain"
    null = arm(record, "crossflow", 0.0, fair={"rules": {"clip": None}})
    assert judged(null + arm(record, "flow_matching", 0.0))[1].endswith("clip: None / absent")
