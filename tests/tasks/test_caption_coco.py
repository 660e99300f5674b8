"""Captioning on captioned photographs: codec, stores, scores, the commands."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from benchmarks import evaluate, run
from benchmarks.codecs import caption as codecs
from benchmarks.config.schema import Config
from benchmarks.data.captions import VARIANTS
from benchmarks.metrics import captions as metric
from benchmarks.metrics.score import Scored, mean_score
from benchmarks.records import record as records
from benchmarks.tasks import caption_coco
from crossflow.errors import InputError
from crossflow.store import unstandardise
from tests.fixtures.tasks import configured, rows_are_in_step, share_no_picture

TINY = [
    *("task=caption_coco", "task.size=32", "training.batch=8", "budget.steps=2"),
    *("sampling.steps=1", "sampling.solver=euler", "methods=flow_matching+crossflow"),
]


@pytest.fixture(autouse=True)
def short_codec(monkeypatch):
    """A codec that learned nothing much; the tests of `caption_codec` ask for more."""
    monkeypatch.setattr(codecs, "LEAST_STEPS", 4)
    monkeypatch.setattr(codecs, "PASSES", 1)
    monkeypatch.setattr(codecs, "HIDDEN", 32)


@pytest.fixture
def quick_scores(monkeypatch):
    """CIDEr's place taken by the lengths of captions: no Java, no 10 s."""

    def scores(predictions, references, **_):
        assert list(predictions) == list(references)
        values = [float(len(text)) for text in predictions.values()]
        mean = mean_score(values, "higher")
        return Scored({"cider": mean}, {"id": list(predictions), "cider": values})

    monkeypatch.setattr(metric, "caption_scores", scores)


def task_of(root, work, **changed):
    fields = {"root": root, "size": 32} | changed
    return caption_coco.TASK(configured("caption_coco", work, **fields))


def prepared(root, work, **changed):
    return task_of(root, work, **changed).prepare()


def test_stores(coco_root, tmp_path):
    task = task_of(coco_root, tmp_path / "work")
    ready = task.prepare()
    assert ready.problem.source.sizes == (3 * 16 * 16, 2, 2)
    assert ready.problem.target.sizes == (caption_coco.TEXT_CHANNELS, 2, 2)
    assert (len(ready.train), len(ready.validation), len(ready.test)) == (28, 2, 3)
    assert ready.train.captions == VARIANTS
    assert ready.test.captions == ready.validation.captions == 1
    assert ready.test.ids == list(ready.truth.ids) == ["110", "111", "112"]
    pair = ready.train.pairs([0, 0], [0, 4])
    assert torch.equal(pair.source.values[0], pair.source.values[1])
    assert not torch.equal(pair.target[0], pair.target[1])
    codes = torch.from_numpy(task.codec.means(pair.words.numpy()))
    assert torch.equal(codes, torch.from_numpy(ready.train.read("target", [0, 0], [0, 4])))
    assert ready.decode(pair.words) == [task.words.decode(ids) for ids in pair.words]
    assert share_no_picture(ready)
    assert rows_are_in_step(ready.truth)
    folded = ready.test.read("source", [0], [0])[0]  # of 16 x 16 pixels a cell
    picture = ready.truth.cells(0)[0]
    assert (folded.reshape(3, 16, 16, 2, 2)[1, :, :, 0, 1] == picture[:16, 16:, 1]).all()
    raw = unstandardise(ready.test.pairs([0, 1, 2]).target, ready.test.statistics["target"])
    spoken = ready.decode(raw)
    assert len(spoken) == 3
    assert all(isinstance(text, str) for text in spoken)
    facts = ready.frozen["caption_codec"]
    assert facts["steps"] == 4
    assert 0 <= facts["token_accuracy"] <= 1
    assert facts["unknown_tokens"] > 0  # every photograph's number is a word of its own
    assert facts["measured_on"] == 2 * VARIANTS


def test_the_codec_is_trained_once_for_a_data_set(coco_root, tmp_path, monkeypatch, edited):
    trained = []
    real = codecs.train_codec
    monkeypatch.setattr(codecs, "train_codec", lambda *a, **k: trained.append(1) or real(*a, **k))
    before = prepared(coco_root, tmp_path / "work")
    again = prepared(coco_root, tmp_path / "work", limit=2, validation_limit=1)
    assert len(trained) == 1
    assert again.frozen == before.frozen
    assert again.train.folder == before.train.folder

    def change(content):
        content["images"][0]["sentences"][0]["raw"] = "A dog runs."

    edited(coco_root / "dataset_coco.json", change)
    after = prepared(coco_root, tmp_path / "work")
    assert len(trained) == 2
    assert after.train.folder != before.train.folder


def test_steps_grow_with_the_data_set(monkeypatch):
    monkeypatch.setattr(codecs, "LEAST_STEPS", 100)
    monkeypatch.setattr(codecs, "PASSES", 10)
    monkeypatch.setattr(codecs, "MOST_STEPS", 1000)
    steps = [codecs.codec_steps(count) for count in (10, 3200, 10**9)]
    assert steps == [100, 500, 1000]


def test_truth_and_floor(coco_root, tmp_path, edited):
    def change(content):
        for number in (3, 5, 7):
            content["images"][number]["sentences"][2]["raw"] = "A Dog runs!"

    edited(coco_root / "dataset_coco.json", change)
    ready = prepared(coco_root, tmp_path / "work", limit=2)
    assert ready.floor() == ["a dog runs"] * 2
    truth = ready.truth
    assert truth.references["110"] == [
        f"A {noun} stands near the {other} number 110."
        for noun, other in zip(["bus"] * 5, ["dog", "cat", "bus", "horse", "plate"], strict=True)
    ]
    picture, text = truth.cells(0)
    assert picture.shape == (32, 32, 3)
    assert text == truth.references[truth.ids[0]][0]
    key = truth.key()
    assert key["split"] == "test"
    edited(
        coco_root / "dataset_coco.json",
        lambda c: c["images"][33]["sentences"][4].update(raw="Another text"),
    )
    assert task_of(coco_root, tmp_path, limit=2).test.key()["truth"] != key["truth"]


def test_scores_are_those_of_pycocoevalcap(coco_root, tmp_path):
    """The truth's own first captions are perfect, though one holds a line break (C2 of the cases).

    The PTB tokeniser would take it for the end of a caption and move the others to other images.
    """
    truth = task_of(coco_root, tmp_path).test
    spoken = [truth.references[name][0] for name in truth.ids]
    spoken[0] = spoken[0].replace(" ", "\u2028", 1)
    scored = truth.score(spoken)
    if "bleu1" not in scored.scores:
        pytest.skip(scored.unavailable["bleu1"])
    assert scored.scores["bleu4"].value == pytest.approx(1, abs=1e-6)
    assert min(scored.items["rouge_l"]) == pytest.approx(1)
    assert scored.scores["cider"].n == 3
    assert "spice" in scored.unavailable
    assert caption_coco.TASK(Config()).primary(3) == "cider"


def test_latents_of_an_autoencoder(coco_root, tmp_path, bench_data):
    weights = {"autoencoder": str(bench_data / "weights/taef2")}
    ready = prepared(coco_root, tmp_path, weights=weights, train_limit=6)
    assert ready.problem.source.sizes == (4 * 32, 2, 2)
    assert set(ready.frozen) == {"autoencoder", "vocabulary", "caption_codec"}
    assert len(ready.train) == 6


def test_trains_samples_and_scores_the_files_of_others(coco_root, issue, quick_scores):
    status, said = issue(run.job, *TINY, f"task.root={coco_root}")
    assert status == 0, said
    found = {record.method: record for record in records.read_all(Path("results/local"))}
    assert set(found) == {"floor", "oracle", "flow_matching", "crossflow"}
    ours = found["crossflow"]
    assert ours.scores["cider"].n == 3
    folder = Path("runs/caption_coco") / ours.run_id / "predictions"
    # Only the list is needed to score captions: the photographs may lie elsewhere.
    shutil.rmtree(coco_root / "val2014")
    fields = ["task=caption_coco", "task.size=32", f"task.root={coco_root}", "out=other"]
    status, said = issue(evaluate.job, *fields, f"predictions={folder}", "name=theirs")
    assert status == 0, said
    theirs = records.read_all(Path("other"))[0]
    assert theirs.scores == ours.scores
    assert theirs.score_key == ours.score_key
    assert "no samples of source and truth: " in said
    kept = [path.name for path in Path("other/samples/caption_coco").iterdir()]
    assert kept == [f"{theirs.run_id}.json"]


def test_captions_of_another_split_are_refused(coco_root, refused, tmp_path):
    rows = [{"image_id": number, "caption": "a dog"} for number in (107, 108, 109)]
    (tmp_path / "captions.json").write_text(json.dumps(rows))
    fields = ["task=caption_coco", f"task.root={coco_root}", f"predictions={tmp_path}"]
    assert "3 images have no caption of the split" in refused(evaluate.job, *fields)


def test_a_missing_photograph_stops_a_run(coco_root, refused):
    path = sorted((coco_root / "val2014").iterdir())[-1]  # captions alone are scored without it
    path.unlink()
    assert path.name in refused(run.job, *TINY, f"task.root={coco_root}")


def test_an_autoencoder_that_does_not_fit_the_grid(coco_root, tmp_path, monkeypatch):
    from benchmarks.codecs import image

    class Codec:
        channels, factor, facts = 4, 32, {"sha256": "0"}
        encode = decode = None

    monkeypatch.setattr(image, "load_image_codec", lambda *_: Codec())
    with pytest.raises(InputError, match="32 times smaller"):
        prepared(coco_root, tmp_path, weights={"autoencoder": "x"})


def test_the_jars_of_spice_are_in_the_score_key(coco_root, tmp_path):
    jars = tmp_path / "jars"
    jars.mkdir()

    def named(weights=None):
        truth = task_of(coco_root, tmp_path, weights=weights).test
        return truth.key()["options"]["spice"]

    found = [named()]
    for content in ("one", "other"):
        for name in metric.SPICE_JARS:
            (jars / name).write_text(content)
        found.append(named({"spice": str(jars)}))
    assert found[0] is None
    assert len(set(found)) == 3


def test_missing_jars_are_named_before_anything_is_trained(coco_root, tmp_path):
    task = task_of(coco_root, tmp_path, weights={"spice": str(tmp_path / "nowhere")})
    with pytest.raises(InputError, match=r"weights\.spice"):
        task.score_fields()


def test_coco_layout(coco_root, tmp_path):
    truth = task_of(coco_root, tmp_path, layout="coco").test
    assert truth.key()["split"] == "val2014"
    assert len(truth.ids) == 12
    assert {len(texts) for texts in truth.references.values()} == {6}


def test_cleaned_captions_are_counted_in_the_scores(coco_root, tmp_path, edited, quick_scores):
    edited(
        coco_root / "dataset_coco.json",
        lambda c: c["images"][35]["sentences"][0].update(raw="A dog\nruns"),
    )
    truth = task_of(coco_root, tmp_path).test
    assert truth.score(["a dog"] * 3).counts["captions_cleaned"] == 1
    assert truth.references["112"][0] == "A dog runs"
