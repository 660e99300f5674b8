"""Real depth from the list file to the record; wrong data: one line that names it, status 2."""

import shutil

import numpy as np
import pytest
from PIL import Image

from benchmarks import evaluate, prepare, run
from benchmarks.config import command
from benchmarks.data.depth_frames import NYU
from benchmarks.data.predictions import write_depth
from benchmarks.records import keys
from benchmarks.records import record as records
from tests.fixtures.depth import write_depth_png


def test_nyu(bench_data, match, scored_again):
    data = ["task=depth_nyu", f"task.root={bench_data / 'roots' / 'nyu'}", "task.limit=5"]
    found = match(*data, "task.size=24")
    assert set(found) == {"floor", "oracle", "regression", "flow_matching", "crossflow"}
    # A truth of 24 rows, enlarged to 480, loses the edges of things and little else.
    assert found["oracle"].scores["absrel"].value < 0.05
    assert found["floor"].scores["absrel"].value > 0.2
    for record in found.values():
        assert record.scores["absrel"].n == 5
    scored_again(found["crossflow"], *data)


def test_rows_with_and_without_the_flip_test_are_never_mixed(make_labeled, tmp_path, match):
    root, _, _ = make_labeled(tmp_path / "mat")
    fields = ["task=depth_nyu", f"task.root={root}", "task.layout=labeled", "task.size=24"]
    fields += ["methods=regression"]
    match(*fields)
    match(*fields, "task.flip_test=true")
    found = [r for r in records.read_all(tmp_path / "out") if r.method == "regression"]
    plain, flipped = sorted(found, key=lambda record: record.model.nfe)
    assert (plain.model.nfe, flipped.model.nfe) == (1, 2)
    assert plain.model.solver is flipped.model.solver is None, "one pass, whatever the count"
    assert flipped.model.sample_flops == 2 * plain.model.sample_flops
    assert plain.score_key != flipped.score_key
    assert plain.fair_key != flipped.fair_key
    assert "options.flip_test: False / True" in keys.differing(plain.fair.score, flipped.fair.score)
    assert flipped.fair.fair["largest_nfe"] == 2 * plain.fair.fair["largest_nfe"]
    assert plain.scores["absrel"].value != flipped.scores["absrel"].value


def test_tasks_that_do_not_know_the_flip_test_refuse_it(capsys):
    assert command.run(run.job, ["task=sr_tabletop", "task.flip_test=true"], command="run") == 2
    assert "task.flip_test=True" in capsys.readouterr().err


def make_nyu(root):
    """A root in BTS's layout: four training scenes, two test frames of 48 x 64."""
    random = np.random.default_rng(0)
    for split, names in (("train", "abcd"), ("test", "xy")):
        list_name, folder = NYU.lists[0].format(split), NYU.folders[split]
        lines = []
        for name in names:
            image, depth = f"{name}/rgb_1.jpg", f"{name}/sync_depth_1.png"
            (root / folder / name).mkdir(parents=True)
            picture = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(picture).save(root / folder / image)
            write_depth_png(root / folder / depth, random.uniform(1, 9, (48, 64)))
            lines.append(f"{image} {depth} 518.8579")
        (root / list_name).write_text("\n".join(lines))
    return root


@pytest.fixture
def root(tmp_path):
    return make_nyu(tmp_path / "nyu")


@pytest.fixture
def wrong(root, refused):
    """wrong(job, *fields) -> the line that says what is wrong with the data."""
    return lambda job, *fields: refused(job, "task=depth_nyu", f"task.root={root}", *fields)


def predict(tmp_path, change=lambda depth: depth):
    """The fields of an evaluation of constant depth; `change` is made to the first map."""
    for name in "xy":
        depth = np.full((48, 64), 3, np.float32)
        write_depth(tmp_path / "made", f"{name}/rgb_1", change(depth) if name == "x" else depth)
    return [f"predictions={tmp_path / 'made'}", "name=x"]


def test_a_missing_list(root, wrong):
    for split, job in (("train", prepare.job), ("test", evaluate.job)):
        path = root / NYU.lists[0].format(split)
        path.unlink()
        assert path.name in wrong(job, *(["predictions=."] if split == "test" else []))


def test_a_truncated_depth_map(root, wrong, tmp_path):
    path = root / "official_splits/test/x/sync_depth_1.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said = wrong(evaluate.job, *predict(tmp_path))
    assert str(path) in said and "truncated" in said


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_a_prediction_that_is_not_finite_or_negative(root, wrong, tmp_path, value):
    def spoil(depth):
        depth[-1, 3] = value
        return depth

    fields = predict(tmp_path, spoil)
    said = wrong(evaluate.job, *fields)
    assert "1 of" in said and "task.nonfinite=bts" in said
    fields += ["task=depth_nyu", f"task.root={root}", "task.nonfinite=bts"]
    assert command.run(evaluate.job, fields, command="evaluate") == 0


def test_predictions_of_the_flows_size_from_elsewhere(wrong, tmp_path):
    """Only our own run may hand maps of the flow's size to the scorer; files may not."""
    fields = predict(tmp_path, lambda depth: np.full((96, 128), 3, np.float32))
    assert "another size" in wrong(evaluate.job, *fields)


def test_scored_frames_are_not_trained_on(root, wrong):
    """A training list that holds frames of the test list."""
    shutil.copytree(root / "official_splits/test/x", root / "sync/x")
    listed = root / NYU.lists[0].format("train")
    listed.write_text(f"{listed.read_text()}\nx/rgb_1.jpg x/sync_depth_1.png 518.8579")
    said = wrong(prepare.job)
    assert "1 frames are scored and in the training split too: x/rgb_1" in said
    # scoring alone trains on nothing
    assert wrong(evaluate.job, "predictions=none", "name=x").endswith("no such folder")


def test_one_drive_or_scene_gives_no_validation(root, wrong):
    listed = root / NYU.lists[0].format("train")
    listed.write_text(listed.read_text().splitlines()[0])
    assert "give at least two" in wrong(prepare.job)


def test_a_training_map_without_a_measurement(root, wrong):
    write_depth_png(root / "sync/a/sync_depth_1.png", np.zeros((48, 64)))
    assert "no measurement at all" in wrong(prepare.job)
