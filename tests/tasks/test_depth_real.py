"""Real depth from the list file to the record; wrong data: one line that names it, status 2."""

import shutil

import numpy as np
import pytest
from PIL import Image

from benchmarks import evaluate, prepare, run
from benchmarks.config import command
from benchmarks.data.depth_frames import NYU
from benchmarks.data.images import image_size
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
def data(tmp_path):
    """(root, list of the test split, depth map of a test picture)."""
    root = make_nyu(tmp_path / "nyu")
    depth = root / "official_splits/test/x/sync_depth_1.png"
    return root, root / "nyudepthv2_test_files_with_gt.txt", depth


@pytest.fixture
def issue(data, tmp_path, capsys):
    """issue(command, fields) -> the error line of a refusal that left nothing behind."""
    root = data[0]

    def call(name, *fields):
        job = {"evaluate": evaluate.job, "prepare": prepare.job}[name]
        out, work = tmp_path / "out", tmp_path / "work"
        places = ["task=depth_nyu", f"task.root={root}", f"out={out}", f"work={work}"]
        status = command.run(job, [*places, *fields], command=name)
        printed = capsys.readouterr()
        errors = [line for line in printed.err.splitlines() if ": error: " in line]
        assert status == 2, printed.err
        assert len(errors) == 1
        assert "Traceback" not in printed.err
        assert not out.exists()
        return errors[0]

    return call


def predict(data, tmp_path, change=lambda depth: depth):
    """A folder with a prediction for each test frame; `change` is made to the first."""
    root, listed = data[:2]
    folder = tmp_path / "predictions"
    for number, line in enumerate(listed.read_text().splitlines()):
        image, depth = line.split()[:2]
        width, height = image_size(root / "official_splits/test" / depth)
        depth = np.full((height, width), 3, np.float32)
        name = image.rsplit(".", 1)[0]
        write_depth(folder, name, change(depth) if number == 0 else depth)
    return folder


def test_a_missing_list(data, issue):
    data[1].unlink()
    assert data[1].name in issue("evaluate", "predictions=.", "name=x")
    assert data[1].name in issue("prepare")


def test_a_truncated_depth_map(data, issue, tmp_path):
    folder = predict(data, tmp_path)
    data[2].write_bytes(data[2].read_bytes()[: data[2].stat().st_size // 2])
    said = issue("evaluate", f"predictions={folder}", "name=x")
    assert data[2].name in said
    assert "truncated" in said


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_a_prediction_that_is_not_finite_or_negative(data, issue, tmp_path, value):
    def spoil(depth):
        depth[-1, 3] = value
        return depth

    folder = predict(data, tmp_path, spoil)
    said = issue("evaluate", f"predictions={folder}", "name=x")
    assert "1 of" in said
    assert "task.nonfinite=bts" in said
    fields = ["task=depth_nyu", f"task.root={data[0]}", f"predictions={folder}", "name=x"]
    fields += [f"out={tmp_path / 'clamped'}", "task.nonfinite=bts"]
    assert command.run(evaluate.job, fields, command="evaluate") == 0


def test_a_prediction_of_another_size(data, issue, tmp_path):
    folder = predict(data, tmp_path, lambda depth: depth[::2])
    said = issue("evaluate", f"predictions={folder}", "name=x")
    assert "1 of 2 have another size" in said
    assert "nothing is resized" in said


def test_predictions_of_the_flows_size_from_elsewhere(data, issue, tmp_path):
    """Only our own run may hand maps of the flow's size to the scorer; files may not."""
    folder = predict(data, tmp_path, lambda depth: np.full((96, 128), 3, np.float32))
    assert "another size" in issue("evaluate", f"predictions={folder}", "name=x")


def test_predictions_for_the_wrong_split(data, issue, tmp_path):
    folder = tmp_path / "train"
    write_depth(folder, "somewhere/else", np.ones((4, 4), np.float32))
    assert "2 of 2 files" in issue("evaluate", f"predictions={folder}", "name=x")
    folder = predict(data, tmp_path)
    write_depth(folder, "somewhere/else", np.ones((4, 4), np.float32))
    said = issue("evaluate", f"predictions={folder}", "name=x")
    assert "1 predictions belong to no item of the split (2 items): somewhere/else" in said


def test_scored_frames_are_not_trained_on(data, issue):
    """A training list that holds frames of the test list, or a test list of training frames."""
    root, listed = data[:2]
    (train,) = root.glob("*train*.txt")
    line = listed.read_text().splitlines()[0]
    scene = line.split("/")[0]  # the splits lie in folders of their own
    shutil.copytree(root / "official_splits/test" / scene, root / "sync" / scene)
    train.write_text(train.read_text() + "\n" + line)
    said = issue("prepare")
    assert "1 frames are scored and in the training split too" in said
    assert line.split()[0].rsplit(".", 1)[0] in said
    # scoring alone trains on nothing
    assert issue("evaluate", "predictions=none", "name=x").endswith("no such folder")


def test_no_training_split(data, issue):
    for path in data[0].glob("*train*.txt"):
        path.unlink()
    said = issue("prepare")
    assert "train split" in said
    assert "published" in said


def test_one_drive_or_scene_gives_no_validation(data, issue):
    (listed,) = data[0].glob("*train*.txt")
    listed.write_text(listed.read_text().splitlines()[0])
    assert "give at least two" in issue("prepare")


def test_a_training_map_without_a_measurement(data, issue):
    (listed,) = data[0].glob("*train*.txt")
    depth = listed.read_text().split()[1]
    path = data[0] / "sync" / depth
    width, height = image_size(path)
    write_depth_png(path, np.zeros((height, width)))
    assert "no measurement at all" in issue("prepare")
