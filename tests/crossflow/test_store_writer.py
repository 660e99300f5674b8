"""A store that is interrupted, shared by processes or given bad rows: equal bytes, or an error."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from crossflow.errors import InputError
from crossflow.problem import MapShape
from crossflow.store_writer import write_store

SHAPE, IMAGE, ROWS = MapShape(2, 3, 3), MapShape(3, 3, 3), 40
RNG = np.random.default_rng(1)
TARGET = RNG.normal(size=(ROWS, 2, 3, 3)).astype(np.float32)
SOURCE = RNG.integers(0, 256, (ROWS, 3, 3, 3), dtype=np.uint8)
BLOCKS = [(k, min(k + 6, ROWS)) for k in range(0, ROWS, 6)]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr("crossflow.store_writer.BLOCK", 6)


def rows(start, stop, step=4):
    for first in range(start, stop, step):
        part = slice(first, min(first + step, stop))
        names = [f"{'x' * (row // 9)}{row}" for row in range(ROWS)[part]]
        batch = {"target": TARGET[part], "source": SOURCE[part], "groups": range(ROWS)[part]}
        yield batch | {"ids": names}


def write(folder, batches=rows, facts=None, count=ROWS, **options):
    return write_store(folder, IMAGE, SHAPE, facts or {"data": 1}, count, batches, **options)


def files(folder):
    """Content of every file by its path, hidden ones too."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def names(folder):
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "store"
    write(folder)
    return files(folder)


def broken_at(row, asked=None):
    """`batches` that fail before a row, and note the ranges they were asked for."""

    def batches(start, stop):
        if asked is not None:
            asked.append((start, stop))
        for batch in rows(start, stop):
            if row in batch["groups"]:
                raise KeyboardInterrupt
            yield batch

    return batches


@pytest.mark.parametrize("step", [1, 5])
def test_batches_do_not_change_a_byte(tmp_path, unbroken, step):
    write(tmp_path / "store", lambda start, stop: rows(start, stop, step))
    assert files(tmp_path / "store") == unbroken
    assert sorted(p.name for p in unbroken) == sorted(
        ["manifest.json", *(f"{f}.npy" for f in ("groups", "ids", "source", "target"))]
    )


@pytest.mark.parametrize("row", [5, 6, 39])
def test_an_interrupted_store_goes_on_with_the_blocks_that_are_whole(tmp_path, unbroken, row):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store", broken_at(row))
    assert not (tmp_path / "store").exists()
    asked, told = [], []
    write(tmp_path / "store", broken_at(None, asked), report=lambda *done: told.append(done))
    assert asked == BLOCKS[row // 6 :]
    assert files(tmp_path / "store") == unbroken
    assert names(tmp_path) == ["store"]
    assert told == sorted(told)
    assert (told[0], told[-1]) == ((row // 6 * 6, ROWS), (ROWS, ROWS))


def test_what_was_begun_from_other_data_is_not_used(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store", broken_at(30))
    asked = []
    write(tmp_path / "store", broken_at(None, asked), {"data": 2})
    assert asked == BLOCKS


def test_what_a_writer_left_that_was_killed_after_its_note_goes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store", broken_at(30))
    (tmp_path / ".store.1.lock").touch()
    (tmp_path / ".store.other.lock").touch()  # of the store `store.other`
    write(tmp_path / "store")
    assert sorted(names(tmp_path)) == [".store.other.lock", "store"]


@pytest.mark.parametrize("after", [0, 1])
def test_a_process_killed_at_the_last_move_leaves_nothing(tmp_path, unbroken, monkeypatch, after):
    """Before the folder has its name, or after."""
    rename = Path.rename

    def killed(path, target):
        if after:
            rename(path, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store")
    monkeypatch.setattr(Path, "rename", rename)
    write(tmp_path / "store", broken_at(0))
    assert files(tmp_path / "store") == unbroken
    assert names(tmp_path) == ["store"]


def in_threads(*calls):
    """Runs calls side by side (a lock belongs to an open file, so threads keep apart as well)."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
    return [future.exception() for future in futures if future.exception() is not None]


@pytest.mark.parametrize("world", [2, 9])
def test_several_writers_share_the_blocks_and_give_the_bytes_of_one(tmp_path, unbroken, world):
    asked = []

    def batches(start, stop):
        asked.append((start, stop))
        for batch in rows(start, stop):
            time.sleep(0.002)
            yield batch

    assert in_threads(*[lambda: write(tmp_path / "store", batches)] * world) == []
    assert sorted(asked) == BLOCKS
    assert files(tmp_path / "store") == unbroken
    assert names(tmp_path) == ["store"]


def test_others_take_over_from_one_that_fails(tmp_path, unbroken):
    begun, go_on = threading.Event(), threading.Event()

    def fails(start, stop):
        begun.set()
        assert go_on.wait(10)
        yield from broken_at(start)(start, stop)

    def other():
        assert begun.wait(10)
        threading.Timer(0.3, go_on.set).start()
        write(tmp_path / "store")

    (error,) = in_threads(lambda: write(tmp_path / "store", fails), other)
    assert isinstance(error, KeyboardInterrupt)
    assert files(tmp_path / "store") == unbroken
    assert names(tmp_path) == ["store"]


def test_a_killed_process_loses_its_block(tmp_path, unbroken):
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import test_store_writer as t\n"
        "from pathlib import Path; from crossflow import store_writer; store_writer.BLOCK = 6\n"
        "def slow(a, b):\n"
        "    for batch in t.rows(a, b):\n"
        "        print(a, flush=True); yield batch; time.sleep(0.05)\n"
        "t.write(Path(sys.argv[2]), slow)"
    )
    here = os.path.dirname(__file__)  # noqa: PTH120
    command = [sys.executable, "-c", script, here, tmp_path / "store"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    for line in process.stdout:
        if int(line) >= 18:
            break
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    asked = []
    write(tmp_path / "store", broken_at(None, asked))
    assert asked == BLOCKS[3:]
    assert files(tmp_path / "store") == unbroken
    assert names(tmp_path) == ["store"]


def test_a_full_disk_is_one_line_and_what_is_whole_stays(tmp_path, unbroken, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(InputError, match=rf"{tmp_path}.*: no room for .* bytes \(No space"):
            write(tmp_path / "store")
    assert files(tmp_path) == {}
    write(tmp_path / "store")
    assert files(tmp_path / "store") == unbroken


BAD = {
    "target: a number is not finite": {"target": np.full((2, 2, 3, 3), np.nan, dtype=np.float32)},
    r"target: \(2, 1, 3, 3\) is not 2 rows of \(2, 3, 3\)": {"target": TARGET[:2, :1]},
    r"source: \(2, 1, 1, 3, 3, 3\) is not": {"source": SOURCE[:2, None, None]},
    "target: float64, not one of float16, float32": {"target": TARGET[:2].astype(np.float64)},
    r"groups: \(3,\) is not 2 rows": {"groups": [1, 2, 3]},
    r"groups: \(2, 1\) is not 2 rows": {"groups": [[1], [2]]},
    "a batch has .*mask": {"mask": np.ones((2, 1, 4), dtype=bool)},
    r"variants differ, 2 and 3": {
        "target": np.stack([TARGET[:2]] * 2, axis=1),
        "source": np.stack([SOURCE[:2]] * 3, axis=1),
    },
}


@pytest.mark.parametrize("message", BAD)
def test_bad_batches_are_refused(tmp_path, message):
    def batches(start, stop):
        yield next(rows(0, 2)) | BAD[message]

    with pytest.raises(InputError, match=message):
        write(tmp_path / "s", batches, count=2)
    assert names(tmp_path) == []


def test_the_dtype_cannot_change_on_the_way(tmp_path):
    def batches(start, stop):
        for batch in rows(start, stop):
            yield batch | {
                "target": batch["target"].astype(np.float32 if start < 6 else np.float16)
            }

    with pytest.raises(InputError, match=r"target: float16 after float32"):
        write(tmp_path / "s", batches)


def test_a_constant_channel_and_no_row_at_all_are_refused(tmp_path):
    def batches(start, stop):
        for batch in rows(start, stop):
            yield batch | {"target": batch["target"] * np.float32([[[1]], [[0]]])}

    with pytest.raises(InputError, match="channel 1 of target is constant"):
        write(tmp_path / "s", batches)
    with pytest.raises(InputError, match="there is no row"):
        write(tmp_path / "s", count=0)
    assert names(tmp_path) == []
