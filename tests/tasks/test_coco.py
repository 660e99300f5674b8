"""Training on WebDataset shards of image-text pairs, scored on a published split."""

import io
import re
import tarfile

import numpy as np
import pytest
from PIL import Image

from benchmarks import run
from benchmarks.codecs import caption as codecs
from benchmarks.config import command
from benchmarks.data import captions as reader
from benchmarks.records import keys
from benchmarks.records import record as records
from benchmarks.report import references
from benchmarks.tasks import caption_coco, t2i_coco
from crossflow.errors import InputError
from tests.fixtures.tasks import configured

TASKS = {"t2i_coco": t2i_coco.TASK, "caption_coco": caption_coco.TASK}


def jpeg(number):
    file = io.BytesIO()
    coarse = np.random.RandomState(number).randint(0, 256, (5, 6, 3), np.uint8)
    Image.fromarray(coarse).resize((48, 40)).save(file, "JPEG", quality=95)
    return file.getvalue()


def shard(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.fixture
def web(tmp_path):
    """Two shards of ten pairs each, as img2dataset writes them, without a folder for the split."""
    for number in (0, 1):
        members = []
        for k in range(10 * number, 10 * number + 10):
            members.append((f"{k:09d}.jpg", jpeg(1000 + k)))
            members.append((f"{k:09d}.txt", f"the photo {k} shows a dog and a bus".encode()))
        shard(tmp_path / "web" / f"{number:05d}.tar", members)
    return tmp_path / "web"


@pytest.mark.parametrize("task", TASKS)
def test_pairs_are_trained_on_in_place_of_the_split(task, coco_root, web, tmp_path, monkeypatch):
    monkeypatch.setattr(codecs, "LEAST_STEPS", 4)
    monkeypatch.setattr(codecs, "PASSES", 1)
    monkeypatch.setattr(codecs, "HIDDEN", 32)

    def ready(**changed):
        return TASKS[task](configured(task, tmp_path, root=coco_root, size=32, **changed)).prepare()

    found, own = ready(train_root=str(web)), ready()
    assert len(found.train) == 18
    assert sorted([*found.train.ids, *found.validation.ids], key=int) == [str(k) for k in range(20)]
    assert found.train.captions == 1  # not one caption five times
    # What is scored does not depend on what was trained on; the fair_key, by the digest, does.
    assert found.truth.key() == own.truth.key()
    assert found.train.digest != own.train.digest


def test_what_is_left_out_is_counted_and_recorded(coco_root, web, tmp_path):
    scored = (coco_root / "val2014/COCO_val2014_000000000105.jpg").read_bytes()
    longer = scored + b"\0"  # the same picture in another file: not noticed, as the reader says
    members = [("a.jpg", scored), ("a.txt", b"a dog"), ("b.jpg", longer), ("b.txt", b"a cat")]
    members += [("c.jpg", jpeg(5)), ("c.txt", b" \n"), ("d.jpg", jpeg(6)), ("d.txt", b"\x01")]
    shard(web / "00002.tar", members)
    said = []
    config = configured("t2i_coco", tmp_path, root=coco_root, size=32, train_root=str(web))
    task = t2i_coco.TASK(config, lambda stage, *_: said.append(stage))
    ready = task.prepare()
    facts = {"pairs": 21, "left_out_scored_files": 1, "left_out_no_caption": 2}
    assert task.crawled() == facts
    told = "task.train_root: pairs 21, left_out_scored_files 1, left_out_no_caption 2"
    assert told in said
    assert "train split: 21 images, 21 captions" in said
    assert {"20", "21", "22", "23"} & {*ready.train.ids, *ready.validation.ids} == {"21"}


def test_all_pairs_of_an_image_are_on_one_side_of_the_cut(coco_root, tmp_path):
    for number in (0, 1):  # the second archive repeats keys and pictures of the first
        members = []
        for k in range(30):
            caption = f"photo {k}, {number}".encode()
            members += [(f"{k}.jpg", jpeg(500 + k)), (f"{k}.txt", caption)]
        shard(tmp_path / "web" / f"{number}.tar", members)
    config = configured(
        "t2i_coco", tmp_path, root=coco_root, size=32, train_root=str(tmp_path / "web")
    )
    ready = t2i_coco.TASK(config).prepare()
    assert len(ready.train) + len(ready.validation) == 60
    assert len(ready.validation) >= 3
    stores = ready.train, ready.validation
    trained, held = (set(store.pairs(range(len(store))).groups.tolist()) for store in stores)
    assert not trained & held
    assert len(trained) == len(ready.train) / 2


def test_all_pairs_are_scored_ones(coco_root, tmp_path):
    path = coco_root / "val2014/COCO_val2014_000000000101.jpg"
    shard(tmp_path / "web" / "0.tar", [("a.jpg", path.read_bytes()), ("a.txt", b"a dog")])
    scored = t2i_coco.TASK(configured("t2i_coco", tmp_path, root=coco_root, size=32)).test
    with pytest.raises(InputError, match="no pair is left to train on"):
        reader.crawled(tmp_path / "web", scored.photos)


def test_runs_tell_what_they_were_trained_on(coco_root, web, tmp_path, capsys):
    given = [
        *("task=t2i_coco", f"task.root={coco_root}", "task.size=32", "quick=true"),
        *("training.batch=8", "budget.steps=2", "sampling.steps=1", "sampling.solver=euler"),
        *("sampling.guidance=2", "methods=flow_matching"),
        *(f"out={tmp_path / 'out'}", f"work={tmp_path / 'work'}"),
    ]
    crawled = [*given, f"task.train_root={web}"]
    assert command.run(run.job, crawled, command="run") == 0
    assert "trained on 20 pairs of task.train_root in place" in capsys.readouterr().out
    # Unchanged, there is nothing to do; shards that were added make another run.
    assert command.run(run.job, crawled, command="run") == 0
    assert "all arms are completed" in capsys.readouterr().err
    shard(web / "00002.tar", [("a.jpg", jpeg(1)), ("a.txt", b"a dog")])
    assert command.run(run.job, crawled, command="run") == 0
    assert "trained on 21 pairs of task.train_root in place" in capsys.readouterr().out
    assert command.run(run.job, given, command="run") == 0
    assert "task.train_root" not in capsys.readouterr().out
    # Three trainings on three sets: none is compared with another, their floors neither.
    for method in ("flow_matching", "floor"):
        found = [r for r in records.read_all(tmp_path / "out") if r.method == method]
        assert len(found) == 3
        assert len({record.score_key for record in found}) == 1
        assert len({keys.canonical(references.protocol(record)) for record in found}) == 3


def test_mistakes_are_one_line_with_status_2(coco_root, web, tmp_path, refused):
    given = ["task=t2i_coco", f"task.root={coco_root}", f"task.train_root={tmp_path}"]
    assert re.search(r"task.train_root needs .*/\*.tar, none", refused(run.job, *given))
    given = ["task=depth_tabletop", f"task.train_root={web}"]
    assert "depth_tabletop does not use it" in refused(run.job, *given)
