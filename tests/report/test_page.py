"""What stands on the report page, without a browser: content, escaping, limits, equal bytes."""

import html
import json
import random
import re

import numpy as np
import pytest

from benchmarks.records import record as items
from benchmarks.records import samples
from benchmarks.report import command, leaderboard, page
from benchmarks.report.page import chart, extremes, fairness, gallery, overview, render, rows, shown

CHAIN = {"every": 1, "steps": 2, "value": "b" * 64, "marks": {"1": "a" * 64, "2": "b" * 64}}
LONGER = {
    "every": 1,
    "steps": 3,
    "value": "c" * 64,
    "marks": {"1": "a" * 64, "2": "b" * 64, "3": "c" * 64},
}


def text_of(records, out):
    return page.files(records, out)["index.html"]


def with_proof(record, **proof):
    return record.model_copy(
        update={"fair": record.fair.model_copy(update={"proof": record.fair.proof | proof})}
    )


@pytest.fixture
def match(record):
    """Floor and two arms with hash chains, one the beginning of the other."""
    return [
        record("floor", value=0.9),
        with_proof(
            record("crossflow", value=0.3),
            training_ids=CHAIN,
            same_ids_as={"flow_matching": True},
            params_ratio_to_crossflow=1.0,
            evaluation_flops_ratio_to_crossflow=1.0,
            guidance_trials=[1.0, 1.5],
        ),
        with_proof(
            record("flow_matching", value=0.4),
            training_ids=LONGER,
            same_ids_as={"crossflow": True},
            params_ratio_to_crossflow=1.01,
            evaluation_flops_ratio_to_crossflow=1.02,
        ),
    ]


def write_items(out, record, values, **columns):
    ids = [f"{number:03d}" for number in range(len(values))]
    path = out / "items" / record.task / f"{record.run_id}.csv"
    items.write_items(path, {"id": ids, "absrel_object": values, **columns})


def write_depth(out, record, row, ids=("000", "001"), shift=0.0):
    cells = [np.full((4, 6), 1.0 + number + shift, np.float32) for number in range(len(ids))]
    samples.write(out, record.task, row, list(ids), cells)


def test_the_command_writes_one_file_that_loads_nothing(match, written, capsys):
    out = written(match)
    assert command.main(["html", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'index.html'}\n"
    text = (out / "index.html").read_text("utf-8")
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", text)
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert "default-src 'none'; img-src data:;" in html.unescape(text)
    assert " style=" not in text, "the policy forbids style attributes"
    assert " onclick=" not in text


def test_the_same_records_in_any_order_give_the_same_bytes(match, record, tmp_path):
    records = [*match, *(record("crossflow", seed=seed, value=0.3) for seed in (1, 2))]
    for one in records:
        write_items(tmp_path, one, [0.5, 0.1])
        write_depth(tmp_path, one, one.run_id)
    first = text_of(records, tmp_path)
    random.Random(1).shuffle(records)
    assert text_of(records, tmp_path) == first


def test_a_number_on_the_page_is_that_of_the_record(match, tmp_path):
    text = text_of(match, tmp_path)
    data = json.loads(re.search(r'id="data-leaderboard">(.*?)</script>', text)[1])
    columns = {column["label"]: column for column in data["columns"]}
    means = [columns["mean"]["texts"][code] for code in columns["mean"]["codes"]]
    assert means == ["0.3", "0.4"]
    assert [columns["rank"]["texts"][code] for code in columns["rank"]["codes"]] == ["1", "2"]
    assert "floor 0.9" in text


def test_a_long_seed_is_shown_whole(record):
    (row,) = rows.runs([record(seed=20240101)])["rows"]
    assert "20240101" in [cell["text"] for cell in row]


def test_numbers_are_sorted_by_value_and_missing_ones_have_no_place():
    from benchmarks.report.page.sheet import Column, number, sheet

    columns = [Column("x", lambda row: number(row), "number")]
    packed = sheet("s", columns, [10.0, None, 9.5, 1e-8], lambda row: True)["columns"][0]
    assert packed["texts"] == ["1e-08", "9.5", "10"]
    assert packed["codes"] == [2, -1, 1, 0]


HOSTILE = "</script><script>alert(1)</script> & \"quoted\" 'single' {{7*7}} <!-- ${x}"


def test_text_of_records_is_shown_as_text(record, tmp_path):
    one = record(run_id="r1", value=0.5)
    volatile = one.volatile.model_copy(update={"command": HOSTILE, "device": HOSTILE})
    one = one.model_copy(update={"volatile": volatile, "match": HOSTILE, "method": HOSTILE})
    write_items(tmp_path, one, [0.5], caption=[HOSTILE])
    samples.write(tmp_path, one.task, one.run_id, ["000"], [HOSTILE])
    text = text_of([one], tmp_path)
    assert "<script>alert" not in text
    assert text.count("</script>") == 5, "three of data, two of code"
    assert "{{7*7}}" in text
    assert html.escape(HOSTILE, quote=False)[:30] in text
    for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text):
        assert HOSTILE in json.dumps(json.loads(data), ensure_ascii=False).replace('\\"', '"')


def test_a_line_separator_cannot_break_the_data():
    assert "\u2028" not in render.embedded("a\u2028b")
    assert json.loads(render.embedded("a\u2028<b>&")) == "a\u2028<b>&"


def test_quick_records_are_marked(match, record, tmp_path):
    shown_text = re.sub(r"<script>.*?</script>", "", text_of(match, tmp_path), flags=re.DOTALL)
    assert "quick: not for comparison" not in shown_text
    quick = record("crossflow", config={"quick": True}, fair={"rules": {"quick": True}})
    text = text_of([quick], tmp_path)
    assert text.count("quick: not for comparison") >= 4
    assert "not comparable" in text


def test_published_numbers_stand_apart(record, tmp_path, match):
    assert "Papers print no numbers" in text_of(match, tmp_path)
    text = text_of([record(task="depth_nyu")], tmp_path)
    assert "published, not re-run" in text
    assert "Papers print no numbers" not in text
    assert "published" not in json.loads(re.search(r'"data-leaderboard">(.*?)</scr', text)[1])


def test_the_order_of_training_pairs_is_checked_again(match):
    (one,), _ = shown.comparisons(match)
    (found,) = fairness.proof(one)["matches"]
    assert found["orders"] == [
        {
            "text": "crossflow (2 steps) is the beginning of flow_matching (3 steps)",
            "proved": True,
            "disagrees": False,
        }
    ]
    changed = {**LONGER, "marks": {**LONGER["marks"], "2": "d" * 64}}
    (one,), _ = shown.comparisons([*match[:2], with_proof(match[2], training_ids=changed)])
    (found,) = fairness.proof(one)["matches"]
    (order,) = found["orders"]
    assert not order["proved"]
    assert order["disagrees"], "the records say the order was the same"


def test_a_gap_between_arms_is_named(match):
    outside = with_proof(match[2], params_ratio_to_crossflow=1.07)
    (one,), _ = shown.comparisons([match[1], outside])
    (found,) = fairness.proof(one)["matches"]
    cells = {arm["method"]: arm["cells"] for arm in found["arms"]}
    assert ("1.0700 (outside 5 %)", True) in cells["flow_matching"]
    assert ("1.0000", False) in cells["crossflow"]
    assert ("1, 1.5 (2 trials)", False) in cells["crossflow"]


def test_arms_of_two_matches_are_compared_too(match, tmp_path):
    ours, theirs = match[1], match[2].model_copy(update={"match": "another"})
    (one,), _ = shown.comparisons([ours, theirs])
    (pair,) = fairness.proof(one)["across"]
    assert pair["proved"]
    assert "seed 0, each in a match of its own: the same rows in 2 of " in pair["text"]
    text = text_of([ours, theirs], tmp_path)
    assert "One arm alone" in text
    assert "is not proved" not in text
    changed = {**LONGER, "marks": {**LONGER["marks"], "2": "d" * 64}}
    (one,), _ = shown.comparisons([ours, with_proof(theirs, training_ids=changed)])
    (pair,) = fairness.proof(one)["across"]
    assert not pair["proved"]
    (one,), _ = shown.comparisons(match)
    assert fairness.proof(one)["across"] == []  # of one match: its own list says it
    other = theirs.model_copy(update={"config": {**theirs.config, "seed": 1}})
    (one,), _ = shown.comparisons([ours, other])
    assert [found["elsewhere"] for found in fairness.proof(one)["matches"]] == [False, False]


def test_a_match_without_chains_is_said_to_be_unproved(record, tmp_path):
    text = text_of([record("crossflow"), record("flow_matching")], tmp_path)
    assert "the order of training pairs is not proved" in text


def test_both_keys_are_shown_with_their_fields(match):
    (one,), _ = shown.comparisons(match)
    score, fair = fairness.proof(one)["keys"]
    assert score["value"] == match[1].score_key
    assert ("protocols.depth", "1") in score["fields"]
    assert fair["value"] == match[1].fair_key
    assert ("budget_limit", "2e+13") in fair["fields"]


def test_best_and_worst_items(record, tmp_path):
    one = record("crossflow")
    write_items(tmp_path, one, [0.5, 0.1, None, 0.9], caption=["a", "b", "c", "d"])
    found = extremes.read(one, tmp_path)
    assert [row["id"] for _, row in found.scored()] == ["001", "000", "003"]
    higher = record("crossflow", value={"absrel_object": 0.1, "delta1": 0.5})
    path = tmp_path / "items" / one.task / f"{one.run_id}.csv"
    items.write_items(path, {"id": ["000", "001"], "delta1": [0.1, 0.7]})
    found = extremes.read(higher, tmp_path)
    assert found.metric == "delta1"
    assert [row["id"] for _, row in found.scored()] == ["001", "000"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,absrel_object\n000,many\n", "could not convert string to float: 'many'"),
        ("id,absrel_object\n000,inf\n", "absrel_object is infinite"),
        ("name,absrel_object\n000,1\n", "no column id"),
    ],
)
def test_a_bad_items_file_is_one_line(content, said, record, written, capsys):
    one = record("crossflow")
    out = written([one])
    path = out / "items" / one.task / f"{one.run_id}.csv"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert command.main(["html", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert one.run_id in error
    assert not (out / "index.html").exists()


def test_a_bad_sample_file_is_one_line(record, written, capsys):
    one = record("crossflow")
    out = written([one])
    path = out / "samples" / one.task / f"{one.run_id}.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no picture")
    assert command.main(["html", "--out", str(out)]) == 2
    assert str(path) in capsys.readouterr().err


def test_the_gallery_has_the_items_that_all_rows_hold(match, tmp_path):
    floor, crossflow, _ = match
    write_depth(tmp_path, floor, floor.run_id)
    write_depth(tmp_path, crossflow, crossflow.run_id, ids=("001", "002"), shift=1.0)
    write_depth(tmp_path, floor, f"truth-{floor.score_key}")
    (one,), _ = shown.comparisons(match)
    found = gallery.of(one, tmp_path, {})
    assert found["ids"] == ["001"]
    assert found["without"] == "source, flow_matching, seed 0"
    assert {row["label"]: row["boxes"] for row in found["rows"]} == {
        "truth": [[6, 0, 6, 4]],
        "floor": [[6, 0, 6, 4]],
        "crossflow, seed 0": [[0, 0, 6, 4]],
    }
    assert found["metres"] == "1 m to 2 m", "the truth's range, for all rows"
    assert "No samples of: source, flow_matching, seed 0." in text_of(match, tmp_path)


def test_what_does_not_fit_is_said(record, tmp_path, monkeypatch):
    records = [record("crossflow", fair={"budget_limit": 1e12 * n}) for n in range(1, 5)]
    records = [
        one.model_copy(update={"run_id": f"r{number}"}) for number, one in enumerate(records)
    ]
    monkeypatch.setattr(shown, "PER_TASK", 3)
    text = text_of(records, tmp_path)
    assert "depth_tabletop: 3 of 4 comparisons are shown in full" in text
    monkeypatch.setattr(gallery, "LARGEST", 10)
    write_depth(tmp_path, records[3], "r3")
    text = text_of(records, tmp_path)
    assert "samples left out, the page would be too large" in text


def test_ticks_are_round_and_inside():
    linear = chart.axis([0.13, 0.87], 0, 100)
    assert linear.ticks() == [0.2, 0.4, 0.6, 0.8]
    assert linear.at(linear.low) == 0
    assert linear.at(linear.high) == 100
    assert chart.axis([2, 16], 0, 100, 2).ticks() == [2, 4, 8, 16]
    assert len(chart.axis([5.0], 0, 1).ticks()) > 1, "one value is no reason to fail"
    assert len(chart.axis([3.0], 0, 1, 10).ticks()) == 2


def test_curves_and_budgets_are_drawn(record, tmp_path):
    runs = [
        record("crossflow", seed=seed, value=0.1 * limit, fair={"budget_limit": 1e12 * limit})
        for seed in (0, 1)
        for limit in (1, 2)
    ]
    runs = [
        one.model_copy(
            update={
                "run_id": f"r{number}",
                "budget": one.budget.model_copy(update={"limit": 1e12 * (1 + number % 2)}),
            }
        )
        for number, one in enumerate(runs)
    ]
    curve = {
        "sweep": ["guidance", "guidance", "steps", "steps"],
        "guidance": [1.0, 2.0, 1.0, 1.0],
        "steps": [8, 8, 2, 4],
        "nfe": [8, 8, 2, 4],
        "metric": ["absrel_object"] * 4,
        "value": [0.4, 0.3, 0.6, 0.4],
        "stderr": [0.1] * 4,
        "n": [16] * 4,
    }
    items.write_items(tmp_path / "curves" / runs[0].task / "r0.csv", curve)
    text = text_of(runs, tmp_path)
    assert "absrel_object against number of function evaluations, on validation items" in text
    assert "absrel_object against guidance weight" in text
    assert "absrel_object on test items against budget" in text
    assert "no curves file for depth_tabletop/r2" in text


def test_seeds_and_limits_are_written_exactly(record, tmp_path):
    budget = record().budget.model_copy(update={"limit": 1234561.0})
    several = [
        record(method, 20240101, budget=budget, fair={"budget_limit": 1234561.0})
        for method in ("crossflow", "flow_matching")
    ]
    text = text_of(several, tmp_path)
    assert "1234561 flops" in text and "20240101" in text
    assert "1.23456e+06" not in text and "2.02401e+07" not in text


def test_a_comparison_has_the_frames_of_its_own_matches(record, tmp_path):
    ours = [record(match="A"), record("floor", 0, 0.9, match="A")]
    theirs = [record(match="B", fair={"batch": 32}), record("floor", 1, 0.7, match="B")]
    found, _ = shown.comparisons([*ours, *theirs])
    for one in found:
        ((name, value),) = overview.verdicts(one, [])["frame"]
        assert (name, value) == ("floor", "0.9" if one.arms[0].match == "A" else "0.7")
    mixed = [record(match="A"), record(seed=1, match="B"), ours[1], theirs[1]]
    (one,), _ = shown.comparisons(mixed)
    assert sorted(value for _, value in overview.verdicts(one, [])["frame"]) == ["0.7", "0.9"]
    assert "floor#" in text_of(mixed, tmp_path)


def test_two_configurations_of_a_method_are_two_arms(record, tmp_path):
    """A mean over two learning rates would be the mean of two things."""
    arms = [record("crossflow", config={"training": {"lr": lr}}, value=lr) for lr in (0.1, 0.2)]
    (one,), _ = shown.comparisons(arms)
    assert len(one.lowest_seed()) == 2
    assert all(name.startswith("crossflow#") for name in one.names.values())
    for arm in arms:
        write_items(tmp_path, arm, [0.5])
    assert len(extremes.of(one, tmp_path)[0]["rows"]) == 2


def test_a_slowed_clock_is_a_fault_only_where_seconds_are_the_budget(match):
    slowed = match[1].volatile.model_copy(update={"host": {"clock": "invalid: clock"}})
    (one,), _ = shown.comparisons([match[1].model_copy(update={"volatile": slowed})])
    (found,) = fairness.proof(one)["matches"]
    text, bad = found["arms"][0]["cells"][-1]
    assert "without effect" in text
    assert not bad


def test_columns_of_the_leaderboard_are_shown_when_it_has_them(match, tmp_path, monkeypatch):
    more = {"reference": "flow_matching", "difference": 0.1, "diff_low": 0.05, "diff_high": 0.15}
    more |= {"margin": 0.02, "p_holm": 0.011, "note": "Holm over 4 tasks", "new": 7.0}
    rows = [{**row, **more} for row in leaderboard.leader_rows(match)]
    monkeypatch.setattr(leaderboard, "leader_rows", lambda records: rows)
    monkeypatch.setattr(leaderboard, "LEADER_COLUMNS", [*leaderboard.LEADER_COLUMNS, *more])
    text = html.unescape(text_of(match, tmp_path))
    assert "+0.1 against flow_matching (+ is better), 90 % interval 0.05 to 0.15" in text
    assert "margin 0.02, p after Holm 0.011; Holm over 4 tasks" in text
    data = json.loads(re.search(r'id="data-leaderboard">(.*?)</script>', text)[1])
    columns = {column["label"]: column["texts"] for column in data["columns"]}
    assert columns["90 % interval of the difference"] == ["0.05 to 0.15"]
    assert columns["new"] == ["7"], "a column that the page does not know is not dropped"
