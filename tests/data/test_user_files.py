"""Whether a file is there: a name too long is an absent file, any other trouble is told."""

import errno
from pathlib import Path

import pytest

from benchmarks.data.user_files import is_file, is_folder
from crossflow.errors import InputError


def test_there_absent_and_too_long(tmp_path):
    assert is_folder(tmp_path) and not is_file(tmp_path)
    assert not is_file(tmp_path / "absent")
    assert not is_file(tmp_path / ("x" * 5000)) and not is_folder(tmp_path / ("x" * 5000))


@pytest.mark.parametrize("ask", [is_file, is_folder])
def test_what_cannot_be_told_is_not_called_absent(tmp_path, monkeypatch, ask):
    def refused(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("is_file", "is_dir"):
        monkeypatch.setattr(Path, name, refused)
    with pytest.raises(InputError, match=r"locked: Permission denied"):
        ask(tmp_path / "locked")


@pytest.mark.parametrize("field", ["autoencoder", "inception", "lpips", "clip", "spice"])
def test_a_path_of_weights_that_no_file_system_holds_is_absent(field):
    from benchmarks.data import frozen_weights
    from benchmarks.metrics import clip, inception, lpips, spice

    find = {
        "autoencoder": lambda name: frozen_weights.local_folder("weights.x", name, False, ["*"]),
        "inception": lambda name: inception.find_inception(name, False),
        "lpips": lpips.find_trunk,
        "clip": lambda name: clip.find_clip(name, False),
        "spice": spice.find_jars,
    }
    with pytest.raises(InputError, match=r"no such f|in it"):
        find[field]("/" + "x" * 5000)
