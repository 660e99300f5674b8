"""Figures: what is drawn, what is refused and why, that a method keeps its look, equal bytes."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.config import registry
from benchmarks.records import record as records
from benchmarks.records import samples
from benchmarks.records.record import write_items
from benchmarks.records.samples import Samples
from benchmarks.report import command
from benchmarks.report.figures import blends, charts, files, grids, points, style


def spent(limit, kind="flops", samples=640):
    return records.Budget(
        kind=kind, limit=limit, steps=10, samples=samples, train_flops=limit, convention="2 a MAC"
    )


@pytest.fixture
def field(record):
    """field(): two budgets, two sizes, two methods, three seeds, floor and oracle; no curves."""

    def make(**changes):
        own = {"config": changes.get("config", {})}
        found = [record("floor", value=0.9, **own), record("oracle", value=0.01, **own)]
        for method, gain in (("crossflow", 0.0), ("flow_matching", 0.03)):
            for seed in range(3):
                for limit, size in ((2e13, "T"), (4e13, "T"), (2e13, "S")):
                    value = 0.6 + gain + 0.01 * seed - 0.1 * (limit > 3e13) - 0.05 * (size == "S")
                    config = {"model": size, "budget": {"flops": limit}}
                    one = record(
                        method,
                        seed,
                        value,
                        config=config | changes.get("config", {}),
                        fair={"budget_limit": limit, "model": size} | changes.get("fair", {}),
                        budget=spent(limit, samples=int(limit / 1e9)),
                    )
                    network = one.model.model_copy(
                        update={"size": size, "params": 2_500_000 * (1 + 3 * (size == "S"))}
                    )
                    volatile = one.volatile.model_copy(update={"device_seconds": limit / 1e10})
                    found.append(one.model_copy(update={"model": network, "volatile": volatile}))
        return found

    return make


def group(frame, **fields):
    """The rows of one family, with floor and oracle."""
    import pandas as pd

    chosen = frame[frame["fair_key"].notna()]
    for name, value in fields.items():
        chosen = chosen[chosen[name] == value]
    return pd.concat([chosen, frame[frame["fair_key"].isna()]])


def curve_frame(record, arms=("crossflow", "flow_matching"), seeds=2, **changes):
    import pandas as pd

    rows = []
    for number, arm in enumerate(arms):
        for seed in range(seeds):
            one = record(arm, seed, **changes)
            common = {
                "run_id": one.run_id, "task": one.task, "fair_key": one.fair_key, "seed": seed,
                "model": "T", "budget_kind": "flops", "budget_limit": 2e13, "quick": one.quick,
                "arm": arm, "label": arm, "metric": "absrel_object", "better": "lower",
                "stderr": 0.02, "n": 200, "score_key": one.score_key,
            }  # fmt: skip
            for x in (1, 2, 4, 8):
                value = 0.5 / x + 0.1 * number + 0.01 * seed
                sweep = {"sweep": "steps", "steps": x, "nfe": 2 * x, "guidance": 1.0}
                rows.append(common | sweep | {"value": value})
                sweep = {"sweep": "guidance", "steps": 16, "nfe": 32, "guidance": float(x)}
                rows.append(common | sweep | {"value": value})
    return pd.DataFrame(rows)


def loss_frame(record, arms=("crossflow",)):
    import pandas as pd

    frame = curve_frame(record, arms)
    rows = frame[frame["sweep"] == "steps"]
    parts = [rows.assign(term=term, samples=rows["steps"] * 640) for term in ("loss", "flow")]
    return pd.concat(parts)


def texts_of(figure):
    from matplotlib.text import Text

    return " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())


def drawn(draw):
    """What a figure says; fails where it cannot be written."""
    with style.styled():
        said = texts_of(draw())
    pdf, png = style.files(draw)
    assert pdf.startswith(b"%PDF") and b"CreationDate" not in pdf
    assert b"/FontFile2" in pdf or b"FontFile2" in pdf
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image)
    assert image.width == pytest.approx(style.WIDTH * style.DPI, abs=2)
    assert (pixels[..., :3] < 128).any()
    return said


@pytest.mark.parametrize("x", points.SPENT)
def test_score_against_budget(field, x):
    frame = group(points.arms(field()), model="T")
    said = drawn(lambda: charts.budget(frame, x))
    for words in ("absrel_object ↓", charts.AXES[x], "crossflow", "flow_matching"):
        assert words in said
    assert "floor" in said and "oracle" in said
    assert "95 % interval of the mean over seeds (3)" in said
    assert style.QUICK not in said


def test_the_points_of_the_chart_are_those_of_the_leaderboard(field):
    frame = group(points.arms(field()), model="T")
    with style.styled():
        axes = charts.budget(frame, "flops").axes[0]
    (line,) = [one for one in axes.containers if one.get_label() == "crossflow"]
    assert line[0].get_xdata().tolist() == [2e13, 4e13]
    assert line[0].get_ydata().tolist() == pytest.approx([0.61, 0.51])
    across = {one.get_label(): set(one.get_ydata()) for one in axes.lines}
    assert (across["floor"], across["oracle"]) == ({0.9}, {0.01})


def test_score_against_size(field):
    frame = group(points.arms(field()), budget_limit=2e13)
    assert "parameters at inference" in drawn(lambda: charts.size(frame))


def test_ablation_names_the_settings_that_differ(record):
    variants = [
        record("crossflow", seed, 0.5 + 0.1 * lr, config={"training": {"lr": lr, "beta": 1}})
        for lr in (0.1, 0.2)
        for seed in (0, 1)
    ]
    frame = points.arms([*variants, record("regression", value=0.4), record("floor", value=0.9)])
    said = drawn(lambda: charts.ablation(frame))
    assert "crossflow: lr=0.1" in said and "crossflow: lr=0.2" in said
    assert "beta" not in said
    assert "regression" in said and "floor" in said


def test_quality_against_evaluations_and_guidance(record):
    frame = curve_frame(record)
    said = drawn(lambda: charts.evaluations(frame))
    assert "network evaluations" in said and "standard error over seeds (2)" in said
    said = drawn(lambda: charts.guidance(curve_frame(record, seeds=1)))
    assert "guidance weight" in said and "over 200 items" in said


def test_points_are_drawn_where_runs_were_measured(record):
    """Seeds that chose other guidance made other numbers of evaluations from equal steps."""
    frame = curve_frame(record, arms=("crossflow",))
    guided = (frame["sweep"] == "steps") & (frame["seed"] == 1)
    frame.loc[guided, "nfe"] = 4 * frame.loc[guided, "steps"]
    with style.styled():
        axes = charts.evaluations(frame).axes[0]
    assert list(axes.lines[0].get_xdata()) == [2, 4, 8, 16, 32]
    assert "standard error over seeds (1 to 2)" in drawn(lambda: charts.evaluations(frame))


@pytest.mark.parametrize(
    ("limit", "said"), [(2e14, "2×10¹⁴"), (1e6, "10⁶"), (1234561, "1234561"), (640, "640")]
)
def test_a_limit_is_written_exactly(limit, said):
    assert charts.limit({"budget_limit": limit, "budget_kind": "samples"}) == f"{said} samples"


def test_what_failed_runs_spent_is_not_drawn(field):
    floor, _, *rest = field()
    arm = [one for one in rest if one.method == "crossflow" and one.config["model"] == "T"]
    arm = [one for one in arm if one.budget.limit == 2e13]
    stopped = arm[0].budget.model_copy(update={"samples": 1, "train_flops": 1.0})
    failed = {"status": "failed", "scores": {}, "model": None, "budget": stopped}
    broken = [arm[0].model_copy(update=failed), *arm[1:], floor]
    after, before = (points.arms(several).iloc[0] for several in (broken, [*arm, floor]))
    for name in ("samples", "train_flops", "device_hours", "params"):
        assert after[name] == before[name]


def test_a_chart_has_the_floor_of_its_own_matches(record):
    records = []
    for name, limit, value in (("A", 2e13, 0.9), ("B", 4e13, 0.7)):
        config = {"model": "T", "budget": {"flops": limit}}
        one = record(match=name, config=config, fair={"budget_limit": limit}, budget=spent(limit))
        records += [one, record("floor", value=value, match=name, config=config)]
    frame = points.arms(records)
    floors = frame[frame["arm"] == "floor"]
    assert dict(zip(floors["beside"], floors["mean"], strict=True)) == {
        records[0].fair_key: 0.9,
        records[2].fair_key: 0.7,
    }
    grids_of = dict(files._groups(frame, "samples", "fair_key"))
    for part in grids_of.values():
        arm, floor = part.iloc[0], part.iloc[1:]
        assert list(floor["mean"]) == [0.9 if arm["budget_limit"] == 2e13 else 0.7]


def test_losses_are_of_one_arm(record):
    frame = loss_frame(record)
    assert "not to be compared" in drawn(lambda: charts.losses(frame))
    with pytest.raises(ValueError, match="of one arm only"):
        charts.losses(loss_frame(record, ("crossflow", "flow_matching")))


def test_quick_records_are_marked_in_every_chart(field, record):
    quick = {"config": {"quick": True}, "fair": {"rules": {"quick": True}}}
    frame = group(points.arms(field(**quick)), model="T")
    assert style.QUICK in drawn(lambda: charts.budget(frame, "samples"))
    frame = curve_frame(record, config={"quick": True})
    assert style.QUICK in drawn(lambda: charts.evaluations(frame))
    frame = loss_frame(record).assign(quick=True)
    assert style.QUICK in drawn(lambda: charts.losses(frame))
    assert style.QUICK in drawn(lambda: grids.grid("a_task", depth_rows(), quick=True))


def with_seconds(one, clock, device="gpu"):
    host = {"clock": clock}
    return one.model_copy(
        update={"volatile": one.volatile.model_copy(update={"host": host, "device": device})}
    )


def test_why_there_is_no_figure(field, record):
    frame = points.arms(field())
    reasons = [
        (lambda: charts.budget(group(frame, budget_limit=2e13, model="T"), "flops"), "one budget"),
        (lambda: charts.size(group(frame, model="T")), "one model size"),
        (lambda: charts.ablation(group(frame, model="T")), "no method ran in several variants"),
        (lambda: charts.guidance(curve_frame(record).query("sweep == 'steps'")), "no arm has a"),
        (lambda: charts.evaluations(curve_frame(record).query("steps == 1")), "one number of"),
        (lambda: charts.size(points.arms([record("floor")])), "no arm has the primary score"),
    ]
    invalid = [with_seconds(one, "invalid: clock") for one in field()]
    several = [with_seconds(one, "valid", f"gpu {one.seed % 2}") for one in field()]
    for some, reason in ((invalid, "invalid: clock"), (several, "several devices: gpu 0, gpu 1")):
        part = group(points.arms(some), model="T")
        reasons.append((lambda part=part: charts.budget(part, "device_hours"), reason))
    for draw, reason in reasons:
        with pytest.raises(style.NothingToShowError, match=reason):
            draw()


def test_arms_whose_seconds_are_worth_nothing_are_not_drawn(record):
    fair = {"budget_kind": "device_seconds", "device": "gpu", "devices": 1, "threads": 1}
    some = [
        with_seconds(
            record(fair=fair | {"budget_limit": limit}, budget=spent(limit, "device_seconds"),
                   config={"budget": {"device_seconds": limit}}),
            "invalid: clock",
        )
        for limit in (60.0, 120.0)
    ]  # fmt: skip
    with pytest.raises(style.NothingToShowError, match="budget of seconds, and invalid: clock"):
        charts.budget(points.arms(some), "samples")


def test_a_method_keeps_its_look_whichever_others_are_there(field):
    frame = group(points.arms(field()), model="T")
    alone = frame[frame["arm"] != "crossflow"]
    colours = []
    for part in (frame, alone):
        with style.styled():
            axes = charts.budget(part, "flops").axes[0]
        (line,) = [one for one in axes.containers if one.get_label() == "flow_matching"]
        colours.append((line[0].get_color(), line[0].get_marker()))
    assert colours[0] == colours[1] == ("#D55E00", "s")


def test_looks_are_fixed_and_differ_among_our_methods():
    ours = {style.look(name) for name in registry.methods() if name not in registry.BOUNDS}
    assert len(ours) == len(set(registry.methods()) - set(registry.BOUNDS))
    assert len({look.colour for look in ours}) == len(ours)
    assert style.look("somebody's") == style.look("somebody's")
    variant = style.look("crossflow#12ab")
    assert variant.colour == style.look("crossflow").colour
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
    said = drawn(lambda: grids.grid("depth_tabletop", depth_rows(), quick=False))
    for words in ("source", "truth", "crossflow", "error", "depth (m)", "|error| / truth"):
        assert words in said
    with style.styled():
        figure = grids.grid("depth_tabletop", depth_rows(), quick=False)
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(shown) == 4 * 2, "two common items in four rows"
    errors = grids._errors(np.array([[2.0, 0.0]]), np.array([[1.0, 1.0]]))
    assert errors[0, 1].tolist() == [128] * 3, "not measured"
    assert errors[0, 0].tolist() == [253, 231, 37], "an error of 100 % is the end of the colours"


def test_maps_of_another_size_are_no_grid():
    rows = depth_rows()
    rows["crossflow"] = Samples("depth", ["a"], [np.ones((3, 4), np.float32)])
    with pytest.raises(style.NothingToShowError, match="stands beside a truth"):
        grids.grid("depth_tabletop", rows, quick=False)


def test_captions_are_drawn_as_they_are_written():
    ids, hostile = ["1", "2"], ["costs $5 \\frac{ </script>", "猫 " + "very " * 200]
    picture = Samples("picture", ids, [np.full((8, 8, 3), 200, np.uint8)] * 2)
    words = Samples("text", ids, hostile)
    rows = {"source": words, "truth": picture, "an_arm": picture}
    said = drawn(lambda: grids.grid("t2i_tabletop", rows, False))
    assert "costs $5" in said and "caption" in said and "□" in said and "…" in said
    rows = {"source": picture, "truth": words, "an_arm": words}
    assert "an arm" in drawn(lambda: grids.grid("caption_tabletop", rows, False))


def put_everything(out, records_of):
    for one in records_of:
        records.write(one, out)
        if one.fair_key is None:
            continue
        curve = {
            "sweep": ["steps"] * 2, "guidance": [1.0] * 2, "steps": [1, 2], "nfe": [1, 2],
            "metric": ["absrel_object"] * 2, "value": [0.5, 0.4], "stderr": [0.1] * 2, "n": [9] * 2,
        }  # fmt: skip
        folder = out / "curves" / one.task
        write_items(folder / f"{one.run_id}.csv", curve)
        losses = {"steps": [1, 2], "samples": [8, 16], "loss": [2.0, 1.0], "flow": [1.0, 0.5]}
        write_items(folder / f"{one.run_id}-losses.csv", losses)
    rows = depth_rows()
    score_key = records_of[0].score_key
    for name, row in (("source", f"source-{score_key}"), ("truth", f"truth-{score_key}")):
        samples.write(out, "depth_tabletop", row, rows[name].ids, rows[name].cells)
    for one in records_of:
        samples.write(out, one.task, one.run_id, rows["truth"].ids, rows["truth"].cells)


def two_budgets(record):
    return [record("floor", value=0.9)] + [
        record(budget=spent(limit), fair={"budget_limit": limit}, config={"budget": limit})
        for limit in (2e13, 4e13)
    ]


def test_the_command_draws_and_says_what_it_did_not(tmp_path, record, capsys):
    put_everything(tmp_path, two_budgets(record))
    assert command.main(["figures", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    for name in (
        "depth_tabletop-budget_samples",
        "depth_tabletop-budget_flops",
        "depth_tabletop-evaluations-T-2e13-flops",
        "depth_tabletop-losses-T-4e13-flops-crossflow",
        "depth_tabletop-samples-T-2e13-flops",
    ):
        assert {f"{name}.pdf", f"{name}.png"} <= names
    assert "not drawn: depth_tabletop-size" in printed.err
    assert "-budget_device_hours: device_hours is not in all records" in printed.err
    assert "losses" not in printed.err


def test_absent_samples_are_named(tmp_path, record, capsys):
    some = [record(), record("regression")]
    put_everything(tmp_path, some)
    for path in tmp_path.glob("curves/*/*"):
        path.unlink()
    (tmp_path / "samples" / "depth_tabletop" / f"{some[1].run_id}.png").unlink()
    found = files.files(some, tmp_path)
    assert f"drawn without samples of {some[1].run_id}" in capsys.readouterr().err
    assert set(found) == {f"figures/depth_tabletop-samples.{ending}" for ending in ("pdf", "png")}
    (tmp_path / "samples" / "depth_tabletop" / f"source-{some[0].score_key}.png").unlink()
    assert files.files(some, tmp_path) == {}
    assert f"no samples of source-{some[0].score_key}" in capsys.readouterr().err


def test_records_in_any_order_and_another_process_give_equal_bytes(tmp_path, record):
    some = [record("floor", value=0.9), record()]
    put_everything(tmp_path, some)
    one = files.files(some, tmp_path)
    assert len(one) == 3 * 2
    assert list(one.items()) == list(files.files(some[::-1], tmp_path).items())
    (tmp_path / "rc").write_text("font.size: 20\nfigure.facecolor: red\n")
    environment = os.environ | {"PYTHONHASHSEED": "7", "MATPLOTLIBRC": str(tmp_path / "rc")}
    arguments = [sys.executable, "-m", "benchmarks.report", "figures", "--out", str(tmp_path)]
    subprocess.run(arguments, check=True, env=environment, capture_output=True, timeout=300)
    for name, content in one.items():
        assert (tmp_path / name).read_bytes() == content, name


def blended(out, record):
    """A run with strips of two pairs and two sums, the second cut short."""
    one = record("crossflow", task="t2i_tabletop")
    records.write(one, out)
    picture = np.full((8, 8, 3), 120, np.uint8)
    strip = [f"{a}~{b}@{k / 7:.3f}" for a, b in (("10", "21"), ("32", "43")) for k in range(8)]
    samples.write(out, one.task, f"{one.run_id}-interpolation", strip, [picture] * 16)
    texts = ("a red cube", "a red object", "a <b> object", "a blue cube")
    four = [f"0 {role}: {text}" for role, text in zip(samples.ROLES, texts, strict=True)]
    samples.write(out, one.task, f"{one.run_id}-arithmetic", [*four, "1 start: x"], [picture] * 5)
    return one


def test_strips_have_the_captions_of_their_ends(tmp_path, record, capsys):
    one = blended(tmp_path, record)
    assert command.main(["figures", "--out", str(tmp_path)]) == 0
    assert "interpolation-crossflow: no samples of the captions" in capsys.readouterr().err
    captions = ["a red cube", "two blue cones", "one cyan sphere", "an $x$ object"]
    ids = ["10", "21", "32", "43"]
    samples.write(tmp_path, one.task, f"source-{one.score_key}", ids, captions)
    assert command.main(["figures", "--out", str(tmp_path)]) == 0
    assert sorted(p.name for p in (tmp_path / "figures").glob("*interpolation*")) == [
        "t2i_tabletop-interpolation-crossflow.pdf",
        "t2i_tabletop-interpolation-crossflow.png",
    ]
    path = samples.path_of(tmp_path, one.task, f"{one.run_id}-interpolation")
    kept = samples.read(path)
    said = drawn(lambda: blends.strips("t", kept, Samples("text", ids, captions), False))
    assert all(caption in said for caption in captions)
    with pytest.raises(style.NothingToShowError, match="no caption of 43"):
        blends.strips("t", kept, Samples("text", ids[:3], captions[:3]), False)


def test_sums_say_what_each_cell_should_show(tmp_path, record):
    one = blended(tmp_path, record)
    kept = samples.read(samples.path_of(tmp_path, one.task, f"{one.run_id}-arithmetic"))
    said = drawn(lambda: blends.sums("t", kept, True))
    assert all(w in said for w in ("a red cube", "- a red object", "+ a <b> object", "= a blue"))
    assert style.QUICK in said
    with style.styled():
        figure = blends.sums("t", kept, True)
    assert len(figure.axes) == 4, "a sum that was cut short is not drawn"
