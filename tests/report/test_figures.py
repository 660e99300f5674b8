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
from benchmarks.report import answer, figures
from benchmarks.report.figures import charts, pictures
from benchmarks.report.rows import Row, boards
from benchmarks.report.tables import QUICK
from crossflow.errors import InputError


def spent(limit):
    cost = {"limit": limit, "train_flops": limit, "samples": 640, "steps": 10}
    return records.Budget(kind="flops", convention="2 a MAC", **cost)


@pytest.fixture
def field(record):
    """Two budgets, two sizes, two methods, three seeds, floor and oracle; no curves."""
    made = [record("floor", value=0.9), record("oracle", value=0.1)]
    network = record().model
    for method, gain in (("crossflow", 0.0), ("flow_matching", 0.03)):
        for limit, size, better in ((2e13, "T", 0), (4e13, "T", 0.1), (2e13, "S", 0.05)):
            changes = {
                "config": {"model": size, "budget": {"flops": limit}},
                "fair": {"budget_limit": limit, "model": size},
                "budget": spent(limit),
                "model": network.model_copy(update={"size": size, "params": 1_000 * len(made)}),
            }
            values = [0.6 + gain + 0.01 * seed - better for seed in range(3)]
            made += [record(method, seed, v, **changes) for seed, v in enumerate(values)]
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


CURVE = {
    "sweep": ["steps", "steps", "guidance", "steps"], "guidance": [1.0, 1.0, 2.0, 1.0],
    "steps": [1, 2, 2, 4], "nfe": [1, 2, 4, 8], "metric": ["absrel_object"] * 4,
    "value": [0.1 + 0.2, 1 / 3, 0.3, None], "stderr": [0.1, None, 0.1, None], "n": [9] * 4,
}  # fmt: skip
LOSSES = {"steps": [1, 2], "samples": [8, 16], "loss": [2.0, 1.0], "flow": [1.0, 0.5]}


def put_curves(out, some):
    for one in some:
        if one.fair_key:
            write_items(out / "curves" / one.task / f"{one.run_id}.csv", CURVE)
            write_items(out / "curves" / one.task / f"{one.run_id}-losses.csv", LOSSES)


def put_samples(out, some):
    rows = depth_rows()
    files = {f"{name}-{some[0].score_key}": rows[name] for name in samples.ENDS}
    for row, held in (files | {one.run_id: rows["truth"] for one in some}).items():
        samples.write(out, "depth_tabletop", row, held.ids, held.cells)


def test_the_answer_has_a_panel_a_task_from_floor_to_oracle(field, record):
    figure = charts.overview(answer.questions([*field, record(task="sr_tabletop")]))
    words = drawn(figure)
    parts = ("Depth, tabletop (absrel_object)", "Super-resolution", "floor", "oracle", "3 seeds")
    assert all(part in words for part in parts)
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    heights = sorted(y for line in lines for y in line.get_ydata())
    assert len(heights) == 12, "two arms, two budgets, three seeds each"
    assert heights[0] == pytest.approx((0.65 - 0.9) / (0.1 - 0.9)), "from 0 at the floor"


def test_panels_of_the_answer_share_their_heights(record):
    values = {"depth_tabletop": (0.5, 0.1, 0.9), "sr_tabletop": (0.9, 0.1, 0.5)}
    names = ("floor", "oracle", "crossflow")
    some = [
        record(n, value=v, task=t) for t in values for n, v in zip(names, values[t], strict=True)
    ]
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
    parts = ("parameters at inference", "absrel_object ↓", "3 seeds an arm", "S and T")
    assert all(part in words for part in parts) and QUICK not in words


def test_arms_whose_seconds_are_worth_nothing_are_not_drawn(record):
    timed = spent(2e13).model_copy(update={"kind": "device_seconds"})
    slow = record().volatile.model_copy(update={"host": {"clock": "invalid: clock"}})
    some = [record(budget=timed, volatile=slow), record("flow_matching", budget=timed)]
    assert [row.name for row, _ in charts._scores(*boards(some))] == ["flow_matching"]


def test_curves_are_those_of_arms(tmp_path, record):
    some = [record(seed=seed) for seed in (0, 1)]
    (board,) = boards([*some, record("regression")])
    assert figures.arm_curves(board, tmp_path, "sampling") == []
    put_curves(tmp_path, some)
    ((arm, frame),) = figures.arm_curves(board, tmp_path, "sampling")
    assert arm.name == "crossflow" and set(frame["run_id"]) == {one.run_id for one in some}
    values = CURVE["value"][:3] * 2
    assert frame["value"].tolist() == pytest.approx(values), "without the rows that have none"
    ((_, frame),) = figures.arm_curves(board, tmp_path, "losses")
    assert frame[["samples", "loss"]].values.tolist() == [[8, 2.0], [16, 1.0]] * 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"sweep\nsteps\n", "the columns do not start with sweep,guidance"),
        (b"sweep,nfe\nsteps,many\n", "could not convert string to float"),
        (b"id,absrel\n1,2,3\n4\n\xff\xfe", "not a table"),
        (b"sweep,nfe\nsteps,1", "not a table of curves \\(the last line is cut off"),
    ],
)
def test_a_malformed_table_is_refused_by_name(tmp_path, record, content, reason):
    path = tmp_path / "curves" / "depth_tabletop" / f"{record().run_id}.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (board,) = boards([record()])
    with pytest.raises(InputError, match=f"{path}: .*{reason}"):
        figures.arm_curves(board, tmp_path, "sampling")


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
    def look(method, name="", **config):
        return charts.look(Row(name or method, "arm", [record(method, config=config)]))

    ours = [look(name) for name in registry.methods() if name not in registry.BOUNDS]
    assert len(ours) == len({one["color"] for one in ours})
    assert look("somebody") == look("somebody")
    given = {"cf_sin": {"method": "crossflow", "path": "sin_cos"}}
    for variant in (look("crossflow", "crossflow#12ab"), look("cf_sin", arm=given)):
        assert variant["color"] == look("crossflow")["color"] == "#0072B2"
        assert variant["linestyle"] != look("crossflow")["linestyle"]


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
    parts = ("source", "truth", "crossflow", "error", "depth from 1 m (bright) to 2 m")
    assert all(part in words for part in parts)
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
    shown = drawn(pictures.grid("t2i_tabletop", rows, False))
    assert "costs $5" in shown and "caption" in shown and "…" in shown
    rows = {"source": picture, "truth": words, "an_arm": words}
    assert "an arm" in drawn(pictures.grid("caption_tabletop", rows, False))


def test_any_order_and_another_process_give_equal_files(tmp_path, record, capsys):
    some = [record("floor", value=0.9)] + [
        record(budget=spent(limit), fair={"budget_limit": limit}, config={"budget": limit})
        for limit in (2e13, 4e13)
    ]
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
    written = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert {f"figures/{name}": content for name, content in written.items()} == made
    kinds = ["answer.pdf", "answer.png", "answer.svg"]
    for limit in ("2e13", "4e13"):
        for kind in ("losses.pdf", "losses.svg", "samples.pdf", "samples.png"):
            kinds.append(f"depth_tabletop-T-{limit}-flops-{kind}")
        kinds += [f"depth_tabletop-T-{limit}-flops-sampling.{ending}" for ending in ("pdf", "svg")]
    assert sorted(written) == kinds
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
