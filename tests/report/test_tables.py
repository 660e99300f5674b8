"""Tables: framed, one per score_key, and nothing compared that may not be."""

import pytest

from benchmarks.report import leaderboard, tables
from benchmarks.report.rows import ranks
from benchmarks.report.tables import paper_columns


def test_the_order_of_rows(record):
    arms = ["zebra", "crossflow", "floor", "flow_matching", "oracle", "regression"]
    (table,) = tables.build([record("mine", kind="evaluation"), *map(record, arms)])
    order = "floor, oracle, regression, flow_matching, crossflow, zebra, mine (predictions only)"
    assert ", ".join(row[0] for row in table.rows) == order


def test_the_primary_score_comes_first_then_its_levels(record):
    value = {"absrel": 0.2, "absrel_object": 0.1, "absrel_object/L1": 0.05, "absrel/L1": 1.0}
    (table,) = tables.build([record(value=value)])
    assert table.header[:4] == ["method", "absrel_object ↓", "absrel_object/L1 ↓", "absrel ↓"]
    assert table.rows[0][1:5] == ["0.1", "0.05", "0.2", "1"], "parts of other scores are last"


def test_budget_and_quick_stand_above(record):
    text = tables.markdown(tables.build([record(config={"quick": True}), record("floor")]))
    assert "budget 2e+13 flops an arm, model T, batch 64, track defaults, seed 0" in text
    assert "**quick: not for comparison**" in text
    assert "quick" not in tables.markdown(tables.build([record()]))


def test_one_table_per_score_key_names_the_difference(record):
    first, second = tables.build([record(), record(score={"split": "pairs"})])
    assert not any("not comparable" in note for note in first.notes)
    assert any("differs in split: " in note for note in second.notes)


def test_one_table_per_fair_key_within_the_same_framing(record):
    both = tables.build([record(), record(fair={"batch": 32}), record("floor", value=0.9)])
    assert len(both) == 2
    assert all([row[0] for row in table.rows] == ["floor", "crossflow"] for table in both)
    assert any("differs in batch: " in note for note in both[1].notes)


def test_evaluations_alone_make_a_table(record):
    (table,) = tables.build([record("mymodel", kind="evaluation", value=0.25)])
    assert table.rows == [["mymodel (predictions only)", "0.25", *["–"] * 6]]


def test_seeds_become_mean_and_deviation(record):
    (table,) = tables.build([record(seed=seed, value=0.1 + 0.1 * seed) for seed in range(3)])
    assert table.rows[0][1] == "0.2 ± 0.1"
    assert any("seeds 0, 1, 2" in note for note in table.notes)
    assert any("standard deviation over training seeds" in note for note in table.notes)


def test_bounds_that_matches_repeat_are_read_once_but_no_result_is_lost(record):
    floors = [record("floor", seed, 0.9) for seed in range(4)]
    broken = record("floor", 5, status="failed", unavailable={"rmse": "why"})
    (table,) = tables.build([*floors, broken, record()])
    assert sorted(row[1] for row in table.rows) == ["0.5", "0.9", "–"]
    assert any(note.endswith("1 of 1 runs failed") for note in table.footnotes)
    assert "rmse unavailable for floor: why" in table.footnotes


def test_a_failed_seed_is_the_same_number_as_in_the_leaderboard(record):
    records = [record("floor", seed, 0.9) for seed in range(4)]
    records += [record("floor", 4, 0.7), record(), record(seed=1, status="failed")]
    (row,) = leaderboard.leader_rows(records)
    (table,) = tables.build(records)
    assert any(note.startswith("crossflow: 1 of 2 runs failed") for note in table.footnotes)
    assert row["mean"] == pytest.approx((0.5 + 0.9) / 2)
    assert table.rows[-1][1].startswith("0.7 ±")


def test_a_floor_holds_for_the_arms_of_its_match(record):
    ours = [record(match="A"), record("floor", 0, 0.9, match="A")]
    theirs = [record(match="B", fair={"batch": 32}), record("floor", 1, 0.7, match="B")]
    shown = {table.fair_key: table.rows[0][1] for table in tables.build([*ours, *theirs])}
    assert shown == {ours[0].fair_key: "0.9", theirs[0].fair_key: "0.7"}


def test_floors_that_differ_in_one_table_are_rows_of_their_own(record):
    floors = [record("floor", 0, 0.9, match="A"), record("floor", 1, 0.7, match="B")]
    for arms in ([record(match="C")], [record(match="A"), record(seed=1, match="B")]):
        (table,) = tables.build([*arms, *floors])
        first, second = sorted(table.rows[:2], key=lambda row: row[1])
        assert (first[1], second[1]) == ("0.7", "0.9")
        assert first[0].startswith("floor#") and second[0].startswith("floor#")
        note = f"{second[0]}: of {floors[0].run_id}; other scores or predictions are another row"
        assert note in table.footnotes


def test_floors_of_equal_primary_score_and_other_scores_are_two_rows(record):
    """As of captions: a scene_f1 of 0 each, and the most frequent caption of two training sets."""
    floors = [
        record("floor", 0, {"absrel_object": 0.0, "rmse": rmse}, match=match)
        for match, rmse in (("A", 0.3), ("B", 0.4))
    ]
    (table,) = tables.build([record(match="C"), *floors])
    assert sorted(row[1 + table.metrics.index("rmse")] for row in table.rows[:2]) == ["0.3", "0.4"]


def test_evaluations_of_different_predictions_are_different_rows(record):
    def scored(value, predictions, number):
        one = record("mymodel", value=value, kind="evaluation", run_id=f"r{number}", match=None)
        fair = one.fair.model_copy(update={"proof": {"predictions": predictions}})
        return one.model_copy(update={"fair": fair})

    both = [scored(0.1, "aaaa1", 0), scored(0.9, "bbbb1", 1), scored(0.9, "bbbb1", 2)]
    (table,) = tables.build(both)
    names = ["mymodel#aaaa (predictions only)", "mymodel#bbbb (predictions only)"]
    assert [row[:2] for row in table.rows] == [[names[0], "0.1"], [names[1], "0.9"]]
    note = "mymodel#bbbb: of r1, r2; other scores or predictions are another row"
    assert note in table.footnotes
    (table,) = tables.build(both[1:])
    assert [row[:2] for row in table.rows] == [["mymodel (predictions only)", "0.9"]]


def test_means_over_other_seeds_are_not_marked(record):
    several = [record("regression", seed, 0.5) for seed in (0, 1)]
    (table,) = tables.build([*several, record("crossflow", 1, 0.4)])
    assert table.marks == {}
    assert table.header[-1] == "seeds"
    assert [row[-1] for row in table.rows] == ["2", "1"]
    assert table.footnotes[0].startswith("training seeds differ: crossflow 1 (1); regression 2")
    (table,) = tables.build([*several, *(record("crossflow", seed, 0.4) for seed in (0, 1))])
    assert table.marks and table.header[-1] == "seconds"


def test_what_is_missing_says_why(record):
    fair = record().fair.model_copy(update={"proof": {"absent": {"regression": "no mean text"}}})
    without = record(unavailable={"meteor": "no Java"}).model_copy(update={"fair": fair})
    other = record("flow_matching", value={"absrel_object": 0.3, "rmse": 0.4})
    text = tables.markdown(tables.build([without, other]))
    assert "meteor unavailable for crossflow: no Java" in text
    assert "regression does not apply: no mean text" in text
    crossflow = next(line for line in text.splitlines() if line.startswith("| crossflow "))
    assert "–" in crossflow


def test_smaller_budgets_come_first(record):
    rows = []
    for limit in (5e13, 2e13, 9e12, 1e14):
        budget = record().budget.model_copy(update={"limit": limit})
        rows.append(record(budget=budget, fair={"budget_limit": limit}))
    groups = [table.board.records for table in tables.build(rows)]
    assert [group[0].budget.limit for group in groups] == [9e12, 2e13, 5e13, 1e14]


def test_what_a_row_cost_is_that_of_a_completed_run(record):
    spent = record().budget.model_copy(update={"samples": 7, "train_flops": 1.0})
    failed = record(seed=1, status="failed", model=None, budget=spent)
    (table,) = tables.build([record(), failed, record("floor", value=0.9)])
    assert table.rows[-1][2:] == ["16", "2", "2.50 M", "640", "2e+13", "–"]
    (table,) = tables.build([failed])
    assert table.rows[-1][1:] == ["–", "–", "–", "7", "1", "–"], (
        "where none was completed, of a failed"
    )


HOSTILE = "a|b*c_d`e`<script>[x](y)\n# z ~ \\"


def test_text_from_records_cannot_break_the_table(record):
    text = tables.markdown(
        tables.build([record(kind="evaluation").model_copy(update={"method": HOSTILE})])
    )
    row = next(line for line in text.splitlines() if line.startswith("| a"))
    assert row.replace(r"\|", "").count("|") == 9, "as many cells as the header"
    for raw in ("<script>", "[x](y)", "`e`", "b*c"):
        assert raw not in text
    assert not any(line.startswith("# z") for line in text.splitlines())


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("flow_matching", "flow_matching"),
        ("_x_", r"\_x\_"),
        ("a\\|b", r"a\\\|b"),
        ("a\nb", "a b"),
        ("$x and $y", r"\$x and \$y"),  # GitHub sets what stands between dollars as a formula
    ],
)
def test_escape(text, escaped):
    assert tables.escape(text) == escaped


def test_the_floor_of_a_quick_match_does_not_make_a_table_quick(record):
    records = [record("a", value=0.1), record("b", value=0.2)]
    records.append(record("floor", config={"quick": True}))
    (table,) = tables.build(records)
    assert table.marks and tables.QUICK not in table.notes


@pytest.mark.parametrize(
    ("numbers", "better", "expected"),
    [
        ([3.0, 1.0, 2.0], "lower", [3, 1, 2]),
        ([3.0, 1.0, 2.0], "higher", [1, 3, 2]),
        ([1.0, 1.0, 2.0], "lower", [1, 1, 3]),
        ([None, 2.0, 1.0], "lower", [None, 2, 1]),
        ([-1.0, 0.0], "lower", [1, 2]),
        ([2.0, 2.0, None], "lower", [1, 1, None]),
    ],
)
def test_ranks(numbers, better, expected):
    assert ranks(numbers, better) == expected


CAPTION = ["bleu1", "bleu4", "cider", "meteor", "rouge_l", "spice"]


@pytest.mark.parametrize(
    ("primary", "names", "expected"),
    [
        (
            "fid@30000",
            ["clip_vitb32_openai_cos", "clip_vitb32_openai_cos_clipped", "fid@30000", "is@30000"],
            ["fid@30000", "is@30000", "clip_vitb32_openai_cos"],
        ),
        ("cider", CAPTION, ["cider", "bleu4", "meteor", "rouge_l", "spice"]),
        ("absrel", ["absrel", "absrel_median", "delta1", "delta2"], ["absrel", "delta1"]),
        ("psnr_y", ["psnr_rgb", "psnr_y", "ssim_rgb", "ssim_y"], ["psnr_y", "ssim_y"]),
        (
            "kid_tabletop@256",
            ["fid_tabletop@256", "kid_tabletop@256", "psnr_rgb", "psnr_y", "ssim_rgb"],
            ["kid_tabletop@256", "fid_tabletop@256", "psnr_rgb", "ssim_rgb"],
        ),
        ("somebodys_own", ["other", "somebodys_own"], ["somebodys_own"]),
        ("absent", ["other"], []),
    ],
)
def test_paper_columns(primary, names, expected):
    assert paper_columns(names, primary) == expected


def lines_of(records):
    """Rows of the table: header -> cell."""
    lines = tables.overview(tables.build(records)).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2 : lines.index("")]]


def three(record, **changes):
    values = {"regression": 0.3, "flow_matching": 0.2, "crossflow": 0.4}
    return [record(method, value=value, **changes) for method, value in values.items()]


def test_a_line_holds_bounds_arms_seeds_and_budget(record):
    records = [*three(record), record("floor", value=0.9), record("oracle", value=0.0)]
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


def test_other_arms_are_named_below(record):
    text = tables.overview(tables.build([record("zebra", value=0.1), *three(record)]))
    assert "also zebra; see its table" in text
    assert "**" not in text, "the best arm has no column"
    twice = [record(value=0.1), record(value=0.2, config={"check": False, "model": "S"})]
    (line,) = lines_of(twice)
    assert line["crossflow"] == "–", "two configurations are not one number"
    assert "also crossflow\\#" in tables.overview(tables.build(twice))


def test_what_a_line_cannot_hold(record):
    floors = [record("floor", 0, 0.9, match="A"), record("floor", 1, 0.7, match="B")]
    (line,) = lines_of([record(match="A"), record(seed=1, match="B"), *floors])
    assert sorted(line["floor"].split(" or ")) == ["0.7", "0.9"]
    assert lines_of([record("mine", kind="evaluation")]) == []
    (line,) = lines_of([record(value={"delta1": 0.5})])
    assert line["crossflow"] == line["floor"] == "–"
    assert line["score"] == "absrel_object"
    records = [*three(record), record("crossflow", 1, 0.4)]
    (line,) = lines_of(records)
    assert (line["seeds"], line["regression"], line["flow_matching"]) == ("1 to 2", "0.3", "0.2")
    text = tables.overview(tables.build(records))
    assert "training seeds differ: crossflow 2 (0, 1); flow_matching 1 (0)" in text


def test_splits_versions_and_quick_lines_are_told_apart(record):
    (line,) = lines_of(three(record, config={"quick": True}, score={"split": "a|b"}))
    assert line["task"] == r"depth_tabletop, a\|b (quick)"
    assert (line["regression"], line["flow_matching"]) == ("0.3", "0.2")
    both = [*three(record), *three(record, score={"version": 2})]
    versions = ["depth_tabletop, iid, version 1", "depth_tabletop, iid, version 2"]
    assert sorted(line["task"] for line in lines_of(both)) == versions
