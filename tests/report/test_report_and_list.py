"""The two commands that start without torch: what they write, print and refuse."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import list as listing
from benchmarks.report import command

REPOSITORY = Path(__file__).parents[2]


def test_reports_are_written_and_named(record, written, capsys):
    out = written([record(), record("floor", value=0.9), record(task="sr_tabletop")])
    assert command.main(["leaderboard", "--out", str(out)]) == 0
    assert command.main(["tables", "--out", str(out)]) == 0
    expected = ["runs.csv", "leaderboard.csv"]
    expected += ["tables/overview.md"]
    expected += [
        f"tables/{task}.{kind}"
        for task in ("depth_tabletop", "sr_tabletop")
        for kind in ("md", "csv", "tex")
    ]
    expected += ["tables/all.tex"]
    assert capsys.readouterr().out.split("\n")[:-1] == [str(out / name) for name in expected]
    assert "| floor" in (out / "tables/depth_tabletop.md").read_text()
    assert "crossflow" in (out / "runs.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["leaderboard", "--out", "nowhere"], "no records under nowhere/records"),
        (["poetry"], "invalid choice: 'poetry'"),
        ([], "required"),
        (["tables", "--into", "x"], "--into"),
        (["tables", "--out", "~nosuchuser/x"], "argument --out: ~nosuchuser/x: "),
        (["check", "--against", "~nosuchuser/x"], "argument --against: ~nosuchuser/x: "),
        (["check", "--junit", "~nosuchuser/x"], "argument --junit: ~nosuchuser/x: "),
    ],
)
def test_a_mistake_is_one_line(arguments, said, capsys):
    assert command.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert len(printed.err.splitlines()) == 1


def test_a_broken_record_is_named(record, written, capsys):
    out = written([record()])
    (path,) = out.rglob("*.json")
    path.write_text(path.read_text().replace('"seed"', '"sede"', 1).replace("null", "NaN", 1))
    assert command.main(["tables", "--out", str(out)]) == 2
    assert str(path) in capsys.readouterr().err


def test_an_out_that_cannot_be_written(record, written, capsys):
    out = written([record()])
    (out / "tables").write_text("a file")
    assert command.main(["tables", "--out", str(out)]) == 2
    assert "cannot write" in capsys.readouterr().err


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
    assert "floor" not in text


@pytest.mark.parametrize("argument", ["--x", "tasks"])
def test_a_wrong_argument_of_the_listing_is_one_line(argument, capsys):
    assert listing.main([argument]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"list: error: unrecognized arguments: {argument}\n"


def checked(monkeypatch, folder):
    monkeypatch.setattr(listing, "WEIGHTS", folder)
    return {what: (good, found) for what, good, found in listing.checks()}


def test_missing_or_changed_weights_are_named(monkeypatch, tmp_path):
    assert checked(monkeypatch, tmp_path)["weights"][0] is False
    (tmp_path / "lost.json").write_text("{}")
    (tmp_path / "changed.json").write_text('{"sha256": "0"}')
    (tmp_path / "changed.safetensors").write_bytes(b"x")
    (tmp_path / "good.json").write_text(
        '{"sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}'
    )
    (tmp_path / "good.safetensors").write_bytes(b"x")
    for name, text in {"broken": '{"sha', "bare": "[]", "empty": "{}"}.items():
        (tmp_path / f"{name}.json").write_text(text)
        (tmp_path / f"{name}.safetensors").write_bytes(b"x")
    found = checked(monkeypatch, tmp_path)
    for name in ("broken", "bare", "empty"):
        good, said = found[f"weights {name}"]
        assert not good
        assert f"{name}.json is no card" in said
    assert found["weights lost"][0] is False
    assert found["weights changed"][0] is False
    assert found["weights good"] == (True, "0.0 MB")


def test_check_fails_when_something_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(listing, "WEIGHTS", tmp_path)
    assert listing.main(["--check"]) == 1
    text = capsys.readouterr().out
    assert "MISSING weights" in text
    for what in ("java", "disk for out", "device", "torch"):
        assert what in text


BLOCKED = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "pandas", "hydra"):
            raise AssertionError(f"imports {name}")
sys.meta_path.insert(0, Refuse())
from benchmarks import list as listing
from benchmarks.report import command
out = sys.argv[1]
assert command.main(["leaderboard", "--out", out]) == 0
assert command.main(["tables", "--out", out]) == 0
assert listing.main([]) == 0
listing.main(["--check"])
"""


def test_no_torch_in_reports_and_listings(record, written, tmp_path):
    out = written([record(), record("floor", value=0.9)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED, str(out)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
