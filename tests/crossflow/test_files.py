"""Files appear whole, killed writers are cleaned up after, locks end with a process."""

import hashlib
import os
import subprocess
import sys
import threading

import pytest

from crossflow.errors import InputError
from crossflow.files import (
    is_file,
    is_folder,
    lock,
    parse_json,
    publish,
    read_json,
    replacing,
    sha256,
    write_atomic,
)


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


def test_a_folder_appears_when_it_is_whole_and_is_made_once(tmp_path):
    folder, made, errors = tmp_path / "codec", threading.Event(), []

    def slow(new):
        (new / "x").write_text("half")
        assert not folder.exists()
        made.wait(0.2)
        (new / "x").write_text("whole")

    with pytest.raises(ZeroDivisionError):
        publish(folder, lambda new: (new / "x").write_text(str(1 / 0)))
    assert names(tmp_path) == []
    other = threading.Thread(target=publish, args=(folder, errors.append))
    publish(folder, lambda new: (other.start(), slow(new)))
    other.join()
    assert (names(tmp_path), names(folder), errors) == (["codec"], ["x"], [])
    assert (folder / "x").read_text() == "whole"


@pytest.mark.parametrize("folder", [True, False])
def test_what_a_killed_writer_left_is_removed(tmp_path, folder):
    left = tmp_path / ".a.partial"
    left.mkdir() if folder else left.write_text("half")
    write_atomic(tmp_path / "a", "whole")
    assert names(tmp_path) == ["a"]


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


def test_there_absent_and_not_to_be_told(tmp_path):
    assert is_folder(tmp_path) and not is_file(tmp_path)
    for ask in (is_file, is_folder):
        assert not ask(tmp_path / "absent")
        with pytest.raises(InputError, match=r"xxx: File name too long"):
            ask(tmp_path / ("x" * 5000))


def test_a_hash_and_a_byte_order_mark_that_is_no_part_of_a_text(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert sha256(tmp_path / "a.json") == hashlib.sha256(b'\xef\xbb\xbf{"a": 1}').hexdigest()
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"9" * 5000, b"[" * 100_000])
def test_what_is_no_json_names_the_file(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: not .* that can be read"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match="here: not JSON"):
        parse_json("nothing", "here")
