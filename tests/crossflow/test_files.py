"""Files appear whole, killed writers are cleaned up after, locks end with a process."""

import hashlib
import os
import platform
import subprocess
import sys

import pytest

from crossflow.errors import InputError
from crossflow.files import lock, published, replacing, sha256, write_atomic


@pytest.fixture
def host(monkeypatch):
    """host(name): what this machine is called from now on."""
    return lambda name: monkeypatch.setattr(platform, "node", lambda: name)


@pytest.fixture
def dead():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_and_its_mode_follows_the_umask(tmp_path):
    path = tmp_path / "new/a.json"
    before = os.umask(0o027)
    try:
        write_atomic(path, "é\n")
        write_atomic(path, b"\xff", durable=False)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"\xff"
    assert path.stat().st_mode & 0o777 == 0o640
    assert names(path.parent) == ["a.json"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_atomic(tmp_path / "a", "old")
    with pytest.raises(IsADirectoryError), replacing(tmp_path / "a") as partial:
        (partial.write_text("half"), tmp_path.write_text(""))
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_folder_appears_when_it_is_whole_and_the_first_of_two_stays(tmp_path):
    def fill(content):
        with published(tmp_path / "codec") as new:
            (new / "x").write_text(content)
            assert content == "second" or not (tmp_path / "codec").exists()

    with pytest.raises(TypeError):
        fill(1)
    assert names(tmp_path) == []
    fill("first")
    fill("second")
    assert (names(tmp_path), names(tmp_path / "codec")) == (["codec"], ["x"])
    assert (tmp_path / "codec/x").read_text() == "first"


@pytest.mark.parametrize("folder", [True, False])
def test_what_a_dead_writer_left_is_removed(tmp_path, host, dead, folder):
    host("gpu")
    left = tmp_path / f".a.gpu-{dead}-3.partial"
    left.mkdir() if folder else left.write_text("half")
    write_atomic(tmp_path / "a", "whole")
    assert names(tmp_path) == ["a"]


def test_what_others_write_is_left_alone(tmp_path, host, dead):
    """A host's name may begin with this one's and go on like a process id; names may look alike."""
    others = [
        f".a.gpu-{os.getpid()}-3.partial",
        f".a.gpu-7-{dead}-3.partial",
        f".b.gpu-{dead}-3.partial",
        f".a.gpu-{dead}.partial",
    ]
    for name in others:
        (tmp_path / name).write_text("")
    host("gpu")
    write_atomic(tmp_path / "a", "whole")
    assert names(tmp_path) == sorted([*others, "a"])


def test_a_lock_is_held_until_its_process_ends(tmp_path):
    path = tmp_path / "run/lock"
    hold = "import sys, time; from crossflow.files import lock\nfrom pathlib import Path\n"
    hold += "with lock(Path(sys.argv[1])): print(1, flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", hold, path], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"1\n"
        with pytest.raises(InputError, match="in use by another process"), lock(path, wait=False):
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with lock(path, wait=False), pytest.raises(InputError), lock(path, wait=False):
        pass


def test_a_hash_is_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"\xef\xbb\xbf").hexdigest()
