"""Text to image on captioned photographs: choice of items, stores, scores, the commands."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import evaluate, run
from benchmarks.codecs import text as codecs
from benchmarks.config.schema import Config
from benchmarks.data.captions import VARIANTS
from benchmarks.data.images import read_rgb
from benchmarks.metrics import distribution, geneval
from benchmarks.records import record as records
from benchmarks.tasks import t2i_coco
from crossflow.errors import InputError
from crossflow.problem import TokenShape
from crossflow.store import unstandardise
from tests.fixtures.tasks import configured, rows_are_in_step, share_no_picture

TINY = [
    *("task=t2i_coco", "task.size=32", "training.batch=8", "budget.steps=2", "sampling.steps=1"),
    *("sampling.solver=euler", "sampling.guidance=2", "methods=flow_matching+crossflow"),
    "quick=true",  # without Inception nothing ranks
]


@pytest.fixture(autouse=True)
def no_inception(tmp_path, monkeypatch):
    """Whatever lies in the hub's folder of this machine."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


@pytest.fixture
def toy_inception(monkeypatch):
    """Features of 4 x 4 mean colours in Inception's place; its file is not there for tests."""

    def extract(images, *, metrics, **_):
        pictures = torch.from_numpy(np.stack([images[i] for i in range(len(images))]))
        cells = torch.nn.functional.adaptive_avg_pool2d(pictures.permute(0, 3, 1, 2).float(), 4)
        return dict.fromkeys(metrics, cells.flatten(1) / 128 - 1)

    monkeypatch.setattr(distribution, "extract_features", extract)
    monkeypatch.setattr(distribution, "find_inception", lambda *_: (Path("toy"), "toy"))


def task_of(root, work, **changed):
    return t2i_coco.TASK(configured("t2i_coco", work, **{"root": root, "size": 32} | changed))


def prepared(root, work, **changed):
    return task_of(root, work, **changed).prepare()


def test_items_are_nested_and_each_has_one_of_its_captions(coco_root):
    photos = task_of(coco_root, "").scored.photos
    rows, picks = t2i_coco.choose_captions(photos, 12)
    assert rows == list(range(12))
    fewer, same = t2i_coco.choose_captions(photos, 5)
    assert fewer == sorted(fewer)
    assert set(zip(fewer, same, strict=True)) < set(zip(rows, picks, strict=True))
    assert max(picks) < 6
    assert len(set(picks)) > 2
    # Fixed: another numpy or another machine chooses the same.
    assert (fewer, same) == ([0, 2, 4, 7, 10], [5, 0, 4, 0, 4])


def test_truth(coco_root, tmp_path):
    truth = task_of(coco_root, tmp_path, limit=5).test
    assert len(truth.ids) == 5
    assert len(truth.reference) == 12
    key = truth.key()
    assert key["options"]["reference_images"] == 12
    assert key["split"] == "val2014"
    assert t2i_coco.TASK(Config()).primary(5) == "kid@5"
    assert t2i_coco.TASK(Config()).primary(30_000) == "fid@30000"
    caption, picture = truth.cells(0)
    assert caption == truth.captions[0]
    assert picture.shape == (32, 32, 3)


def test_the_key_sees_every_reference_picture(coco_root, tmp_path, edited):
    def key(**changed):
        return task_of(coco_root, tmp_path, **changed).test.key()

    before = key(limit=5)
    assert before == key(limit=5)
    assert before["items"] != key(limit=6)["items"]
    assert before["options"] != key(limit=5, size=48)["options"]
    chosen = task_of(coco_root, tmp_path, limit=5).test
    paths = {photo.path for photo in chosen.photos}
    other = next(p.path for p in chosen.reference.photos if p.path not in paths)
    shutil.copy(chosen.photos[0].path, other)  # a picture that is only reference
    assert key(limit=5)["truth"] != before["truth"]


def test_stores(coco_root, tmp_path):
    ready = prepared(coco_root, tmp_path / "work", limit=5)
    assert (len(ready.train), len(ready.validation), len(ready.test)) == (22, 2, 5)
    assert ready.train.captions == VARIANTS
    assert ready.test.ids == list(ready.truth.ids)
    assert ready.validation.ids == list(ready.validation_truth.ids)
    assert ready.problem.charge == "contrastive"
    assert ready.problem.null_rate == 0.1
    pair = ready.train.pairs([0, 1], [4, 0])
    assert pair.source.values.max() < ready.problem.source.vocabulary
    assert pair.source.mask.any(1).all()
    assert share_no_picture(ready)
    assert rows_are_in_step(ready.truth)
    raw = unstandardise(ready.test.pairs([2]).target, ready.test.statistics["target"])
    assert (ready.decode(raw)[0] == ready.truth.cells(2)[1]).all()
    assert ready.frozen["vocabulary"]["size"] == ready.problem.source.vocabulary
    floor = ready.floor()
    assert len(floor) == 5
    task = task_of(coco_root, tmp_path)
    scored = task.tokens.encode(ready.truth.captions)[0]
    assert (ready.test.pairs(range(5)).source.values.numpy() == scored).all()
    assert "weights.inception is not set" in task.unavailable()
    again = prepared(coco_root, tmp_path / "work", limit=5)
    assert again.train.folder == ready.train.folder


def test_a_changed_photograph_makes_another_store(coco_root, tmp_path):
    before = prepared(coco_root, tmp_path / "work").train.folder
    path = coco_root / "train2014/COCO_train2014_000000000003.jpg"
    shutil.copy(coco_root / "train2014/COCO_train2014_000000000004.jpg", path)
    assert prepared(coco_root, tmp_path / "work").train.folder != before


def test_scores_compare_with_the_whole_split(coco_root, tmp_path, toy_inception, monkeypatch):
    monkeypatch.setitem(distribution.LEAST, "kid", 5)
    truth = task_of(coco_root, tmp_path, limit=6).test
    own = truth.score(truth.pictures)
    assert own.scores["kid@6"].n == 6
    assert own.scores["precision_inception@6"].value == 1.0
    noise = np.random.RandomState(0).randint(0, 256, (6, 32, 32, 3), np.uint8)
    assert truth.score(list(noise)).scores["kid@6"].value > own.scores["kid@6"].value
    assert own.unavailable["fid@6"].startswith("FID needs at least")
    assert "weights.clip" in own.unavailable["clip_vitb32_openai_cos"]
    assert own.items["image_id"] == [photo.id for photo in truth.photos]


def test_inception_is_in_the_score_key(coco_root, tmp_path, request):
    def named():
        return task_of(coco_root, tmp_path).test.key()["options"]

    assert named()["inception"] is None
    request.getfixturevalue("toy_inception")
    assert named()["inception"] == "toy"


def toy_features(texts):
    """In place of CLIP's: two tokens, the lengths of the text and of its words."""
    rows = [[[len(t), 0, 1], [len(t.split()), 1, 0]] for t in texts]
    return np.array(rows, np.float16), np.ones((len(texts), 2), bool)


def test_features_of_a_text_encoder(coco_root, tmp_path, monkeypatch):
    frozen = {"text_encoder": {"class": "toy", "sha256": "ab" * 8}}
    toy = codecs.CaptionTokens(TokenShape(2, width=3), toy_features, frozen)
    monkeypatch.setattr(codecs, "load_text_encoder", lambda *_: toy)
    ready = prepared(coco_root, tmp_path, limit=4, weights={"text_encoder": "clip"})
    assert ready.problem.source.width == 3
    assert ready.frozen == frozen
    source = ready.test.pairs([1]).source
    text = ready.truth.captions[1]
    assert source.values[0, :, 0].tolist() == [len(text), len(text.split())]


def test_latents_of_an_autoencoder(coco_root, tmp_path, bench_data):
    weights = {"autoencoder": str(bench_data / "weights/taef2")}
    ready = prepared(coco_root, tmp_path, limit=4, weights=weights, train_limit=8)
    assert ready.problem.target.sizes == (32, 4, 4)
    assert ready.problem.patch == 1
    latents = unstandardise(ready.test.pairs([0, 1]).target, ready.test.statistics["target"])
    pictures = ready.decode(latents)
    assert pictures[0].shape == (32, 32, 3)
    error = np.abs(pictures[0].astype(float) - ready.truth.cells(0)[1]).mean()
    assert error < 40  # noise at 32 pixels is hard for it; another picture is 80 away
    assert set(ready.frozen) == {"autoencoder", "vocabulary"}


def test_trains_samples_and_scores_the_files_of_others(coco_root, tmp_path, issue):
    data = [f"task.root={coco_root}", "task.limit=4"]
    status, said = issue(run.job, *TINY, *data)
    assert status == 0, said
    found = {record.method: record for record in records.read_all(Path("results/local"))}
    assert set(found) == {"floor", "oracle", "flow_matching", "crossflow"}
    ours = found["crossflow"]
    assert "kid@4" in ours.unavailable
    assert ours.fair.score["options"]["reference_images"] == 12
    folder = Path("runs/t2i_coco") / ours.run_id / "predictions"
    fields = ["task=t2i_coco", "task.size=32", *data, "name=theirs", "out=other"]
    status, said = issue(evaluate.job, *fields, f"predictions={folder}")
    assert status == 0, said
    theirs = records.read_all(Path("other"))[0]
    assert theirs.kind == "evaluation"
    assert theirs.score_key == ours.score_key


@pytest.fixture
def prompt_file(tmp_path, monkeypatch):
    """A list of two prompts, and what it holds."""
    tags = list(geneval.PROMPTS)[:2]
    monkeypatch.setattr(geneval, "PROMPTS", dict.fromkeys(tags, 1))
    rows = [{"tag": tag, "prompt": f"a photo of {tag}", "include": []} for tag in tags]
    file = tmp_path / "prompts.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file, rows


def test_every_arm_draws_the_prompts_of_geneval(coco_root, prompt_file, issue):
    file, rows = prompt_file
    data = [f"task.root={coco_root}", "task.limit=4"]
    status, said = issue(run.job, *TINY, *data, f"task.prompts={file}")
    assert status == 0, said
    found = {record.method: record for record in records.read_all(Path("results/local"))}
    for method in ("flow_matching", "crossflow"):
        folder = Path("runs/t2i_coco") / found[method].run_id / "geneval"
        for index, row in enumerate(rows):
            assert json.loads((folder / f"{index:05d}/metadata.jsonl").read_text()) == row
            pictures = [
                read_rgb(folder / f"{index:05d}/samples/{number:05d}.png") for number in range(4)
            ]
            assert pictures[0].shape == (32, 32, 3)
            assert all((pictures[0] != other).any() for other in pictures[1:])
    status, said = issue(run.job, *TINY, *data, "task.prompts=nowhere.jsonl")
    assert (status, "nowhere.jsonl" in said) == (2, True)
    assert issue(run.job, "task=caption_coco", *data, f"task.prompts={file}")[0] == 2


def test_guidance_cannot_be_chosen_without_inception(coco_root, refused):
    fields = [field for field in TINY if not field.startswith("sampling.guidance")]
    said = refused(run.job, *fields, f"task.root={coco_root}")
    assert "weights.inception is not set" in said and "sampling.guidance" in said
    refused(run.job, *TINY, "sampling.curve=[1]", f"task.root={coco_root}")


def cut_in_half(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def test_a_damaged_or_missing_photograph_stops_a_run(coco_root, refused):
    path = sorted((coco_root / "train2014").iterdir())[3]
    for spoil in (cut_in_half, Path.unlink):
        spoil(path)
        assert path.name in refused(run.job, *TINY, f"task.root={coco_root}")


def test_a_damaged_reference_stops_an_evaluation(coco_root, tmp_path, refused, toy_inception):
    """A picture that no item shows still belongs to the reference: it is not left out."""
    truth = task_of(coco_root, tmp_path, limit=4).test
    truth.write(tmp_path / "made", truth.pictures)
    shown = {photo.path for photo in truth.photos}
    path = next(p.path for p in truth.reference.photos if p.path not in shown)
    cut_in_half(path)
    fields = ["task=t2i_coco", f"task.root={coco_root}", "task.size=32", "task.limit=4"]
    assert path.name in refused(evaluate.job, *fields, f"predictions={tmp_path / 'made'}")


def test_scored_images_are_not_trained_on(coco_root, tmp_path):
    for name in ("train2014", "val2014"):
        shutil.copytree(coco_root / name, coco_root / "images", dirs_exist_ok=True)
        shutil.rmtree(coco_root / name)
    lists = coco_root / "annotations"
    for name in ("train", "val"):
        shutil.copy(lists / "captions_val2014.json", lists / f"captions_{name}.json")
    listed = str(lists / "captions_val.json")
    with pytest.raises(InputError, match="12 images are scored and in the training split too"):
        prepared(coco_root, tmp_path, split_file=listed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"layout": "webdataset"}, "task.layout=webdataset: this task takes coco, karpathy"),
        ({"size": 40}, "task.size=40"),
        ({"split": "train2014"}, "task.split=train2014"),
    ],
)
def test_wrong_fields(coco_root, tmp_path, changed, said):
    with pytest.raises(InputError, match=said):
        prepared(coco_root, tmp_path, **changed)


def test_karpathy_layout(coco_root, tmp_path):
    truth = task_of(coco_root, tmp_path, layout="karpathy").test
    assert truth.key()["split"] == "test"
    assert len(truth.reference) == 3
    content = json.loads((coco_root / "dataset_coco.json").read_text())
    known = {str(s["sentid"]) for image in content["images"] for s in image["sentences"]}
    assert set(truth.ids) <= known


def test_cleaned_captions_are_counted_in_the_scores(coco_root, tmp_path, edited):
    def change(content):
        content["annotations"][0]["caption"] += "\r"

    edited(coco_root / "annotations/captions_val2014.json", change)
    truth = task_of(coco_root, tmp_path).test
    assert truth.score(truth.pictures).counts["captions_cleaned"] == 1
