"""`prepare export=DIR`: a split as files, which score perfectly where they are the truth."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.data.images import read_rgb, shrink
from benchmarks.records import record as records
from benchmarks.records import samples
from benchmarks.report.command import main as report
from benchmarks.tasks import depth_tabletop


def texts(part):
    return {row["id"]: row["texts"] for row in json.loads(Path(f"given/{part}.json").read_text())}


def exported(issue, *fields):
    """The facts of an export to `given`; the encoding of stores was not begun."""
    status, printed, trouble = issue("prepare", *fields, "export=given")
    assert (status, printed) == (0, "export: given\n"), trouble
    assert not Path("runs/stores").exists()
    assert not list(Path().glob(".*partial"))
    return json.loads(Path("given/export.json").read_text())


def scored(issue, *fields):
    """The record of the exported truth as predictions."""
    facts = exported(issue, *fields)
    status, _, trouble = issue("evaluate", *fields, "predictions=given/truth", "name=truth")
    assert status == 0, trouble
    (record,) = records.read_all(Path("results/local"))
    assert record.score_key == facts["score_key"]
    return record


def test_depth(issue):
    record = scored(issue, "task=depth_tabletop", "task.limit=3")
    assert record.scores["absrel"].value == 0
    # An evaluation keeps its first items beside source and truth, as a run's arms do.
    out, key = Path("results/local"), record.score_key
    rows = (record.run_id, f"truth-{key}", f"source-{key}")
    kept = [samples.read(samples.path_of(out, "depth_tabletop", row)) for row in rows]
    assert [len(one.cells) for one in kept] == [3, 3, 3]
    assert (kept[0].cells[1] == kept[1].cells[1]).all()
    assert kept[2].kind == "picture"
    assert len(list(Path("given/sources").iterdir())) == 3


def test_predictions_of_two_are_ranked_by_the_report_that_evaluate_names(issue):
    fields = ["task=depth_tabletop", "task.limit=5"]
    scored(issue, *fields)
    for path in Path("given/truth").iterdir():
        depth = np.load(path)
        np.save(path, depth * 1.1)
    told = issue("evaluate", *fields, "predictions=given/truth", "name=far")[1]
    assert told.splitlines()[-1] == "next: python -m benchmarks.report leaderboard"
    assert report(["leaderboard"]) == 0
    rows = pd.read_csv("results/local/evaluations.csv").set_index(["metric", "name"])
    assert rows.loc["absrel_object", "rank"].to_dict() == {"truth": 1, "far": 2}
    far = rows.loc["absrel_object", "far"]
    assert (far["best"], far["common_items"]) == ("truth", 5)
    assert far[["difference", "diff_low", "diff_high"]].tolist() == pytest.approx([-0.1] * 3, 1e-3)


def test_predictions_take_no_arms_name_and_their_unit_is_doubted(issue):
    fields = ["task=depth_tabletop", "task.limit=3"]
    exported(issue, *fields)
    for path in Path("given/truth").iterdir():
        np.save(path, np.load(path) * 1000)
    status, _, trouble = issue("evaluate", *fields, "predictions=given/truth", "name=crossflow")
    assert (status, "name=crossflow: an arm that is trained here" in trouble[-1]) == (2, True)
    assert not Path("results").exists()
    status, _, trouble = issue("evaluate", *fields, "predictions=given/truth", "name=mine")
    assert status == 0
    assert any("1e+03 times the truth: are these millimetres? " in line for line in trouble)


def test_a_record_never_loses_a_score(issue, monkeypatch):
    """As where METEOR's Java has no memory the second time: the second stands beside the first."""
    fields = ["task=depth_tabletop", "task.limit=3"]
    first = scored(issue, *fields)
    whole = depth_tabletop.DepthScenes.score

    def without(items, predictions):
        result = whole(items, predictions)
        del result.scores["absrel"]
        result.unavailable["absrel"] = "out of memory"
        return result

    monkeypatch.setattr(depth_tabletop.DepthScenes, "score", without)
    again = [*fields, "predictions=given/truth", "name=truth"]
    assert issue("evaluate", *again)[0] == 0
    rows = {record.run_id: record for record in records.read_all(Path("results/local"))}
    assert rows[first.run_id].stable() == first.stable()
    assert "absrel" in rows[f"{first.run_id}-2"].unavailable


def test_super_resolution(issue):
    record = scored(issue, "task=sr_tabletop", "task.limit=3")
    assert record.scores["ssim_rgb"].value == 1
    for path in Path("given/sources").iterdir():
        small, truth = read_rgb(path), read_rgb(Path("given/truth") / path.name)
        assert small.shape == (16, 16, 3)
        assert (shrink(truth, 4) == small).all()


def test_text_to_image(issue):
    record = scored(issue, "task=t2i_tabletop", "task.limit=3")
    assert record.scores["scene_score"].value > 0.5
    assert all(len(one) == 1 and one[0] for one in texts("sources").values())
    assert set(texts("sources")) == {path.stem for path in Path("given/truth").iterdir()}


def test_captions(issue):
    facts = exported(issue, "task=caption_tabletop", "task.limit=3")
    assert facts["task"] == "caption_tabletop"
    references = texts("truth")
    assert {path.stem for path in Path("given/sources").iterdir()} == set(references)
    assert all(len(five) == 5 for five in references.values())


REAL = {
    "depth_nyu": ["task.root={data}/roots/nyu"],
    "depth_kitti": ["task.root={data}/roots/kitti"],
    "sr_imagenet": ["task.root={data}/roots/imagenet"],
    "sr_folder": ["task.root={data}/sr/Set5/x4"],
    "t2i_coco": ["task.root={data}/roots/coco"],
    "caption_coco": ["task.root={data}/roots/coco", "task.layout=coco"],
}


@pytest.mark.parametrize("task", REAL)
def test_real_splits(task, issue, bench_data):
    fields = [f"task={task}", "task.limit=2", *(f.format(data=bench_data) for f in REAL[task])]
    if task == "caption_coco":  # whole photographs, not the squares that our arms see
        assert exported(issue, *fields)["items"] == len(texts("truth")) == 2
        shapes = {read_rgb(path).shape for path in Path("given/sources").iterdir()}
        assert any(height != width for height, width, _ in shapes)
        return
    scores = scored(issue, *fields).scores
    for name, value in {"absrel": 0, "ssim_rgb": 1, "ssim_y": 1}.items():
        assert name not in scores or scores[name].value == pytest.approx(value, abs=1e-9)
    assert task == "t2i_coco" or {"absrel", "ssim_rgb", "ssim_y"} & scores.keys()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (["task=depth_tabletop", "export=there"], "export=there: is there already"),
        (["task=depth_tabletop", "export=/proc/no/where"], "export=/proc/no/where: "),
        (["task=depth_tabletop", "task.limit=1", f"export={'x' * 300}"], "File name too long"),
        (["task=depth_tabletop", "export=nodir/.."], "name a new folder"),
        (["task=depth_tabletop", "export=given", "training.lr=1"], "training.lr: `prepare export"),
        (["task=caption_coco", "task.root=there", "export=given"], "there/dataset_coco.json"),
    ],
)
def test_mistakes_leave_nothing(fields, said, issue):
    Path("there").mkdir()
    status, _, trouble = issue("prepare", *fields)
    assert (status, said in trouble[-1]) == (2, True), trouble
    assert [path.name for path in Path().iterdir()] == ["there"]
    assert not list(Path("there").iterdir())


def test_a_missing_picture_leaves_no_folder(issue):
    """Captions are scored without the pictures, but not exported without them."""
    row = {"filename": "a.jpg", "filepath": "val2014", "cocoid": 1, "split": "test"}
    row["sentences"] = [{"raw": "a dog", "sentid": 1}]
    Path("coco").mkdir()
    Path("coco/dataset_coco.json").write_text(json.dumps({"images": [row]}))
    status, _, trouble = issue("prepare", "task=caption_coco", "task.root=coco", "export=given")
    assert (status, "a.jpg: not an image" in trouble[-1]) == (2, True), trouble
    assert not Path("given").exists()
    assert not list(Path().glob(".*partial"))


def test_one_process_exports_and_scores(issue, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    status, _, trouble = issue("prepare", "task=depth_tabletop", "export=given")
    assert (status, "export=given: one process writes it" in trouble[-1]) == (2, True), trouble
    status, _, trouble = issue("evaluate", "task=depth_tabletop", "predictions=mine")
    assert (status, "predictions=mine: one process" in trouble[-1]) == (2, True), trouble
