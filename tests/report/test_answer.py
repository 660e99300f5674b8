"""Who is ahead, at which budget, and how sure that is: sentences, table and matrix."""

import pytest

from benchmarks.report import answer


@pytest.fixture
def arm(record):
    """arm(method, seed, value, limit, ...): a run under its own budget."""

    def make(method="crossflow", seed=0, value=0.5, limit=2e13, **changes):
        fair = {"budget_limit": limit} | changes.pop("fair", {})
        config = {"budget": {"flops": limit}} | changes.pop("config", {})
        budget = record().budget.model_copy(update={"limit": limit})
        return record(method, seed, value, fair=fair, config=config, budget=budget, **changes)

    return make


@pytest.fixture
def told(arm, record):
    """Five seeds at 2e13, one at 2e14, with floor and oracle, and a quick row that leads."""
    found = [record("floor", value=0.9), record("oracle", value=0.1)]
    for seed in range(5):
        found += [
            arm("crossflow", seed, 0.55 + 0.01 * seed),
            arm("flow_matching", seed, 0.6 + 0.012 * seed),
            arm("regression", seed, 0.3 + 0.002 * seed),
        ]
    found += [arm("crossflow", 0, 0.2, 2e14), arm("flow_matching", 0, 0.25, 2e14)]
    quick = {"config": {"quick": True}, "fair": {"rules": {"quick": True}}}
    return [*found, arm("crossflow", 0, 0.01, 2e15, **quick)]


def test_the_sentence_says_who_is_ahead_and_how_sure_that_is(told):
    (question,) = answer.questions(told)
    assert question.title == "Depth, tabletop"
    text = answer.sentence(question)
    assert text.startswith("by absrel_object (lower is better), at 2×10¹³ FLOPs regression (0.304)")
    assert "is ahead of crossflow (0.57) and flow_matching (0.624): over 5 seeds, against" in text
    assert "regression is better (+0.32, 90 % interval " in text
    assert "crossflow is better (+0.054, 90 % interval" in text
    assert "at 2×10¹⁴ FLOPs crossflow (0.2) is ahead of flow_matching (0.25): one seed, no" in text
    assert "2×10¹⁵" not in text, "quick rows never enter the answer"


def test_one_budget_is_told_once(arm):
    five = [arm(m, s, 0.5 + 0.1 * s) for m in ("crossflow", "flow_matching") for s in range(5)]
    for some, decided in ((five, True), (five[:2], False)):
        (question,) = answer.questions(some)
        assert [standing.decided for standing in question.shown] == [decided]


def test_quick_rows_and_older_versions_do_not_answer(arm):
    quick = {"config": {"quick": True}, "fair": {"rules": {"quick": True}}}
    assert answer.questions([arm(**quick)]) == []
    older, newer = arm(value=0.1), arm(value=0.5, score={"version": 2}, run_id="newer")
    (question,) = answer.questions([older, newer])
    assert "crossflow (0.5) stands alone" in answer.sentence(question)
    assert [b.first.run_id for b in answer.current(answer.boards([older, newer]))] == ["newer"]


def test_arms_of_different_seeds_are_not_ranked(arm):
    some = [arm("crossflow", 0), arm("crossflow", 1), arm("flow_matching", 0)]
    (question,) = answer.questions(some)
    assert "training seeds differ: crossflow 2" in answer.sentence(question)
    assert "ahead" not in answer.sentence(question)


def test_equal_arms_are_level_and_a_barred_one_is_named(arm):
    (question,) = answer.questions([arm("crossflow"), arm("flow_matching")])
    assert "crossflow (0.5) and flow_matching (0.5) are level" in answer.sentence(question)
    broken = arm("crossflow", status="failed")
    (question,) = answer.questions([broken, arm("flow_matching")])
    barred = "crossflow is invalid (crossflow: a seed has no absrel_object"
    assert barred in answer.sentence(question)


def test_scores_are_scaled_from_floor_to_oracle(told, arm, record):
    (question,) = answer.questions(told)
    assert question.standings[0].scale() == (0.9, 0.1)
    (question,) = answer.questions([arm(), record("floor", value=0.9)])
    assert question.standings[0].scale() is None
    floors = [record("floor", value=v, match=m, run_id=m) for m, v in (("m1", 0.9), ("m2", 0.8))]
    (question,) = answer.questions([arm(), arm("regression", match="m2"), *floors])
    assert question.standings[0].cell("floor") == "0.8 or 0.9"
    assert question.standings[0].scale() is None, "two floors are no floor and oracle"


def test_the_results_have_sentences_and_a_row_a_task_at_the_budget_of_the_verdict(told):
    text = answer.results_page(told)
    assert "**Depth, tabletop**, by absrel_object" in text and "](figures/answer.png)" in text
    header, _, row = answer.summary_table(told).splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert header in text and row in text
    assert cells[:5] == ["Depth, tabletop", "absrel_object ↓", "2×10¹³ FLOPs", "5", "0.9"]
    assert cells[7].startswith("0.57 ± 0.016") and cells[8] == "0.1"
    assert cells[9].startswith("better (+0.054, 90 % interval")


def test_the_matrix_has_all_told_budgets(told):
    header, rows = answer.summary(told)
    assert header[:4] == ["task", "score", "budget an arm", "seeds"]
    assert header[4:9] == ["floor", "regression", "flow_matching", "crossflow", "oracle"]
    assert [row[2:4] for row in rows] == [["2×10¹³ FLOPs", "5"], ["2×10¹⁴ FLOPs", "1"]]
    assert rows[1][5] == "–" and rows[1][9] == "no verdict: one seed"


@pytest.mark.parametrize(("limit", "text"), [(2e14, "2×10¹⁴"), (1e6, "10⁶"), (1234561, "1234561")])
def test_a_limit_is_written_exactly(arm, limit, text):
    (board,) = answer.boards([arm(limit=limit)])
    assert answer.budget_of(board) == f"{text} FLOPs"


def test_titles_are_words():
    names = {"t2i_coco": "Text to image, coco", "my_task": "My task", "sr": "Sr"}
    assert {name: answer.title_of(name) for name in names} == names
