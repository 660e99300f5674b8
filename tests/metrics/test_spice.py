"""SPICE without the real CoreNLP jars: when it is unavailable, what is run, what is read."""

import json
import os
import stat
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.metrics import captions, spice
from benchmarks.metrics.captions import caption_scores
from benchmarks.metrics.captions_java import MetricUnavailableError
from benchmarks.metrics.java import find_java
from crossflow.errors import InputError

REFERENCES = {7: ["a red cube", "one cube"], 9: ["a dog"]}
HYPOTHESES = {7: "a cube", 9: "a cat"}
ROWS = [{"image_id": 1, "scores": {"All": {"f": 0.25}}}]
ROWS += [{"image_id": 0, "scores": {"All": {"f": 0.75}, "Color": {"f": 1.0}}}]

posix = pytest.mark.skipif(os.name == "nt", reason="the stand-ins for java are scripts")


@pytest.fixture
def jars(tmp_path):
    """A folder with two empty jars under the right names."""
    folder = tmp_path / "core nlp"
    folder.mkdir()
    for name in spice.JARS:
        with zipfile.ZipFile(folder / name, "w") as jar:
            jar.writestr("empty", "")
    return folder


def fake_java(path, answer):
    """A java that keeps its arguments and input, and writes `answer` where SPICE would."""
    path.write_text(
        f"#!{sys.executable}\nimport json, sys\nfrom pathlib import Path\n"
        "words = sys.argv[1:]\nsource = Path(words[words.index('edu.anu.spice.SpiceScorer') + 1])\n"
        f"kept = [words, json.loads(source.read_text())]\n"
        f"Path({str(path.with_suffix('.json'))!r}).write_text(json.dumps(kept))\n"
        f"Path(words[words.index('-out') + 1]).write_text({json.dumps(answer)!r})\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_without_jars_it_is_unavailable_and_says_what_to_give(monkeypatch):
    monkeypatch.setattr(captions, "find_java", lambda: (None, "no Java"))
    found = caption_scores(HYPOTHESES, REFERENCES, tokenised=True)
    assert found.unavailable["spice"] == spice.REASON
    assert "weights.spice=DIR" in spice.REASON and all(jar in spice.REASON for jar in spice.JARS)


def test_with_jars_and_no_java_the_reason_is_java(monkeypatch, jars):
    monkeypatch.setattr(captions, "find_java", lambda: (None, "no Java"))
    for tokenised in (True, False):
        found = caption_scores(HYPOTHESES, REFERENCES, tokenised=tokenised, spice_jars=str(jars))
        assert found.unavailable["spice"] == "no Java"


def test_a_folder_that_lacks_a_jar_is_refused(jars):
    (jars / spice.JARS[1]).unlink()
    with pytest.raises(InputError, match=r"weights.spice=.*: no .*-models.jar in it; they are in"):
        caption_scores(HYPOTHESES, REFERENCES, spice_jars=str(jars))
    with pytest.raises(InputError, match=r"no .*3.6.0.jar and no .*-models.jar in it"):
        spice.find_jars(str(jars / "lost"))


def test_other_jars_have_another_digest(jars):
    """It stands in the score key: another model of the parser gives other scores."""
    assert spice.jars_digest(None) is None
    first = spice.jars_digest(str(jars))
    assert first == spice.jars_digest(f"{jars}/")
    (jars / spice.JARS[1]).write_bytes(b"another model")
    assert spice.jars_digest(str(jars)) != first


def test_a_path_that_java_would_split_is_refused(tmp_path):
    folder = tmp_path / f"core{os.pathsep}nlp"
    folder.mkdir()
    for name in spice.JARS:
        (folder / name).touch()
    with pytest.raises(InputError, match="Java separates jars by"):
        spice.find_jars(str(folder))


def test_the_command_line(jars, tmp_path):
    found = spice.find_jars(str(jars))
    command = spice.spice_command("java", found, Path("/in.json"), Path("/out.json"), tmp_path)
    main = command.index(spice.MAIN)
    assert command[main + 1 :] == [
        *("/in.json", "-cache", str(tmp_path), "-out", "/out.json", "-subset", "-silent"),
    ]
    packages = "lang math util util.concurrent net text".split()
    for package in (*(f"java.base/java.{name}" for name in packages), "java.sql/java.sql"):
        assert f"--add-opens={package}=ALL-UNNAMED" in command
    own, *given = command[command.index("-cp") + 1].split(os.pathsep)
    assert Path(own).name == "spice-1.0.jar" and Path(own).is_file()
    assert given == [str(jar) for jar in found]
    without = spice.spice_command("java", found, Path("/in.json"), Path("/out.json"))
    assert "-cache" not in without


@posix
def test_scores_are_matched_by_id(monkeypatch, jars, tmp_path):
    """SPICE writes items in any order; the rest of the scores is what it is without."""
    program = fake_java(tmp_path / "java", ROWS)
    monkeypatch.setattr(captions, "find_java", lambda: (program, "test"))
    cache = tmp_path / "work" / "spice"
    found = caption_scores(
        HYPOTHESES, REFERENCES, tokenised=True, spice_jars=str(jars), spice_cache=cache
    )
    assert found.items["spice"] == [0.75, 0.25]
    score = found.scores["spice"]
    assert (score.value, score.n, score.better) == (0.5, 2, "higher")
    assert "spice" not in found.unavailable and "cider" in found.scores
    assert cache.is_dir()
    words, rows = json.loads((tmp_path / "java.json").read_text())
    assert words[words.index("-cache") + 1] == str(cache)
    assert rows == [
        {"image_id": 0, "test": "a cube", "refs": ["a red cube", "one cube"]},
        {"image_id": 1, "test": "a cat", "refs": ["a dog"]},
    ]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (ROWS[:1], "1 numbers in its output for 2 captions"),
        ([*ROWS, {"image_id": 2, "scores": {"All": {"f": 1.0}}}], "2 numbers"),
        ([ROWS[0], {"image_id": 0, "scores": {"All": {"f": None}}}], "1 numbers"),
        ([ROWS[0], {"image_id": 0, "scores": {}}], "cannot be read (KeyError)"),
    ],
)
def test_an_incomplete_output_is_no_score(tmp_path, rows, reason):
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(MetricUnavailableError) as error:
        spice.read_scores(path, 2)
    assert reason in str(error.value)


@posix
@pytest.mark.parametrize(
    ("script", "reason"),
    [("exec /bin/sleep 30", "no answer in 1 s"), ("exit 4", "exits with status 4 (no message)")],
)
def test_a_failure_is_a_reason(monkeypatch, jars, tmp_path, script, reason):
    monkeypatch.setattr(spice, "SECONDS", 1.0)
    monkeypatch.setattr(spice, "SECONDS_PER_SENTENCE", 0.0)
    program = tmp_path / "java"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(MetricUnavailableError) as error:
        spice.spice_scores([["a"]], ["b"], str(program), str(jars))
    assert reason in str(error.value)


def test_javas_own_scorer_starts(jars, capsys):
    """With empty jars the real program starts and misses CoreNLP's classes, nothing else."""
    java, reason = find_java()
    if java is None:
        pytest.skip(reason)
    with pytest.raises(MetricUnavailableError, match=r"NoClassDefFoundError: edu/stanford/nlp"):
        spice.spice_scores([["a dog"]], ["a cat"], java, str(jars))
    assert str(jars) not in capsys.readouterr().out
