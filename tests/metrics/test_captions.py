"""Caption scores against numbers of pycocoevalcap 1.2, and published ones; line breaks."""

import json

import pytest

from benchmarks.metrics import captions
from benchmarks.metrics.captions import caption_scores, clean_caption, find_java, tokenise
from crossflow.errors import InputError

CORPUS = """\
A man riding a horse on the beach./A person rides a brown horse near the ocean.\
/Man on a horse walking along the shore.
Two dogs are playing with a red toy./A pair of dogs tug on a toy in the grass.
A plate of food with rice, broccoli and chicken./There is a white plate with food on it.\
/Chicken and broccoli served over rice./A dinner plate on a table.
A bus is driving down the street./A city bus stops at the traffic light (downtown)."""
REFERENCES = {i: line.split("/") for i, line in enumerate(CORPUS.split("\n"), start=1)}
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
    return program or pytest.skip(where)


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
    sentences = [text for c in LINE_BREAKS for text in (f"a{c}b", "next", f"end{c}")]
    tokens = tokenise([clean_caption(sentence) for sentence in sentences], java)
    assert tokens == ["a b", "next", "end"] * len(LINE_BREAKS)


def test_all_line_breaks_are_cleaned():
    for character in map(chr, range(0x3000)):
        assert len(f"a{clean_caption(character)}b".splitlines()) == 1, ascii(character)
    assert clean_caption("café 自行车 \U0001f600") == "café 自行车 \U0001f600"


# bleu_scorer.py:199-267 (closest reference length), cider_scorer.py:103-178 (this is CIDEr-D)
NUMBERS = {
    "bleu1": (0.82352941174, [0.874999999781, 0.88888888879, 0.882496902364, 0.555555555494]),
    "bleu2": (0.683130051043, None),
    "bleu3": (0.544617987236, None),
    "bleu4": (0.43772950037, None),
    "rouge_l": (0.730960101105, [0.875, 0.594541910331, 0.814885496183, 0.639412997904]),
    "cider": (2.22663636355, [3.21067484569, 2.32011247717, 2.19366740571, 1.18209072563]),
    "meteor": (0.406110086478, [0.9, 0.278898617959, 0.437196292093, 0.370781163399]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(scored, name):
    value, each = NUMBERS[name]
    assert scored.scores[name].value == pytest.approx(value, rel=1e-9)
    if each is not None:
        assert scored.items[name] == pytest.approx(each, rel=1e-9)


def test_shape_of_the_result(scored):
    assert set(scored.scores) == set(captions.NAMES) and set(scored.unavailable) == {"spice"}
    assert scored.items["id"] == ["1", "2", "3", "4"]
    assert {score.n for score in scored.scores.values()} == {4}
    four = [0.740083, 7.17178e-05, 0.542549, 6.37672e-09]
    assert scored.items["bleu4"] == pytest.approx(four, rel=1e-5)


def test_an_empty_caption_scores_zero(java):
    scored = caption_scores({**HYPOTHESES, 2: ""}, REFERENCES)
    wanted = {"bleu1": 0.604626993116, "bleu2": 0.499254308127, "bleu3": 0.410955889491}
    wanted |= {"bleu4": 0.357814798598, "rouge_l": 0.582324623522, "cider": 1.64660824426}
    wanted |= {"meteor": 0.351925589295}
    values = {name: score.value for name, score in scored.scores.items()}
    assert values == pytest.approx(wanted, rel=1e-9)
    assert [scored.items[name][1] for name in ("rouge_l", "cider", "meteor")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("predictions", "references", "reason"),
    [
        ({}, {}, "0 captions for 4 items: 4 items lack a caption"),
        ({1: "a", 2: "b", 3: "c"}, {}, r"1 items lack a caption or a reference \(4\)"),
        ({**HYPOTHESES, 9: "a cat"}, {}, r"5 captions for 4 items: 1 .* \(9\)"),
        (HYPOTHESES, {2: []}, r"1 items lack a caption or a reference \(2\)"),
    ],
)
def test_bad_sets_of_captions_are_refused(predictions, references, reason):
    with pytest.raises(InputError, match=reason):
        caption_scores(predictions, REFERENCES | references)


PUBLISHED = {f"Bleu_{n}": f"bleu{n}" for n in (1, 2, 3, 4)}
PUBLISHED |= {"METEOR": "meteor", "ROUGE_L": "rouge_l", "CIDEr": "cider"}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_fakecap(bench_data, java):
    """tylin/coco-caption, cocoEvalCapDemo.ipynb: 1,000 images, published to three digits."""
    folder = bench_data / "captions/known_scores/fakecap"
    expected = read(folder / "expected.json")
    captioned, references = (read(folder / f"{n}_ptb_tokenized.json") for n in ("hyps", "refs"))
    scored = caption_scores(captioned, references, tokenised=True)
    for published, ours in PUBLISHED.items():
        score = scored.scores[ours]
        assert score.n == expected["n_images"]
        assert round(score.value, 3) == expected["published"][published], published
        recomputed = expected["recomputed_pycocoevalcap_1.2"][published]
        assert score.value == pytest.approx(recomputed, abs=1e-5), published


def test_nlg_eval_example(bench_data, java):
    """Maluuba/nlg-eval, README: two sentences with two references, six digits."""
    folder = bench_data / "captions/known_scores/nlgeval_example"
    hypotheses, *references = (
        (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        for name in ("hyp", "ref1", "ref2")
    )
    pairs = dict(enumerate(map(list, zip(*references, strict=True))))
    scored = caption_scores(dict(enumerate(hypotheses)), pairs)
    for published, value in read(folder / "expected.json").items():
        if published in PUBLISHED:
            assert scored.scores[PUBLISHED[published]].value == pytest.approx(value, abs=5e-7)
