"""Figures: what is drawn and what is not, that a method keeps its look, equal bytes."""

import io
import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from benchmarks.config import registry
from benchmarks.records import record as records
from benchmarks.records import samples
from benchmarks.records.record import write_items
from benchmarks.records.samples import Samples
from benchmarks.report import answer, command, curves, figures
from benchmarks.report.figures import charts, pictures, style
from benchmarks.report.rows import boards
from crossflow.errors import InputError


def spent(limit, samples=640):
    return records.Budget(
        kind="flops",
        limit=limit,
        steps=10,
        samples=samples,
        train_flops=limit,
        convention="2 a MAC",
    )


@pytest.fixture
def field(record):
    """field(): two budgets, two sizes, two methods, three seeds, floor and oracle; no curves."""

    def make(**changes):
        own = {"config": changes.get("config", {})}
        found = [record("floor", value=0.9, **own), record("oracle", value=0.1, **own)]
        for method, gain in (("crossflow", 0.0), ("flow_matching", 0.03)):
            for seed in range(3):
                for limit, size in ((2e13, "T"), (4e13, "T"), (2e13, "S")):
                    value = 0.6 + gain + 0.01 * seed - 0.1 * (limit > 3e13) - 0.05 * (size == "S")
                    one = record(
                        method,
                        seed,
                        value,
                        config={"model": size, "budget": {"flops": limit}} | own["config"],
                        fair={"budget_limit": limit, "model": size} | changes.get("fair", {}),
                        budget=spent(limit, samples=int(limit / 1e9)),
                    )
                    network = one.model.model_copy(update={"size": size, "params": 3_000_000})
                    volatile = one.volatile.model_copy(update={"device_seconds": limit / 1e10})
                    found.append(one.model_copy(update={"model": network, "volatile": volatile}))
        return found

    return make


def family(some, field="budget_limit"):
    return max(figures._families(boards(some), field), key=len)


def texts_of(figure):
    from matplotlib.text import Text

    return " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())


def drawn(draw):
    """What a figure says; fails where it cannot be written."""
    with style.styled():
        figure = draw()
        said = texts_of(figure)
        pdf, png, svg = (style.drawn(figure, ending, "a <b>") for ending in ("pdf", "png", "svg"))
    assert pdf.startswith(b"%PDF") and b"CreationDate" not in pdf and b"FontFile2" in pdf
    with Image.open(io.BytesIO(png)) as image:
        assert (np.asarray(image)[..., :3] < 128).any()
    assert ElementTree.fromstring(svg).get("aria-label") == "a <b>"
    assert " style=" not in svg and "<style" not in svg
    return said


def put_curves(out, some):
    for one in some:
        if one.fair_key is None:
            continue
        curve = {
            "sweep": ["steps", "steps", "guidance"], "guidance": [1.0, 1.0, 2.0],
            "steps": [1, 2, 2], "nfe": [1, 2, 4], "metric": ["absrel_object"] * 3,
            "value": [0.5, 0.4, 0.3], "stderr": [0.1] * 3, "n": [9] * 3,
        }  # fmt: skip
        folder = out / "curves" / one.task
        write_items(folder / f"{one.run_id}.csv", curve)
        losses = {"steps": [1, 2], "samples": [8, 16], "loss": [2.0, 1.0], "flow": [1.0, 0.5]}
        write_items(folder / f"{one.run_id}-losses.csv", losses)


def put_samples(out, some):
    rows = depth_rows()
    for name, row in (("source", "source"), ("truth", "truth")):
        row = f"{row}-{some[0].score_key}"
        samples.write(out, "depth_tabletop", row, rows[name].ids, rows[name].cells)
    for one in some:
        samples.write(out, one.task, one.run_id, rows["truth"].ids, rows["truth"].cells)


def test_the_answer_has_a_panel_a_task_from_floor_to_oracle(field, record):
    asked = answer.questions([*field(), record(task="sr_tabletop")])
    said = drawn(lambda: charts.answer(asked))
    for words in ("Depth, tabletop (AbsRel)", "Super-resolution", "floor", "oracle", "3 seeds"):
        assert words in said
    with style.styled():
        axes = charts.answer(asked).axes[0]
    marks = [
        line for line in axes.lines if line.get_linestyle() == "None" and len(line.get_xdata())
    ]
    heights = sorted(y for line in marks for y in line.get_ydata())
    assert len(heights) == 12, "two arms, two budgets, three seeds each"
    assert heights[0] == pytest.approx((0.65 - 0.9) / (0.1 - 0.9)), "from 0 at the floor"


def test_budgets_that_differ_in_more_are_not_joined(record):
    some = [
        record(fair={"budget_limit": limit} | more, budget=spent(limit), run_id=f"r{limit:.0f}")
        for limit, more in ((1e13, {}), (2e13, {}), (4e13, {"rules": {"data": 2}}))
    ]
    with style.styled():
        axes = charts.answer(answer.questions(some)).axes[0]
    lines = [len(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "-"]
    assert sorted(length for length in lines if length) == [1, 2]


def test_score_against_budget_is_drawn_over_all_that_was_spent(field):
    said = drawn(lambda: charts.budget(family(field())))
    for words in ("absrel_object ↓", "training samples", "training FLOPs", "device hours"):
        assert words in said
    assert "floor" in said and "oracle" in said and "3 seeds an arm" in said
    assert style.QUICK not in said
    several = [
        one.model_copy(update={"volatile": one.volatile.model_copy(update={"device": method})})
        for one in field()
        for method in [f"gpu {one.seed}"]
    ]
    assert "device hours" not in drawn(lambda: charts.budget(family(several))), "several devices"


def test_score_against_size(field):
    assert "parameters at inference" in drawn(lambda: charts.size(family(field(), "model")))


def test_what_failed_runs_spent_is_not_drawn(field):
    some = [one for one in field() if one.config.get("model") != "S"]
    one = next(one for one in some if one.method == "crossflow")
    stopped = one.budget.model_copy(update={"samples": 1})
    failed = one.model_copy(update={"status": "failed", "scores": {}, "budget": stopped})
    with style.styled():
        axes = charts.budget(family([failed if r is one else r for r in some])).axes[0]
    assert min(x for line in axes.lines for x in line.get_xdata() if x > 1) == 2e4


def test_arms_whose_seconds_are_worth_nothing_are_not_drawn(field):
    slow = {"host": {"clock": "invalid: clock"}}
    some = [
        one.model_copy(
            update={
                "budget": one.budget.model_copy(update={"kind": "device_seconds"}),
                "volatile": one.volatile.model_copy(update=slow),
            }
        )
        if one.method == "crossflow"
        else one
        for one in field()
    ]
    said = drawn(lambda: charts.budget(family(some)))
    assert "flow_matching" in said and "crossflow" not in said and "hours" not in said


def test_ablation_names_the_settings_that_differ(record):
    some = [
        record("crossflow", seed, 0.5 + 0.1 * lr, config={"training": {"lr": lr, "beta": 1}})
        for lr in (0.1, 0.2)
        for seed in (0, 1)
    ]
    (board,) = boards([*some, record("regression", value=0.4), record("floor", value=0.9)])
    labels = charts.variants(board)
    said = drawn(lambda: charts.ablation(board, labels))
    assert "crossflow: lr=0.1" in said and "crossflow: lr=0.2" in said
    assert "beta" not in said and "regression" in said and "floor" in said
    (board,) = boards([record("crossflow"), record("regression")])
    assert charts.variants(board) == {}


def test_an_arm_with_options_looks_like_its_method(record):
    given = {"arm": {"cf_sin": {"method": "crossflow", "path": "sin_cos"}}}
    (board,) = boards([record("crossflow"), record("cf_sin", config=given)])
    assert charts.variants(board).keys() == {"crossflow", "cf_sin"}
    looks = {arm.name: charts._look(arm) for arm in board.arms}
    assert looks["cf_sin"].colour == looks["crossflow"].colour
    assert looks["cf_sin"].dashes != looks["crossflow"].dashes


def test_quality_against_evaluations_and_guidance(record, tmp_path):
    some = [record("crossflow"), record("flow_matching")]
    put_curves(tmp_path, some)
    (board,) = boards(some)
    said = drawn(lambda: charts.sampling(board, curves.curves(some, tmp_path)))
    assert "network evaluations" in said and "guidance weight" in said and "over items" in said


def test_losses_of_two_arms_never_share_axes(record, tmp_path):
    some = [record("crossflow"), record("flow_matching")]
    put_curves(tmp_path, some)
    (board,) = boards(some)
    frame = curves.losses(some, tmp_path)
    assert "not to be compared" in drawn(lambda: charts.losses(board, frame))
    with style.styled():
        panels = charts.losses(board, frame).axes
    colours = [{line.get_color() for line in axes.lines} - {"#777777"} for axes in panels]
    assert colours == [{"#D55E00"}, {"#0072B2"}]


def test_quick_records_are_marked_in_every_figure(record, tmp_path):
    quick = {"config": {"quick": True}, "fair": {"rules": {"quick": True}}}
    some = [record("crossflow", **quick)]
    put_curves(tmp_path, some)
    put_samples(tmp_path, some)
    plans = [*figures.chart_plans(some, tmp_path), *figures.picture_plans(some, tmp_path)]
    assert [plan.name.split("-")[-1] for plan in plans] == ["sampling", "losses", "samples"]
    assert all(style.QUICK in drawn(plan.draw) for plan in plans)
    beside = figures.chart_plans([*some, record("crossflow")], tmp_path)
    assert not any("quick" in plan.name for plan in beside), "others say more"


def test_looks_are_fixed_and_differ_among_our_methods():
    ours = {style.look(name) for name in registry.methods() if name not in registry.BOUNDS}
    assert len(ours) == len({look.colour for look in ours})
    assert style.look("somebody's") == style.look("somebody's")
    variant = style.look("crossflow#12ab")
    assert variant.colour == style.look("crossflow").colour == "#0072B2"
    assert variant.dashes != style.look("crossflow").dashes


def depth_rows():
    truth = [np.full((6, 8), 1.0 + n, np.float32) for n in range(3)]
    truth[0][0, 0] = 0
    ids = ["a", "b", "c"]
    source = [np.full((6, 8, 3), 90, np.uint8)] * 3
    return {
        "source": Samples("picture", ids, source),
        "truth": Samples("depth", ids, truth),
        "crossflow": Samples("depth", ids[:2], [2 * depth for depth in truth[:2]]),
    }


def test_depth_grid_has_one_range_and_an_error_map():
    said = drawn(lambda: pictures.grid("depth_tabletop", depth_rows(), quick=False))
    for words in ("source", "truth", "crossflow", "error", "depth from 1 m (bright) to 2 m"):
        assert words in said
    with style.styled():
        figure = pictures.grid("depth_tabletop", depth_rows(), quick=False)
    assert sum(bool(axes.images) for axes in figure.axes) == 4 * 2, "two common items, four rows"
    errors = pictures.errors(np.array([[2.0, 0.0]]), np.array([[1.0, 1.0]]))
    assert errors[0, 1].tolist() == [128] * 3, "not measured"
    assert errors[0, 0].tolist() == [253, 231, 37], "an error of 100 % is the end of the colours"
    with pytest.raises(InputError, match="stands beside a truth"):
        pictures.errors(np.ones((3, 4)), np.ones((6, 8)))


def test_captions_are_drawn_as_they_are_written():
    ids, hostile = ["1", "2"], ["costs $5 \\frac{ </script>", "猫 " + "very " * 200]
    picture = Samples("picture", ids, [np.full((8, 8, 3), 200, np.uint8)] * 2)
    words = Samples("text", ids, hostile)
    rows = {"source": words, "truth": picture, "an_arm": picture}
    said = drawn(lambda: pictures.grid("t2i_tabletop", rows, False))
    assert "costs $5" in said and "caption" in said and "□" in said and "…" in said
    rows = {"source": picture, "truth": words, "an_arm": words}
    assert "an arm" in drawn(lambda: pictures.grid("caption_tabletop", rows, False))


def test_the_command_writes_what_there_is_to_show(tmp_path, record, capsys):
    some = [record("floor", value=0.9)] + [
        record(budget=spent(limit), fair={"budget_limit": limit}, config={"budget": limit})
        for limit in (2e13, 4e13)
    ]
    for one in some:
        records.write(one, tmp_path)
    put_curves(tmp_path, some)
    put_samples(tmp_path, some)
    assert command.main(["figures", "--out", str(tmp_path)]) == 0
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        *(f"answer.{ending}" for ending in ("pdf", "png", "svg")),
        *(f"depth_tabletop-T-budget.{ending}" for ending in ("pdf", "svg")),
        *(
            f"depth_tabletop-T-{limit}-flops-{kind}.{ending}"
            for limit in ("2e13", "4e13")
            for kind in ("sampling", "losses", "samples")
            for ending in ("pdf", "png" if kind == "samples" else "svg")
        ),
    }
    (tmp_path / "samples" / "depth_tabletop" / f"{some[1].run_id}.png").unlink()
    capsys.readouterr()
    names = [plan.name for plan in figures.picture_plans(some, tmp_path)]
    assert names == ["depth_tabletop-T-4e13-flops-samples"]
    assert f"no samples of {some[1].run_id}" in capsys.readouterr().err


def test_records_in_any_order_and_another_process_give_equal_bytes(tmp_path, record):
    some = [record("floor", value=0.9), record()]
    for one in some:
        records.write(one, tmp_path)
    put_curves(tmp_path, some)
    put_samples(tmp_path, some)
    made = figures.files(some, tmp_path)
    assert list(made.items()) == list(figures.files(some[::-1], tmp_path).items())
    (tmp_path / "rc").write_text("font.size: 20\nfigure.facecolor: red\n")
    environment = os.environ | {"PYTHONHASHSEED": "7", "MATPLOTLIBRC": str(tmp_path / "rc")}
    arguments = [sys.executable, "-m", "benchmarks.report", "figures", "--out", str(tmp_path)]
    subprocess.run(arguments, check=True, env=environment, capture_output=True, timeout=300)
    for name, content in made.items():
        content = content.encode() if isinstance(content, str) else content
        assert (tmp_path / name).read_bytes() == content, name


def blended(out, record):
    """A run with strips of two pairs and two sums, the second cut short."""
    one = record("crossflow", task="t2i_tabletop")
    picture = np.full((8, 8, 3), 120, np.uint8)
    strip = [f"{a}~{b}@{k / 7:.3f}" for a, b in (("10", "21"), ("32", "43")) for k in range(8)]
    samples.write(out, one.task, f"{one.run_id}-interpolation", strip, [picture] * 16)
    texts = ("a red cube", "a red object", "a <b> object", "a blue cube")
    four = [f"0 {role}: {text}" for role, text in zip(samples.ROLES, texts, strict=True)]
    samples.write(out, one.task, f"{one.run_id}-arithmetic", [*four, "1 start: x"], [picture] * 5)
    captions = ["a red cube", "two blue cones", "one cyan sphere", "an $x$ object"]
    ids = ["10", "21", "32", "43"]
    samples.write(out, one.task, f"source-{one.score_key}", ids, captions)
    for row in (one.run_id, f"truth-{one.score_key}"):
        samples.write(out, one.task, row, ids, [picture] * 4)
    return one


def test_strips_and_sums_have_their_captions(tmp_path, record):
    one = blended(tmp_path, record)
    _, strips, sums = figures.picture_plans([one], tmp_path)
    assert strips.name.endswith("-interpolation-crossflow")
    said = drawn(strips.draw)
    assert all(text in said for text in ("a red cube", "two blue cones", "an $x$ object"))
    said = drawn(sums.draw)
    assert all(w in said for w in ("a red cube", "- a red object", "+ a <b> object", "= a blue"))
    with style.styled():
        assert len(sums.draw().axes) == 4, "a sum that was cut short is not drawn"


def test_a_hostile_score_name_stays_text_in_the_svg(record, tmp_path):
    name = '<script>"x"</script> style="a: b"'
    one = record(value={name: 0.5}, score={"primary": name})
    (plan,) = figures.chart_plans([one], tmp_path)
    with style.styled():
        svg = style.svg(plan.title, plan.draw())
    assert "<script" not in svg and not re.search(r"<[^>]* style=", svg)
