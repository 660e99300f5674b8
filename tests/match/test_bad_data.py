"""Bad data through the commands themselves: one line, status 2, no record, nothing half written."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.records import record as records

TEST_LIST = "nyudepthv2_test_files_with_gt.txt"


def refused(outcome, *said):
    """The outcome is a mistake that names what is wrong, and left nothing behind."""
    status, out, lines = outcome
    assert status == 2, lines
    assert out == ""
    errors = [line for line in lines if ": error: " in line]
    assert errors == lines[-1:], "one reason, the last line"
    assert all(part in errors[0] for part in said), errors
    assert not Path("results").exists()


@pytest.fixture
def nyu(bench_data, tmp_path):
    """The small NYU tree, copied under a name that needs care."""
    root = tmp_path / "a b=c,d[e]{f}ü"
    shutil.copytree(bench_data / "roots/nyu", root)
    return root


@pytest.fixture
def imagenet(bench_data, tmp_path):
    root = tmp_path / "imagenet"
    shutil.copytree(bench_data / "roots/imagenet", root)
    return root


@pytest.mark.parametrize("task", ["depth_nyu", "sr_imagenet"])
@pytest.mark.parametrize("name", ["run", "prepare", "evaluate"])
def test_no_root(issue, name, task):
    given = ["predictions=."] if name == "evaluate" else []
    refused(issue(name, f"task={task}", *given), "task.root")
    refused(issue(name, f"task={task}", "task.root=/no/where", *given), "/no/where")


def test_a_root_that_lacks_something(issue, imagenet, tmp_path):
    (tmp_path / "empty").mkdir()
    for task in ("depth_nyu", "sr_imagenet"):
        outcome = issue("run", f"task={task}", f"task.root={tmp_path}/empty")
        refused(outcome, "empty", "published")
    shutil.rmtree(imagenet / "train")
    refused(issue("run", "task=sr_imagenet", f"task.root={imagenet}"), "train")


def test_a_truncated_image(issue, imagenet):
    victim = sorted((imagenet / "train").rglob("*.JPEG"))[0]
    victim.write_bytes(victim.read_bytes()[:2000])
    outcome = issue("prepare", "task=sr_imagenet", f"task.root={imagenet}", "task.size=64")
    refused(outcome, victim.name)


def predictions(nyu, folder, dtype=np.float32):
    """A depth map for each test frame, where `evaluate` looks for it."""
    for line in (nyu / TEST_LIST).read_text().splitlines():
        path = (folder / line.split()[0].lstrip("/")).with_suffix(".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.full((480, 640), 2, dtype=dtype))
    return folder


def test_other_predictions_in_the_same_folder_are_another_record(issue, nyu, tmp_path):
    """A record is never edited: neither by other contents nor by resume=false."""
    folder, out = predictions(nyu, tmp_path / "x=1, y [z]"), Path("o, [1]=ü")
    fields = ("task=depth_nyu", f"task.root={nyu}", f"predictions={folder}", "name=x", f"out={out}")

    def ids():
        return {path.stem for path in out.rglob("records/*/*.json")}

    status, printed, lines = issue("evaluate", *fields)
    assert status == 0, lines
    (first,) = ids()
    assert f"record: {out / 'records' / 'depth_nyu' / first}.json" in printed
    assert issue("evaluate", *fields)[0] == 0
    assert ids() == {first}, "the same evaluation is the same record"
    assert issue("evaluate", *fields, "resume=false")[0] == 0
    assert ids() == {first, f"{first}-2"}
    changed = next(folder.rglob("*.npy"))
    np.save(changed, np.load(changed) + 1)
    assert issue("evaluate", *fields)[0] == 0
    assert len(ids()) == 3
    rows = records.read_all(out)
    assert len({row.fair.proof["predictions"] for row in rows}) == 2
    assert {(row.kind, row.method, row.fair_key) for row in rows} == {("evaluation", "x", None)}
    assert all("training" not in row.config for row in rows)
    assert rows[0].scores["absrel"].value > 0.05, "two metres everywhere is no good depth"


def test_depth_that_is_wrong_or_missing(issue, nyu, tmp_path):
    folder = predictions(nyu, tmp_path / "p", dtype=np.int32)
    fields = ("task=depth_nyu", f"task.root={nyu}", f"predictions={folder}", "name=x")
    refused(issue("evaluate", *fields), ".npy", "int32")
    lost = next(predictions(nyu, folder).rglob("*.npy"))
    lost.unlink()
    refused(issue("evaluate", *fields), lost.name)


@pytest.mark.parametrize("content", [[], {}, [{"image_id": 1}], [{"image_id": 1, "caption": 2}]])
def test_no_captions(issue, tmp_path, content):
    (tmp_path / "captions.json").write_text(json.dumps(content))
    fields = ("task=caption_tabletop", f"predictions={tmp_path}", "name=x", "task.limit=4")
    refused(issue("evaluate", *fields), "captions.json")


@pytest.mark.parametrize("name", ["a/b", "../x", "floor", "a|b", "crossflow"])
def test_a_name_that_is_none(issue, nyu, tmp_path, name):
    folder = predictions(nyu, tmp_path / "p")
    fields = ("task=depth_nyu", f"task.root={nyu}", f"predictions={folder}", f"name={name}")
    refused(issue("evaluate", *fields), "name=")
