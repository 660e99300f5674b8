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
from benchmarks.report import answer, command, figures
from benchmarks.report.figures import charts, pictures
from benchmarks.report.rows import Row, boards
from benchmarks.report.tables import QUICK
from crossflow.errors import InputError


def spent(limit):
    cost = {"limit": limit, "train_flops": limit, "samples": 640}
    return records.Budget(kind="flops", steps=10, convention="2 a MAC", **cost)


@pytest.fixture
def field(record):
    """Two budgets, two sizes, two methods, three seeds, floor and oracle; no curves."""
    made = [record("floor", value=0.9), record("oracle", value=0.1)]
    for method, gain in (("crossflow", 0.0), ("flow_matching", 0.03)):
        for seed in range(3):
            for limit, size in ((2e13, "T"), (4e13, "T"), (2e13, "S")):
                one = record(
                    method,
                    seed,
                    0.6 + gain + 0.01 * seed - 0.1 * (limit > 3e13) - 0.05 * (size == "S"),
                    config={"model": size, "budget": {"flops": limit}},
                    fair={"budget_limit": limit, "model": size},
                    budget=spent(limit),
                )
                network = {"size": size, "params": 3_000_000 if size == "T" else 12_000_000}
                model = one.model.model_copy(update=network)
                made.append(one.model_copy(update={"model": model}))
    return made


def drawn(figure):
    """What a figure says; fails where it cannot be written."""
    from matplotlib.text import Text

    pdf, png, svg = (figures.image(figure, ending) for ending in ("pdf", "png", "svg"))
    assert pdf.startswith(b"%PDF") and b"CreationDate" not in pdf and b"FontFile2" in pdf
    with Image.open(io.BytesIO(png)) as image:
        assert (np.asarray(image)[..., :3] < 128).any()
    ElementTree.fromstring(svg)
    assert not re.search(rb'd="[^"]*\.\d{3}', svg), "two decimals"
    return " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())


@pytest.fixture(autouse=True)
def styled():
    with figures.styled():
        yield


def charts_of(some, out):
    return {name: figure for name, _, figure in figures.chart_figures(some, out)}


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
    for name in samples.ENDS:
        row = f"{name}-{some[0].score_key}"
        samples.write(out, "depth_tabletop", row, rows[name].ids, rows[name].cells)
    for one in some:
        samples.write(out, one.task, one.run_id, rows["truth"].ids, rows["truth"].cells)


def test_the_answer_has_a_panel_a_task_from_floor_to_oracle(field, record):
    figure = charts.overview(answer.questions([*field, record(task="sr_tabletop")]))
    words = drawn(figure)
    for part in ("Depth, tabletop (absrel)", "Super-resolution", "floor", "oracle", "3 seeds"):
        assert part in words
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    heights = sorted(y for line in lines for y in line.get_ydata())
    assert len(heights) == 12, "two arms, two budgets, three seeds each"
    assert heights[0] == pytest.approx((0.65 - 0.9) / (0.1 - 0.9)), "from 0 at the floor"


def test_panels_of_the_answer_share_their_heights(record):
    some = [record("floor", value=0.5), record("oracle", value=0.1)]
    some += [record(value=0.9), record("floor", value=0.9, task="sr_tabletop", run_id="f")]
    some += [record("oracle", value=0.1, task="sr_tabletop", run_id="o")]
    some.append(record(value=0.5, task="sr_tabletop", run_id="r"))
    figure = charts.overview(answer.questions(some))
    figure.draw_without_rendering()
    first, second = (axes.get_ylim() for axes in figure.axes)
    assert first == second and first[0] < -1 and first[1] > 1, "all marks and both bounds"


def test_budgets_that_differ_in_more_are_not_joined(record):
    some = [
        record(fair={"budget_limit": limit} | more, budget=spent(limit), run_id=f"r{limit:.0f}")
        for limit, more in ((1e13, {}), (2e13, {}), (4e13, {"rules": {"data": 2}}))
    ]
    axes = charts.overview(answer.questions(some)).axes[0]
    lines = [len(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "-"]
    assert sorted(length for length in lines if length) == [1, 2]


def test_score_against_size(field, tmp_path):
    made = charts_of(field, tmp_path)
    assert list(made) == ["answer", "depth_tabletop-S-2e13-flops-size"]
    words = drawn(made["depth_tabletop-S-2e13-flops-size"])
    for part in ("parameters at inference", "absrel_object ↓", "3 seeds an arm", "S and T"):
        assert part in words
    assert QUICK not in words


def test_arms_whose_seconds_are_worth_nothing_are_not_drawn(field):
    for place, one in enumerate(field):
        if one.fair_key:
            budget = one.budget.model_copy(update={"kind": "device_seconds"})
            host = {"clock": "invalid: clock"} if one.method == "crossflow" else {}
            volatile = one.volatile.model_copy(update={"host": host})
            field[place] = one.model_copy(update={"budget": budget, "volatile": volatile})
    some = [board for board in boards(field) if board.first.model.size == "T"]
    assert [row.name for board in some for row, _ in charts._scores(board)] == ["flow_matching"] * 2


def test_an_arm_with_options_looks_like_its_method(record):
    given = {"arm": {"cf_sin": {"method": "crossflow", "path": "sin_cos"}}}
    (board,) = boards([record("crossflow"), record("cf_sin", config=given)])
    looks = {arm.name: charts.look(arm) for arm in board.arms}
    assert looks["cf_sin"]["color"] == looks["crossflow"]["color"]
    assert looks["cf_sin"]["linestyle"] != looks["crossflow"]["linestyle"]


def test_sweeps_and_losses(record, tmp_path):
    some = [record("crossflow"), record("flow_matching")]
    put_curves(tmp_path, some)
    _, sampling, losses = charts_of(some, tmp_path).values()
    words = drawn(sampling)
    assert "network evaluations" in words and "guidance weight" in words and "over items" in words
    assert "not to be compared" in drawn(losses)
    colours = [{line.get_color() for line in axes.lines} for axes in losses.axes]
    assert colours == [{"#D55E00"}, {"#0072B2"}], "losses of two arms never share axes"


def test_quick_records_are_marked_in_every_figure(record, tmp_path):
    quick = {"config": {"quick": True}, "fair": {"rules": {"quick": True}}}
    some = [record("crossflow", **quick)]
    put_curves(tmp_path, some)
    put_samples(tmp_path, some)
    made = [*figures.chart_figures(some, tmp_path), *figures.picture_figures(some, tmp_path)]
    assert [name.split("-")[-1] for name, *_ in made] == ["sampling", "losses", "samples"]
    assert all(QUICK in drawn(figure) for *_, figure in made)
    beside = charts_of([*some, record("crossflow")], tmp_path)
    assert not any("quick" in name for name in beside), "others say more"


def test_looks_are_fixed_and_differ_among_our_methods(record):
    def look(method, name=""):
        return charts.look(Row(name or method, "arm", [record(method)]))

    ours = [look(name) for name in registry.methods() if name not in registry.BOUNDS]
    assert len(ours) == len({one["color"] for one in ours})
    assert look("somebody") == look("somebody")
    assert look("crossflow", "crossflow#12ab")["color"] == look("crossflow")["color"] == "#0072B2"
    assert look("crossflow", "crossflow#12ab")["linestyle"] != look("crossflow")["linestyle"]


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
    rows = depth_rows()
    figure = pictures.grid("depth_tabletop", rows, quick=False)
    words = drawn(figure)
    for part in ("source", "truth", "crossflow", "error", "depth from 1 m (bright) to 2 m"):
        assert part in words
    assert sum(bool(axes.images) for axes in figure.axes) == 4 * 2, "two common items, four rows"
    errors = pictures.errors(np.array([[2.0, 0.0]]), np.array([[1.0, 1.0]]))
    assert errors[0, 1].tolist() == [128] * 3, "not measured"
    assert errors[0, 0].tolist() == [253, 231, 37], "an error of 100 % is the end of the colours"
    rows["crossflow"] = Samples("depth", ["d"], rows["truth"].cells[:1])
    with pytest.raises(InputError, match="depth_tabletop: the samples have no item in common"):
        pictures.grid("depth_tabletop", rows, quick=False)


def test_captions_are_drawn_as_they_are_written():
    ids, hostile = ["1", "2"], ["costs $5 \\frac{ </script>", "very " * 200]
    picture = Samples("picture", ids, [np.full((8, 8, 3), 200, np.uint8)] * 2)
    words = Samples("text", ids, hostile)
    rows = {"source": words, "truth": picture, "an_arm": picture}
    words_of = drawn(pictures.grid("t2i_tabletop", rows, False))
    assert "costs $5" in words_of and "caption" in words_of and "…" in words_of
    rows = {"source": picture, "truth": words, "an_arm": words}
    assert "an arm" in drawn(pictures.grid("caption_tabletop", rows, False))


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
        *(
            f"depth_tabletop-T-{limit}-flops-{kind}.{ending}"
            for limit in ("2e13", "4e13")
            for kind in ("sampling", "losses", "samples")
            for ending in ("pdf", "png" if kind == "samples" else "svg")
        ),
    }
    (tmp_path / "samples" / "depth_tabletop" / f"{some[1].run_id}.png").unlink()
    capsys.readouterr()
    names = [name for name, *_ in figures.picture_figures(some, tmp_path)]
    assert names == ["depth_tabletop-T-4e13-flops-samples"]
    assert f"no samples of {some[1].run_id}" in capsys.readouterr().err


def test_figures_of_one_name_are_told_apart(tmp_path, record):
    some = [record(), record(fair={"rules": {"data": 2}}, run_id="other")]
    put_curves(tmp_path, some)
    names = [name for name in figures.files(some, tmp_path) if "sampling" in name]
    later = max(one.fair_key for one in some)
    assert [name for name in names if later in name] == names[2:] and len(names) == 4


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
        assert (tmp_path / name).read_bytes() == content, name


def test_strips_and_sums_have_their_captions(tmp_path, record):
    """Strips of two pairs and two sums, the second cut short."""
    one = record("crossflow", task="t2i_tabletop")
    picture = np.full((8, 8, 3), 120, np.uint8)
    strip = [f"{a}~{b}@{k / 7:.3f}" for a, b in (("10", "21"), ("32", "43")) for k in range(8)]
    samples.write(tmp_path, one.task, f"{one.run_id}-interpolation", strip, [picture] * 16)
    texts = ("a red cube", "a red object", "a <b> object", "a blue cube")
    four = [f"0 {role}: {text}" for role, text in zip(samples.ROLES, texts, strict=True)]
    row = f"{one.run_id}-arithmetic"
    samples.write(tmp_path, one.task, row, [*four, "1 start: x"], [picture] * 5)
    captions = ["a red cube", "two blue cones", "one cyan sphere", "an $x$ object"]
    ids = ["10", "21", "32", "43"]
    samples.write(tmp_path, one.task, f"source-{one.score_key}", ids, captions)
    for row in (one.run_id, f"truth-{one.score_key}"):
        samples.write(tmp_path, one.task, row, ids, [picture] * 4)
    _, strips, sums = figures.picture_figures([one], tmp_path)
    assert strips[0].endswith("-interpolation-crossflow")
    words = drawn(strips[2])
    assert all(text in words for text in ("a red cube", "two blue cones", "an $x$ object"))
    words = drawn(sums[2])
    assert all(w in words for w in ("start: a red cube", "plus: a <b> object", "sum: a blue"))
    assert len(sums[2].axes) == 8, "a sum that was cut short is not drawn"
