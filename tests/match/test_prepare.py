"""`prepare` as a process: killed and started again, shared by two, after a change of the data."""

import glob
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import prepare
from benchmarks.config import command, device
from crossflow.errors import InputError

# Five rows a block: a few photographs fill several.
SCRIPT = """
import runpy
from crossflow import store_writer
store_writer.BLOCK = 5
runpy.run_module("benchmarks.prepare", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """ImageNet's folders with photographs of noise."""
    folder = tmp_path_factory.mktemp("imagenet")
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("val", 12)):
        for k in range(count):
            path = folder / split / f"n{k % 3:08d}" / f"{split}_{k}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = rng.integers(0, 256, (40 + k, 48, 3), dtype=np.uint8)
            Image.fromarray(picture).save(path, "JPEG")
    return folder


def arguments(root, work):
    return ["task=sr_imagenet", f"task.root={root}", "task.size=32", f"work={work}", "device=cpu"]


def start(root, work, rank=0, world=1):
    """The command as a process of its own, one of `world`."""
    environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(world)}
    environment["PYTHONPATH"] = str(Path(prepare.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments(root, work)],
        env=environment | {"LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def call(root, work, monkeypatch, *more):
    """The command in this process; returns its status."""
    monkeypatch.setattr("crossflow.store_writer.BLOCK", 5)
    return command.run(prepare.job, [*arguments(root, work), *more], command="prepare")


def files(work):
    """Content of all that is in the stores, by path."""
    folder = work / "stores"
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def blocks(work):
    """How many blocks of rows are whole, in finished and unfinished stores."""
    found = glob.glob(f"{work}/stores/*/blocks/*.json", include_hidden=True)  # noqa: PTH207 - Path.glob fails where a folder goes
    return len(found) + 3 * len(glob.glob(f"{work}/stores/*/manifest.json"))  # noqa: PTH207


@pytest.fixture(scope="module")
def unbroken(root, tmp_path_factory):
    work = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        assert call(root, work, patch) == 0
    return files(work)


def test_a_killed_prepare_goes_on_and_gives_the_same_bytes(root, tmp_path, unbroken, monkeypatch):
    """Killed once a random number of blocks is whole, then a random moment later."""
    wanted, process = random.randrange(1, 8), start(root, tmp_path)
    deadline = time.monotonic() + 120
    while blocks(tmp_path) < wanted:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(random.random() * 0.02)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert call(root, tmp_path, monkeypatch) == 0
    assert files(tmp_path) == unbroken


def test_two_processes_give_the_bytes_of_one(root, tmp_path, unbroken):
    processes = [start(root, tmp_path, rank, 2) for rank in range(2)]
    said = [process.communicate(timeout=180) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert files(tmp_path) == unbroken
    # One voice: the first process speaks for all.
    assert said[0][0].count("store: ") == 3
    assert said[1][0] == ""


def test_a_process_whose_partner_is_missing_does_its_work(root, tmp_path, unbroken, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert call(root, tmp_path, monkeypatch) == 0
    assert files(tmp_path) == unbroken


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_process_of_a_machine_takes_its_own_gpu(name, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert device.resolve(name) == "cuda"
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device.resolve(name) == "cuda:1"
    assert device.resolve("cpu") == "cpu"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match="device=cuda:2: no such GPU, this machine has 2"):
        device.resolve(name)
    assert device.resolve("cuda:0") == "cuda:0"


def test_changed_data_make_another_store(root, tmp_path, unbroken, monkeypatch):
    assert call(root, tmp_path, monkeypatch) == 0
    changed = shutil.copytree(root, tmp_path / "changed")
    next((changed / "train").rglob("*.JPEG")).touch()
    assert call(changed, tmp_path, monkeypatch) == 0
    assert len(list((tmp_path / "stores").glob("sr_imagenet-train-*"))) == 2
    assert files(tmp_path).items() > unbroken.items()


def test_tars_give_the_rows_of_folders(root, tmp_path, unbroken, monkeypatch, capsys):
    """Everything but the fingerprint, in which sizes and times of the tars stand."""
    for split in ("train", "val"):
        (tmp_path / "tars" / split).mkdir(parents=True)
        found = sorted((root / split).rglob("*.JPEG"))
        for number, some in enumerate((found[:7], found[7:])):
            with tarfile.open(tmp_path / "tars" / split / f"{number:05d}.tar", "w") as archive:
                for path in some:
                    archive.add(path, path.relative_to(root / split))
    assert call(tmp_path / "tars", tmp_path, monkeypatch, "task.layout=webdataset") == 0

    def rows(contents):
        fields = {p: c for p, c in contents.items() if p.suffix == ".npy"}
        return {(p.parts[0].rsplit("-", 1)[0], p.name): c for p, c in fields.items()}

    assert rows(files(tmp_path)) == rows(unbroken)
    assert call(root, tmp_path, monkeypatch, "task.layout=tfrecord") == 2
    assert "task.layout=tfrecord: this task takes folders, webdataset" in capsys.readouterr().err


@pytest.mark.parametrize(("room", "what"), [(2**18, "tabletop/v1/train-60"), (2**22, "")])
def test_no_room_is_one_line_and_a_closed_pipe_no_failure(tmp_path, room, what):
    """Not the `Bus error` of a file that is mapped where the disk is full."""
    limits = "task.train_limit=60 task.validation_limit=4 task.limit=4".split()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.prepare", *limits, f"work={tmp_path / 'w'}"],
        env={**os.environ, "PYTHONPATH": str(Path(prepare.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    process.stdout.close()
    lines = process.stderr.read().decode().splitlines() if what else []
    process.stderr.close()  # where all is well before it is read, as of `2>&1 | head -1`
    assert process.wait(60) == (2 if what else 0), lines
    errors = [line for line in lines if not line.startswith("[")]
    assert len(errors) == bool(what)
    if what:
        assert errors[0].startswith(f"prepare: error: {tmp_path}/w/{what}")
        assert "no room for 737,280 bytes (File too large)" in errors[0]
