"""Wrong depth data through `evaluate` and `prepare`: one line that names it, status 2."""

import shutil

import numpy as np
import pytest
from PIL import Image

from benchmarks import evaluate, prepare
from benchmarks.config import command
from benchmarks.data.depth_frames import NYU_SPLITS, write_depth_png
from benchmarks.data.images import image_size
from benchmarks.data.predictions import write_depth


def make_nyu(root):
    """A root in BTS's layout: four training scenes, two test frames of 48 x 64."""
    random = np.random.default_rng(0)
    for split, names in (("train", "abcd"), ("test", "xy")):
        list_name, folder = NYU_SPLITS[split]
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


@pytest.fixture(params=["depth_nyu", "depth_kitti"])
def data(request, make_kitti, tmp_path):
    """(task, root, list of the test split, a test picture, its depth map)."""
    if request.param == "depth_nyu":
        root = make_nyu(tmp_path / "nyu")
        folder = root / "official_splits/test/x"
        listed = root / "nyudepthv2_test_files_with_gt.txt"
        return "depth_nyu", root, listed, folder / "rgb_1.jpg", folder / "sync_depth_1.png"
    root = make_kitti(train=4, test=2, without=0)
    (image,) = (root / "2011_09_30").rglob("0000000000.png")
    (depth,) = (root / "2011_09_30_drive_0020_sync").rglob("0000000000.png")
    return "depth_kitti", root, root / "eigen_test_files_with_gt.txt", image, depth


@pytest.fixture
def issue(data, tmp_path, capsys):
    """issue(command, fields) -> the error line of a refusal that left nothing behind."""
    task, root = data[:2]

    def call(name, *fields):
        job = {"evaluate": evaluate.job, "prepare": prepare.job}[name]
        out, work = tmp_path / "out", tmp_path / "work"
        places = [f"task={task}", f"task.root={root}", f"out={out}", f"work={work}"]
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
    task, root, listed = data[:3]
    folder = tmp_path / "predictions"
    for number, line in enumerate(listed.read_text().splitlines()):
        image, depth = line.split()[:2]
        below = root / "official_splits/test" if task == "depth_nyu" else root
        width, height = image_size(below / depth)
        depth = np.full((height, width), 3, np.float32)
        name = image.rsplit(".", 1)[0]
        write_depth(folder, name, change(depth) if number == 0 else depth)
    return folder


def test_a_missing_list(data, issue):
    data[2].unlink()
    assert data[2].name in issue("evaluate", "predictions=.", "name=x")
    assert data[2].name in issue("prepare")


def test_a_line_with_a_missing_picture(data, issue):
    data[3].unlink()
    said = issue("prepare")
    assert "1 of 4 listed files are missing" in said
    assert data[3].name in said


def test_a_line_that_is_none(data, issue):
    data[2].write_text(data[2].read_text() + "\nonly_one_field.png")
    message = f"{data[2]} line 3: only_one_field.png: need"
    assert message in issue("evaluate", "predictions=.", "name=x")


def test_a_truncated_picture(data, issue):
    data[3].write_bytes(data[3].read_bytes()[: data[3].stat().st_size // 2])
    said = issue("prepare")
    assert data[3].name in said
    assert "truncated" in said


def test_a_truncated_depth_map(data, issue, tmp_path):
    folder = predict(data, tmp_path)
    data[4].write_bytes(data[4].read_bytes()[: data[4].stat().st_size // 2])
    said = issue("evaluate", f"predictions={folder}", "name=x")
    assert data[4].name in said
    assert "truncated" in said


def test_eight_bit_depth(data, issue, tmp_path):
    folder = predict(data, tmp_path)
    Image.fromarray(np.full(image_size(data[4])[::-1], 40, np.uint8)).save(data[4])
    for name, fields in (("prepare", ()), ("evaluate", (f"predictions={folder}", "name=x"))):
        said = issue(name, *fields)
        assert data[4].name in said
        assert "16-bit" in said


def test_picture_and_depth_of_different_size(data, issue, tmp_path):
    folder = predict(data, tmp_path)
    width, height = image_size(data[3])
    Image.fromarray(np.zeros((height + 1, width, 3), np.uint8)).save(data[3])
    for name, fields in (("prepare", ()), ("evaluate", (f"predictions={folder}", "name=x"))):
        assert f"differ in size: ({width}, {height + 1}) and" in issue(name, *fields)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_a_prediction_that_is_not_finite_or_negative(data, issue, tmp_path, value):
    def spoil(depth):
        depth[-1, 3] = value
        return depth

    folder = predict(data, tmp_path, spoil)
    said = issue("evaluate", f"predictions={folder}", "name=x")
    assert "1 of" in said
    assert "task.nonfinite=bts" in said
    fields = [f"task={data[0]}", f"task.root={data[1]}", f"predictions={folder}", "name=x"]
    fields += [f"out={tmp_path / 'clamped'}", "task.nonfinite=bts"]
    assert command.run(evaluate.job, fields, command="evaluate") == 0


def test_a_prediction_of_another_size(data, issue, tmp_path):
    folder = predict(data, tmp_path, lambda depth: depth[::2])
    said = issue("evaluate", f"predictions={folder}", "name=x")
    assert "1 of 2 have another size" in said
    assert "nothing is resized" in said


def test_predictions_of_the_flows_size_from_elsewhere(data, issue, tmp_path):
    """Only our own run may hand maps of the flow's size to the scorer; files may not."""
    size = {"depth_nyu": (96, 128), "depth_kitti": (88, 304)}[data[0]]
    folder = predict(data, tmp_path, lambda depth: np.full(size, 3, np.float32))
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
    task, root, listed = data[:3]
    (train,) = root.glob("*train*.txt")
    line = listed.read_text().splitlines()[0]
    if task == "depth_nyu":  # its splits lie in folders of their own
        scene = line.split("/")[0]
        shutil.copytree(root / "official_splits/test" / scene, root / "sync" / scene)
    train.write_text(train.read_text() + "\n" + line)
    said = issue("prepare")
    assert "1 frames are scored and in the training split too" in said
    assert line.split()[0].rsplit(".", 1)[0] in said
    # scoring alone trains on nothing
    assert issue("evaluate", "predictions=none", "name=x").endswith("no such folder")


def test_no_training_split(data, issue):
    for path in data[1].glob("*train*.txt"):
        path.unlink()
    said = issue("prepare")
    assert "train split" in said
    assert "published" in said


def test_one_drive_or_scene_gives_no_validation(data, issue):
    (listed,) = data[1].glob("*train*.txt")
    listed.write_text(listed.read_text().splitlines()[0])
    assert "give at least two" in issue("prepare")


def test_a_training_map_without_a_measurement(data, issue):
    (listed,) = data[1].glob("*train*.txt")
    depth = listed.read_text().split()[1]
    path = data[1] / ("sync" if data[0] == "depth_nyu" else ".") / depth
    width, height = image_size(path)
    write_depth_png(path, np.zeros((height, width)))
    assert "no measurement at all" in issue("prepare")
