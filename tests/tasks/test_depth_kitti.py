"""KITTI Eigen: lists, the 45 frames without truth, crops in order, training to record."""

import numpy as np
import pytest

from benchmarks.data.depth_frames import KITTI, enlarge, listed_frames, load, load_depth
from benchmarks.data.predictions import write_depth
from benchmarks.metrics.depth import depth_errors
from benchmarks.tasks.depth_kitti import TASK
from crossflow.errors import InputError
from tests.fixtures.depth import write_depth_png
from tests.fixtures.tasks import configured, rows_are_in_step


def task_of(root, work=".", said=lambda *_: None, **fields):
    return TASK(configured("depth_kitti", work, root=root, **fields), said)


def truth_of(root, **fields):
    return task_of(root, **fields).test


def test_frames_without_truth_are_counted_and_said(make_kitti):
    said = []
    truth = truth_of(make_kitti(test=3, without=2), said=lambda stage, *_: said.append(stage))
    assert len(truth.ids) == 3
    assert "3 of 5 listed frames" in said[0]
    assert "2 have none" in said[0]
    scored = truth.score([load_depth(frame) for frame in truth.frames])
    assert scored.scores["absrel"].n == 3
    assert scored.counts["frames_without_ground_truth"] == 2
    assert scored.counts["images_without_valid_pixels"] == 0


@pytest.mark.parametrize("folder", KITTI.depth_folders)
def test_where_depth_maps_may_lie(make_kitti, folder):
    found = listed_frames(KITTI, make_kitti(train=2, depth_folder=folder), "train")[0]
    assert load(found[0])[1].max() > 10
    drives = {"2011_09_26/2011_09_26_drive_0001_sync", "2011_09_26/2011_09_26_drive_0009_sync"}
    assert {frame.group for frame in found} == drives


def test_the_list_of_adabins(make_kitti):
    root = make_kitti(train=2)
    lists = "eigen_train_files_with_gt.txt"
    (root / lists).rename(root / f"kitti_{lists}")
    assert len(listed_frames(KITTI, root, "train")[0]) == 2


def test_another_list(make_kitti, tmp_path):
    root = make_kitti(test=3, without=0)
    lines = (root / "eigen_test_files_with_gt.txt").read_text().splitlines()
    (tmp_path / "mine.txt").write_text(lines[2])
    assert len(truth_of(root, split_file=str(tmp_path / "mine.txt")).ids) == 1


def test_depth_maps_of_no_drive_are_missing_files(make_kitti):
    root = make_kitti(train=2)
    (root / "2011_09_30_drive_0020_sync").rename(root / "elsewhere")
    with pytest.raises(InputError, match="2 of 4 listed files are missing"):
        truth_of(root)


@pytest.mark.parametrize("crop", ["kb_garg", "garg", "eigen", "kb_eigen", "none"])
def test_scores_on_real_frames(bench_data, crop):
    """The real ground truth, cropped by hand, against the task's own scores."""
    truth = truth_of(bench_data / "roots/kitti", crop=crop)
    predictions = [depth * np.float32(1.1) + 1 for depth in truth.depths]
    scored = truth.score(predictions)
    wanted = []
    for depth, prediction in zip(truth.depths, predictions, strict=True):
        d, p = depth, prediction
        if crop.startswith("kb"):  # first the window of the benchmark
            d, p = (x[375 - 352 :, 13 : 13 + 1216] for x in (d, p))
        height, width = d.shape
        shares = {
            "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
            "eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
            "none": (0, 1, 0, 1),
        }[crop.removeprefix("kb_")]
        rows = slice(int(shares[0] * height), int(shares[1] * height))
        columns = slice(int(shares[2] * width), int(shares[3] * width))
        d, p = d[rows, columns], p[rows, columns]
        valid = (d > 1e-3) & (d < 80)
        wanted.append(depth_errors(d[valid], np.clip(p[valid], 1e-3, 80))[0])
    for name in ("absrel", "silog", "rmse", "delta1"):
        mean = np.mean([row[name] for row in wanted])
        assert scored.scores[name].value == pytest.approx(mean, rel=1e-9)
    assert truth.key()["options"]["crop"] == crop


def test_the_crop_is_part_of_the_score_key(bench_data):
    from benchmarks.records.keys import digest

    root = bench_data / "roots/kitti"
    keys = [truth_of(root, crop=crop).key() for crop in ("kb_garg", "garg")]
    keys += [truth_of(root, flip_test=True).key()]
    assert len({digest(key) for key in keys}) == 3
    with pytest.raises(InputError, match=r"task\.crop=lower: this task takes kb_garg"):
        truth_of(root, crop="lower")


def test_a_map_of_the_flow_is_pasted_into_the_window(make_kitti):
    """Bottom 352 rows, middle 1216 columns; the nearest edge outside."""
    truth = truth_of(make_kitti(test=2), size=44)
    assert rows_are_in_step(truth, 2)
    small = np.random.default_rng(0).uniform(5, 50, (44, 152)).astype(np.float32)
    first, second = truth.whole([small, small])
    assert (first.shape, second.shape) == ((375, 1242), (376, 1241))
    inside = enlarge(small, (352, 1216))
    assert np.array_equal(first[23:, 13:1229], inside)
    assert np.array_equal(second[24:, 12:1228], inside)
    assert np.all(first[:23, 13:1229] == inside[0])
    assert np.all(first[23:, 1229:] == inside[:, -1:])
    full = np.ones((375, 1242), np.float32)
    assert truth.whole([full])[0] is full


def test_training_to_record(make_kitti, tmp_path, match, scored_again):
    """Prepare, train, sample, score, and score the files again; validation is cut by drive."""
    root = make_kitti(train=6, test=2)
    data = ["task=depth_kitti", f"task.root={root}", "task.size=44"]
    found = match(*data, "methods=crossflow", "training.batch=4")
    assert set(found) == {"floor", "oracle", "crossflow"}
    oracle, ours = found["oracle"], found["crossflow"]
    # 1 in 5 pixels measured and 8 x 8 pixels a cell: the codec loses little of a smooth road
    assert oracle.scores["absrel"].value < 0.05
    assert ours.scores["absrel"].n == 2
    assert ours.fair.proof["counts"]["frames_without_ground_truth"] == 1
    predictions = tmp_path / "work" / "depth_kitti" / ours.run_id / "predictions"
    path = predictions / f"{truth_of(root).ids[1]}.npy"
    assert np.load(path).shape == (376, 1241)
    scored_again(ours, *data)


def test_training_pairs(make_kitti, tmp_path):
    prepared = task_of(make_kitti(train=4, test=1), tmp_path / "work", size=44).prepare()
    assert prepared.problem.source.sizes == (3, 44, 152)
    assert (len(prepared.train), len(prepared.validation)) == (2, 2)
    drives = [{name.split("/")[1] for name in s.ids} for s in (prepared.train, prepared.validation)]
    assert not drives[0] & drives[1]
    target = np.exp(prepared.train.read("target", [0], [0])[0, 0])
    assert np.all(target > 0.9), "no holes are left"
    assert target[0].mean() > target[-1].mean() + 10, "the top is far"


def test_png_predictions_and_files_for_unscored_frames(make_kitti, tmp_path):
    root = make_kitti(test=2, without=1)
    truth = truth_of(root)
    folder = tmp_path / "predictions"
    for index, name in enumerate(truth.ids):
        depth = np.full(truth.shapes[index], 20.25, np.float32)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_depth_png(folder / f"{name}.png", depth, 256.0)
    write_depth(folder, truth.unscored[0], np.ones((1, 1), np.float32))
    found = truth.read(folder)
    assert len(found) == 2
    assert found[0][0, 0] == 20.25
    write_depth(folder, "2011_09_26/other", np.ones((1, 1), np.float32))
    with pytest.raises(InputError, match="1 predictions belong to no item"):
        truth.read(folder)
