"""Caption scores against numbers of pycocoevalcap 1.2, and published ones; line breaks."""

import json

import pytest

from benchmarks.metrics import captions
from benchmarks.metrics.captions import caption_scores, clean_caption
from benchmarks.metrics.java import find_java, tokenise
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
    assert tokenise([clean_caption(text) for text in TOKENS], java) == list(TOKENS.values())


def test_no_line_break_moves_a_caption(java):
    """In the library each of these can move every later caption to the wrong image."""
    sentences, expected = [], []
    for number, character in enumerate(LINE_BREAKS):
        sentences += [f"a{character}b", f"next {number}", f"end{character}"]
        expected += ["a b", f"next {number}", "end"]
    assert tokenise([clean_caption(sentence) for sentence in sentences], java) == expected


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


PUBLISHED = {f"Bleu_{n}": f"bleu{n}" for n in (1, 2, 3, 4)}
PUBLISHED |= {"METEOR": "meteor", "ROUGE_L": "rouge_l", "CIDEr": "cider"}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_fakecap(bench_data, java):
    """tylin/coco-caption, cocoEvalCapDemo.ipynb: 1,000 images, published to three digits."""
    folder = bench_data / "captions/known_scores/fakecap"
    expected = read(folder / "expected.json")
    found = caption_scores(
        read(folder / "hyps_ptb_tokenized.json"),
        read(folder / "refs_ptb_tokenized.json"),
        tokenised=True,
    )
    for published, ours in PUBLISHED.items():
        score = found.scores[ours]
        assert score.n == expected["n_images"]
        assert round(score.value, 3) == expected["published"][published], published
        recomputed = expected["recomputed_pycocoevalcap_1.2"][published]
        assert score.value == pytest.approx(recomputed, abs=1e-5), published


def test_nlg_eval_example(bench_data, java):
    """Maluuba/nlg-eval, README: two sentences with two references, six digits."""
    folder = bench_data / "captions/known_scores/nlgeval_example"
    hypotheses, first, second = (
        (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        for name in ("hyp", "ref1", "ref2")
    )
    found = caption_scores(
        dict(enumerate(hypotheses)),
        dict(enumerate(map(list, zip(first, second, strict=True)))),
    )
    for published, value in read(folder / "expected.json").items():
        if published in PUBLISHED:
            assert found.scores[PUBLISHED[published]].value == pytest.approx(value, abs=5e-7)
