"""Derived folders: they appear whole, and only this host's dead writers are cleaned up after."""

import os
import platform
import subprocess
import sys

import pytest

from benchmarks.data.publish import published


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


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with published(tmp_path / "codec") as partial:
        (partial / "x").write_text("1")
        assert not (tmp_path / "codec").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["codec"]
    assert (tmp_path / "codec/x").read_text() == "1"


def test_what_a_dead_writer_left_is_removed(tmp_path, host, dead):
    host("gpu")
    left = tmp_path / f".codec.partial-gpu-{dead}-abc_12"
    left.mkdir()
    with published(tmp_path / "codec"):
        assert not left.exists()


@pytest.mark.parametrize("other", ["gpu-{dead}", "gpu-a", "gpu-7-b"])
def test_another_hosts_folder_is_left_alone(tmp_path, host, dead, other):
    """A host's name may begin with this one's and go on like a process id."""
    host(other.format(dead=dead))
    with published(tmp_path / "codec") as theirs:
        host("gpu")
        with published(tmp_path / "codec") as ours:
            assert theirs.is_dir()
            assert f"gpu-{os.getpid()}-" in ours.name


def test_names_that_only_look_alike_are_left_alone(tmp_path, host, dead):
    host("gpu")
    for name in (f".codec.partial-gpu-{dead}", ".codec.partial-gpu-x-1", ".codec.partial-gpu-"):
        (tmp_path / name).mkdir()
    with published(tmp_path / "codec"):
        assert len(list(tmp_path.iterdir())) == 4
