"""Bad data through the commands themselves: one line, status 2, no record, nothing half written."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import evaluate, prepare, run
from benchmarks.config import command
from benchmarks.records import record as records

COMMANDS = {"run": run.job, "prepare": prepare.job, "evaluate": evaluate.job}
TEST_LIST = "nyudepthv2_test_files_with_gt.txt"


@pytest.fixture
def issue(tmp_path, monkeypatch, capsys):
    """issue(command, *fields) in an empty folder -> (status, stdout, stderr lines)."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def call(name, *fields):
        status = command.run(COMMANDS[name], list(fields), command=name)
        printed = capsys.readouterr()
        return status, printed.out, printed.err.splitlines()

    return call


def refused(outcome, *said):
    """The outcome is a mistake that names what is wrong, and left nothing behind."""
    status, out, lines = outcome
    assert status == 2, lines
    assert out == ""
    errors = [line for line in lines if ": error: " in line]
    assert len(errors) == 1
    assert errors == lines[-1:], "the reason is the last line"
    for part in said:
        assert part in errors[0]
    left = [path for path in Path().rglob("*.json") if "records" in path.parts]
    assert left == []
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


def test_predictions_of_another_program(issue, nyu, tmp_path):
    folder = predictions(nyu, tmp_path / "x=1, y [z]")
    fields = ("task=depth_nyu", f"task.root={nyu}", f"predictions={folder}", "name=constant")
    status, out, lines = issue("evaluate", *fields, "out=o, [1]=ü")
    assert status == 0, lines
    (path,) = (line.removeprefix("record: ") for line in out.splitlines() if "record: " in line)
    record = records.read(Path(path))
    assert (record.kind, record.method, record.fair_key) == ("evaluation", "constant", None)
    assert record.scores["absrel"].value > 0.05, "two metres everywhere is no good depth"


def test_other_predictions_in_the_same_folder_are_another_record(issue, nyu, tmp_path):
    """A record is never edited: neither by other contents nor by resume=false."""
    folder = predictions(nyu, tmp_path / "p")
    fields = ("task=depth_nyu", f"task.root={nyu}", f"predictions={folder}", "name=x")

    def ids():
        return {path.stem for path in Path("results/local/records").rglob("*.json")}

    assert issue("evaluate", *fields)[0] == 0
    (first,) = ids()
    assert issue("evaluate", *fields)[0] == 0
    assert ids() == {first}, "the same evaluation is the same record"
    assert issue("evaluate", *fields, "resume=false")[0] == 0
    assert ids() == {first, f"{first}-2"}
    changed = next(folder.rglob("*.npy"))
    np.save(changed, np.load(changed) + 1)
    assert issue("evaluate", *fields)[0] == 0
    assert len(ids()) == 3
    found = [records.read(path) for path in Path("results/local/records").rglob("*.json")]
    assert len({record.fair.proof["predictions"] for record in found}) == 2
    assert all("training" not in record.config for record in found)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("evaluate", "model=S"),
        ("evaluate", "methods=crossflow"),
        ("evaluate", "training.precision=bf16"),
        ("evaluate", "sampling.steps=3"),
        ("evaluate", "budget.samples=64"),
        ("evaluate", "track=defaults"),
        ("evaluate", "check=true"),
        ("evaluate", "task.train_limit=3"),
        ("prepare", "methods=crossflow"),
        ("prepare", "track=tuned"),
        ("prepare", "predictions=x"),
        ("prepare", "name=x"),
        ("prepare", "check=true"),
    ],
)
def test_a_field_that_would_be_ignored(issue, name, field):
    refused(issue(name, "task=depth_nyu", field), field.split("=")[0], "does not use it")


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
