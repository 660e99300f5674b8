"""The listing: what there is, what is missing, without torch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import list as listing

REPOSITORY = Path(__file__).parents[1]


def test_the_listing(packages, capsys):
    (packages / "crossflow/network.py").write_text('SIZES = {"T": Size(8, 128, 4, 512)}\n')
    (packages / "benchmarks/metrics/depth.py").write_text('"""Depth errors."""\n\nPROTOCOL = 1\n')
    own = packages / "baselines/own.py"
    own.write_text("class Options:\n    a: bool = True  # what\n\ndef method(): ...\n")
    assert listing.main([]) == 0
    text = capsys.readouterr().out
    assert re.search(r"    arm\.own\.a=true +what\n", text)
    assert re.search(r"    arm\.NAME\.lr=1\.0 +rate\n", text)
    assert "  depth_nyu         Task depth_nyu." in text
    assert "  T  8 layers, width 128, 4 heads" in text
    assert "  depth  Depth errors." in text
    assert "shared_reading" not in text


@pytest.mark.parametrize("argument", ["--x", "tasks"])
def test_a_wrong_argument_of_the_listing_is_one_line(argument, capsys):
    assert listing.main([argument]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"list: error: unrecognized arguments: {argument}\n"


def checked(monkeypatch, folder):
    monkeypatch.setattr(listing, "WEIGHTS", folder)
    return {what: (good, state) for what, good, state in listing.checks()}


def test_missing_or_changed_weights_are_named(monkeypatch, tmp_path):
    assert checked(monkeypatch, tmp_path)["weights"][0] is False
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    cards = {"changed": '{"sha256": "0"}', "broken": '{"sha', "bare": "[]", "empty": "{}"}
    cards |= {"good": f'{{"sha256": "{digest}"}}', "lost": '{"sha256": "0"}'}
    for name, text in cards.items():
        (tmp_path / f"{name}.json").write_text(text)
        if name != "lost":
            (tmp_path / f"{name}.safetensors").write_bytes(b"x")
    states = checked(monkeypatch, tmp_path)
    assert states["weights good"] == (True, "whole")
    for name in cards.keys() - {"good"}:
        assert states[f"weights {name}"] == (False, "install the package again")


def test_check_fails_when_something_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(listing, "WEIGHTS", tmp_path)
    assert listing.main(["--check"]) == 1
    text = capsys.readouterr().out
    assert "MISSING weights" in text
    for what in ("java", "disk for out", "device"):
        assert what in text


def test_the_listing_needs_no_torch(tmp_path):
    code = (
        "import sys; from benchmarks import list as listing; listing.main([]); "
        "listing.main(['--check']); assert not {'torch', 'pandas', 'hydra'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
