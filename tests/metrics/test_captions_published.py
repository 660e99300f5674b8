"""Published caption scores, recomputed on the published captions."""

import json

import pytest

from benchmarks.metrics.captions import caption_scores
from benchmarks.metrics.java import find_java

NAMES = {
    "Bleu_1": "bleu1",
    "Bleu_2": "bleu2",
    "Bleu_3": "bleu3",
    "Bleu_4": "bleu4",
    "METEOR": "meteor",
    "ROUGE_L": "rouge_l",
    "CIDEr": "cider",
}


@pytest.fixture(scope="module", autouse=True)
def _java():
    program, where = find_java()
    if program is None:
        pytest.skip(where)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_fakecap(bench_data):
    """tylin/coco-caption, cocoEvalCapDemo.ipynb: 1,000 images, published to three digits."""
    folder = bench_data / "captions/known_scores/fakecap"
    expected = read(folder / "expected.json")
    found = caption_scores(
        read(folder / "hyps_ptb_tokenized.json"),
        read(folder / "refs_ptb_tokenized.json"),
        tokenised=True,
    )
    for published, ours in NAMES.items():
        score = found.scores[ours]
        assert score.n == expected["n_images"]
        assert round(score.value, 3) == expected["published"][published], published
        recomputed = expected["recomputed_pycocoevalcap_1.2"][published]
        assert score.value == pytest.approx(recomputed, abs=1e-5), published


def test_nlg_eval_example(bench_data):
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
        if published in NAMES:
            assert found.scores[NAMES[published]].value == pytest.approx(value, abs=5e-7)
