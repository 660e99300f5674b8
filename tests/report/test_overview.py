"""The overview: one line per task and budget, nothing compared across lines."""

import pytest

from benchmarks.report import overview, tables


def lines_of(records):
    """Rows of the table: header -> cell."""
    lines = overview.markdown(tables.build(records)).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2 : lines.index("")]]


def match(record, **changes):
    values = {"regression": 0.3, "flow_matching": 0.2, "crossflow": 0.4}
    return [record(method, value=value, **changes) for method, value in values.items()]


def test_a_line_holds_frames_arms_seeds_and_budget(record):
    records = [*match(record), record("floor", value=0.9), record("oracle", value=0.0)]
    (line,) = lines_of(records)
    assert line == {
        "task": "depth_tabletop, iid",
        "score": "absrel_object ↓",
        "budget an arm": "2e+13 flops",
        "model": "T",
        "seeds": "1",
        "floor": "0.9",
        "regression": "<ins>0.3</ins>",
        "flow_matching": "**0.2**",
        "crossflow": "0.4",
        "oracle": "0",
        "fair_key": records[0].fair_key,
    }


def test_a_line_for_each_budget(record):
    other = {"budget_limit": 5e13}
    budget = record().budget.model_copy(update={"limit": 5e13})
    records = [*match(record), *match(record, fair=other, budget=budget)]
    assert sorted(line["budget an arm"] for line in lines_of(records)) == [
        "2e+13 flops",
        "5e+13 flops",
    ]


def test_versions_of_a_task_are_told_apart(record):
    first = match(record)
    assert [line["task"] for line in lines_of(first)] == ["depth_tabletop, iid"]
    second = match(record, score={"version": 2})
    assert sorted(line["task"] for line in lines_of([*first, *second])) == [
        "depth_tabletop, iid, version 1",
        "depth_tabletop, iid, version 2",
    ]


def test_limits_that_differ_read_differently(record):
    budgets = [record().budget.model_copy(update={"limit": limit}) for limit in (1234561, 1234569)]
    records = [record(fair={"budget_limit": b.limit}, budget=b) for b in budgets]
    assert sorted(line["budget an arm"] for line in lines_of(records)) == [
        "1234561 flops",
        "1234569 flops",
    ]


def test_quick_lines_are_called_quick_and_unmarked(record):
    (line,) = lines_of(match(record, config={"quick": True}))
    assert line["task"] == "depth_tabletop, iid (quick)"
    assert [line[m] for m in ("regression", "flow_matching", "crossflow")] == ["0.3", "0.2", "0.4"]


def test_seeds_are_counted_and_averaged(record):
    (line,) = lines_of([record(seed=seed, value=0.1 + 0.1 * seed) for seed in range(3)])
    assert (line["seeds"], line["crossflow"]) == ("3", "0.2 ± 0.1")


def test_a_line_of_arms_with_other_seeds_says_so_and_is_unmarked(record):
    records = [*match(record), record("crossflow", 1, 0.4)]
    (line,) = lines_of(records)
    assert line["seeds"] == "1 to 2"
    assert (line["regression"], line["flow_matching"]) == ("0.3", "0.2")
    text = overview.markdown(tables.build(records))
    assert "training seeds differ: crossflow 2 (0, 1); flow_matching 1 (0)" in text


def test_floors_that_differ_stand_in_one_cell(record):
    floors = [record("floor", 0, 0.9, match="A"), record("floor", 1, 0.7, match="B")]
    (line,) = lines_of([record(match="A"), record(seed=1, match="B"), *floors])
    assert sorted(line["floor"].split(" or ")) == ["0.7", "0.9"]


def test_what_is_missing_is_a_dash(record):
    (line,) = lines_of([record(value={"delta1": 0.5})])
    assert line["crossflow"] == line["floor"] == "–"
    assert line["score"] == "absrel_object"


def test_other_arms_are_named_below(record):
    text = overview.markdown(tables.build([record("zebra", value=0.1), *match(record)]))
    assert "also zebra; see its table" in text
    assert "**" not in text, "the best arm has no column"
    twice = [record(value=0.1), record(value=0.2, config={"check": False, "model": "S"})]
    (line,) = lines_of(twice)
    assert line["crossflow"] == "–", "two configurations are not one number"
    assert "also crossflow\\#" in overview.markdown(tables.build(twice))


def test_evaluations_make_no_line(record):
    assert lines_of([record("mine", kind="evaluation")]) == []


@pytest.mark.parametrize(("split", "shown"), [("a|b", r"a\|b"), ("<x>", r"\<x\>")])
def test_hostile_text_stays_in_its_cell(record, split, shown):
    (line,) = lines_of(match(record, score={"split": split}))
    assert line["task"] == f"depth_tabletop, {shown}"
