"""Super-resolution on ImageNet, from the files to the record; where its flow runs."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks import evaluate, prepare, run
from benchmarks.codecs import image
from benchmarks.codecs.image import ImageSpace
from benchmarks.config.schema import Config, TaskConfig, WeightsConfig
from benchmarks.data.predictions import write_image
from benchmarks.records import record as records
from benchmarks.tasks import sr_imagenet
from crossflow.errors import InputError
from tests.fixtures.tasks import configured, rows_are_in_step


@pytest.fixture
def no_inception(tmp_path, monkeypatch):
    """torch's hub folder is empty, so that Inception is not found on any machine."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))


@pytest.mark.usefixtures("no_inception")
def test_imagenet(bench_data, match, scored_again):
    data = ["task=sr_imagenet", f"task.root={bench_data / 'roots/imagenet'}", "task.size=64"]
    data.append("task.limit=5")
    found = match(*data, "task.train_limit=16", "methods=crossflow+flow_matching", "quick=true")
    assert found["oracle"].scores["psnr_rgb"].value == 80
    assert 15 < found["floor"].scores["psnr_y"].value < 40
    for name, reason in (("kid@5", "weights.inception"), ("lpips_alex", "weights.lpips")):
        assert reason in found["crossflow"].unavailable[name]
    # The source is the enlarged picture itself: after two steps still close to bicubic.
    floor, ours = (found[name].scores["psnr_y"].value for name in ("floor", "crossflow"))
    assert np.isclose(floor, ours, atol=3)
    scored_again(found["crossflow"], *data)


@pytest.mark.usefixtures("no_inception")
def test_small_photographs_are_left_out_and_counted(tmp_path, issue):
    """A model that was run on the whole val folder has predictions for them too."""
    random = np.random.default_rng(0)
    for number, side in enumerate((64, 40, 70, 50)):
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        photo = tmp_path / f"root/val/n01/x{number}.JPEG"
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(photo)
        write_image(tmp_path / "p", f"n01/x{number}", np.full((64, 64, 3), 90, np.uint8))
    arguments = ["task=sr_imagenet", f"task.root={tmp_path / 'root'}", "task.size=64"]
    assert issue(evaluate.job, *arguments, f"predictions={tmp_path / 'p'}", "name=x")[0] == 0
    (record,) = records.read_all(Path("results/local"))
    assert record.scores["psnr_y"].n == 2
    assert record.fair.proof["counts"]["photographs_too_small"] == 2


@pytest.mark.usefixtures("no_inception")
def test_classes_that_are_links_are_scored_and_what_is_left_out_is_told(tmp_path, issue):
    random = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / ("root/val/n0" if number < 3 else f"disk/n{number % 3}")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"x{number}.JPEG")
    for name in ("n0", "n1", "n2"):
        (tmp_path / f"root/val/{name}{name}").symlink_to(tmp_path / "disk" / name)
    (tmp_path / "disk/n1/loop").symlink_to(tmp_path / "root/val")
    for name in ("n0/notes.txt", "n0/x.gif", "n0/._x0.JPEG"):
        (tmp_path / "root/val" / name).write_text("")
    arguments = ["task=sr_imagenet", f"task.root={tmp_path / 'root'}", "task.size=64"]
    assert issue(prepare.job, *arguments, "export=given")[0] == 0
    given = [*arguments, "predictions=given/truth", "name=x"]
    assert "2 test files left out, no pictures by suffix" in issue(evaluate.job, *given)[1]
    (record,) = records.read_all(Path("results/local"))
    assert record.scores["psnr_rgb"].n == 12
    assert record.fair.proof["counts"]["files_left_out"] == 2


@pytest.mark.usefixtures("no_inception")
def test_batches_are_in_step(bench_data):
    root = bench_data / "roots/imagenet"
    task = sr_imagenet.TASK(configured("sr_imagenet", "", root=root, size=32, limit=3))
    assert rows_are_in_step(task.test)


@pytest.mark.usefixtures("no_inception")
def test_scored_photographs_are_not_trained_on(bench_data, tmp_path, refused):
    """A small root whose training folder holds photographs of val."""
    shutil.copytree(bench_data / "roots/imagenet", tmp_path / "root")
    first = min((tmp_path / "root/val").rglob("*.JPEG"))
    copy = tmp_path / "root/train" / first.relative_to(tmp_path / "root/val")
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(first, copy)
    said = refused(prepare.job, "task=sr_imagenet", f"task.root={tmp_path / 'root'}")
    assert f"1 photographs are scored and in the training split too: {copy.parent.name}" in said


@pytest.mark.usefixtures("no_inception")
def test_imagenet_has_no_curve_of_a_score_that_it_cannot_compute(bench_data, refused):
    """Refused before training, not after it."""
    arguments = ["task=sr_imagenet", f"task.root={bench_data / 'roots/imagenet'}", "task.size=64"]
    arguments += ["task.limit=3", "task.train_limit=8", "sampling.curve=[1]", "methods=crossflow"]
    assert "weights.inception is not set" in refused(run.job, *arguments)


@pytest.mark.usefixtures("no_inception")
def test_imagenet_in_latents(bench_data, tmp_path, match):
    """The oracle is the truth through the autoencoder, the floor bicubic in pixels as before."""
    weights = [f"weights.autoencoder={bench_data / 'weights/taef2'}"]
    weights += [f"weights.lpips={bench_data / 'weights/lpips'}"]
    data = ["task=sr_imagenet", f"task.root={bench_data / 'roots/imagenet'}", "task.size=64"]
    data += ["task.limit=3", "task.train_limit=8", "methods=crossflow"]
    data += ["quick=true"]  # without Inception nothing ranks
    pixels = match(*data, place=tmp_path / "pixels")
    found = match(*data, *weights, place=tmp_path / "latents")
    floor, oracle, ours = (found[name] for name in ("floor", "oracle", "crossflow"))
    for name, score in pixels["floor"].scores.items():
        assert floor.scores[name] == score
    assert 20 < oracle.scores["psnr_rgb"].value < 40
    assert 0.5 < oracle.scores["ssim_rgb"].value < 0.999
    assert oracle.scores["lpips_alex"].value < floor.scores["lpips_alex"].value < 1
    # After two steps still the enlarged picture, through the autoencoder.
    assert ours.scores["psnr_y"].value > floor.scores["psnr_y"].value - 6
    without = {**ours.fair.score, "options": {**ours.fair.score["options"], "lpips": None}}
    assert without == pixels["crossflow"].fair.score, "the codec is no part of what is scored"
    assert ours.fair_key != pixels["crossflow"].fair_key
    facts = ours.fair.proof["frozen"]["autoencoder"]
    assert (facts["class"], facts["channels"], facts["factor"]) == ("TAESD", 32, 8)
    # What the codec wrote: latents of a 64 pixel picture.
    store = next((tmp_path / "latents/work/stores").glob("sr_imagenet-test-*"))
    assert np.load(store / "target.npy").shape == (3, 32, 8, 8)


def test_an_autoencoder_that_does_not_fit_is_refused(bench_data, tmp_path, refused, monkeypatch):
    arguments = ["task=sr_imagenet", f"task.root={bench_data / 'roots/imagenet'}", "task.size=64"]
    arguments += [f"weights.autoencoder={tmp_path}", "task.limit=2"]
    assert "weights.autoencoder" in refused(run.job, *arguments)
    monkeypatch.setattr(image, "load_image_codec", lambda *_: SimpleNamespace(factor=32))
    config = Config(task=TaskConfig(size=64), weights=WeightsConfig(autoencoder="coarse"))
    assert image.image_space(config, "cpu").side == 2
    config.task.size = 48
    with pytest.raises(InputError, match=r"task\.size=48: must be a multiple of 32"):
        image.image_space(config, "cpu")


@pytest.mark.parametrize(("size", "patch"), [(64, 1), (256, 2), (512, 4), (272, 2), (336, 2)])
def test_latents_keep_at_least_sixteen_patches_a_side(size, patch):
    """256 pixels: 32 x 32 latents in patches of 2, as in the paper; small ones in patches of 1."""
    assert ImageSpace(size, SimpleNamespace(factor=8)).patch == patch
