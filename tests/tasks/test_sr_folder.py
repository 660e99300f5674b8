"""Super-resolution on folders: layouts, tiles, published bicubic numbers, training, bad data."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import evaluate, prepare, run
from benchmarks.config import command
from benchmarks.config.schema import Config
from benchmarks.data import photos as reader
from benchmarks.data.images import centre_square, enlarge, read_rgb
from benchmarks.records import record as records
from benchmarks.tasks.sr_folder import TASK, FolderPhotographs
from crossflow.errors import InputError

RANDOM = np.random.default_rng(0)


def save(path, height, width, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def truth(root, layout="folders", part="test", scale=4, size=32):
    config = Config()
    config.task.size, config.task.scale = size, scale
    return FolderPhotographs(TASK(config), part, *reader.pairs(root, layout, part, scale))


@pytest.mark.parametrize(
    ("layout", "high", "low"),
    [
        ("folders", "HR/a.png", "LR/a.png"),
        ("folders", "train/HR/a.png", "train/LR/a.png"),
        ("basicsr", "GTmod12/a.png", "LRbicx4/a.png"),
        ("selfexsr", "image_SRF_4/a_SRF_4_HR.png", "image_SRF_4/a_SRF_4_LR.png"),
        ("div2k", "DIV2K_valid_HR/a.png", "DIV2K_valid_LR_bicubic/X4/ax4.png"),
        ("div2k", "DIV2K_train_HR/a.png", "DIV2K_train_LR_bicubic/X4/ax4.png"),
    ],
)
def test_layouts(tmp_path, layout, high, low):
    save(tmp_path / high, 41, 46)
    part = "train" if "train" in high else "test"
    without, _ = reader.pairs(tmp_path, layout, part, 4)
    assert [(pair.id, pair.low) for pair in without] == [("a", None)]
    save(tmp_path / low, 10, 11)
    (tmp_path / low).with_name("notes.txt").write_text("no picture")
    found, left_out = reader.pairs(tmp_path, layout, part, 4)
    assert left_out == 1
    assert [(pair.id, pair.low) for pair in found] == [("a", tmp_path / low)]
    # cut at the bottom and right to multiples of the scale
    enlarged, target = reader.load_pair(found[0])
    np.testing.assert_array_equal(target, read_rgb(tmp_path / high)[:40, :44])
    np.testing.assert_array_equal(enlarged, enlarge(read_rgb(tmp_path / low), 4))
    assert reader.load_pair(without[0])[0].shape == (40, 44, 3)
    assert found[0].size() == (40, 44)


def test_given_and_made_small_pictures_are_not_compared(tmp_path):
    for folder in ("given", "made"):
        save(tmp_path / folder / "HR/a.png", 40, 40)
    pixels = (tmp_path / "made/HR/a.png").read_bytes()
    (tmp_path / "given/HR/a.png").write_bytes(pixels)
    save(tmp_path / "given/LR/a.png", 10, 10)
    given, made = (truth(tmp_path / folder).key() for folder in ("given", "made"))
    assert given["truth"] == made["truth"]
    assert given["options"]["low_resolution"] != made["options"]["low_resolution"]
    assert given["options"]["border"] == 4


def test_the_key_does_not_depend_on_the_layout(tmp_path):
    save(tmp_path / "a/HR/x.png", 40, 44)
    save(tmp_path / "a/LR/x.png", 10, 11)
    for old, new in (
        ("HR/x.png", "image_SRF_4/x_SRF_4_HR.bmp"),
        ("LR/x.png", "image_SRF_4/x_SRF_4_LR.bmp"),
    ):
        (tmp_path / "b/image_SRF_4").mkdir(parents=True, exist_ok=True)
        Image.open(tmp_path / "a" / old).save(tmp_path / "b" / new)
    assert truth(tmp_path / "a").key() == truth(tmp_path / "b", "selfexsr").key()


def test_bad_folders(tmp_path):
    def refused(match, scale=4):
        with pytest.raises(InputError, match=match) as error:
            reader.pairs(tmp_path, "folders", "test", scale)
        assert "\n" not in str(error.value)

    refused(r"needs .*HR/\*\.png, none was found; Set5")
    save(tmp_path / "HR/a.png", 40, 44)
    save(tmp_path / "HR/b.png", 40, 44)
    (tmp_path / "LR").mkdir()
    (tmp_path / "LR/a.tif").touch()
    refused(r"2 photographs .*HR/.* have no small version .*LR/.*: a, b")
    save(tmp_path / "LR/a.png", 10, 11)
    refused("1 photographs .*HR/.* have no small version .*LR/.*: b")
    save(tmp_path / "LR/b.png", 10, 10)
    refused(r"1 pairs do not fit: b: \(10, 10\) instead of \(11, 10\)")
    refused(r"2 pairs do not fit: a: \(11, 10\) instead of \(22, 20\)", scale=2)
    save(tmp_path / "LR/b.png", 10, 11)
    save(tmp_path / "LR/c.png", 10, 11)
    refused("1 photographs .* or the reverse: c")
    (tmp_path / "LR/c.png").unlink()
    save(tmp_path / "HR/a.jpg", 40, 44)
    refused("would share one prediction name")
    (tmp_path / "HR/a.jpg").unlink()
    # a truncated file is found before anything is scored
    path = tmp_path / "HR/b.png"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"b\.png: .*truncated"):
        truth(tmp_path).key()


def evaluated(tmp_path, root, predictions, *more):
    places = [f"out={tmp_path / 'out'}", f"work={tmp_path / 'w'}", f"predictions={predictions}"]
    arguments = ["task=sr_folder", f"task.root={root}", "name=bicubic", *places, *more]
    status = command.run(evaluate.job, arguments, command="evaluate")
    return status, list(records.read_all(tmp_path / "out"))


@pytest.mark.parametrize("name", ["Set5_x2", "Set5_x4", "BSD100_x4"])
def test_published_bicubic_numbers(bench_data, tmp_path, name):
    """MATLAB's small pictures, enlarged by Pillow, scored by the command."""
    expected = json.loads((bench_data / "sr/expected_bicubic.json").read_text())
    data_set, scale = name.split("_x")
    root, predictions = bench_data / "sr" / data_set / f"x{scale}", tmp_path / "p"
    predictions.mkdir()
    for path in (root / "LR").iterdir():
        big = enlarge(read_rgb(path), int(scale))
        Image.fromarray(big).save(predictions / path.name)
    status, found = evaluated(tmp_path, root, predictions, f"task.scale={scale}")
    assert status == 0
    scores, known = found[0].scores, expected["bicubic_pillow"][name]
    assert scores["psnr_y"].n == known["images"]
    assert scores["psnr_y"].value == pytest.approx(known["psnr_y"], abs=1e-4)
    assert scores["ssim_y"].value == pytest.approx(known["ssim_y"], abs=1e-5)
    if name in expected["published_bicubic_psnr_ssim"]:
        psnr, ssim = expected["published_bicubic_psnr_ssim"][name]
        assert scores["psnr_y"].value == pytest.approx(psnr, abs=0.02)
        assert scores["ssim_y"].value == pytest.approx(ssim, abs=1e-3)
    assert "weights.lpips is not set" in found[0].unavailable["lpips_alex"]
    options = found[0].fair.score["options"]
    assert options["border"] == int(scale)
    assert options["low_resolution"].startswith("given: ")


def test_predictions_have_the_size_that_is_scored(tmp_path, capsys):
    save(tmp_path / "root/HR/b.png", 41, 46)
    save(tmp_path / "p/b.png", 40, 44)
    assert evaluated(tmp_path, tmp_path / "root", tmp_path / "p")[0] == 0
    save(tmp_path / "p/b.png", 41, 46)  # the file's size, not cut to the scale
    assert evaluated(tmp_path, tmp_path / "root", tmp_path / "p")[0] == 2
    assert "b is 41 x 46 instead of 40 x 44" in capsys.readouterr().err


@pytest.fixture
def small_root(bench_data, tmp_path):
    """Two test pictures of unequal sizes and four training photographs."""
    root = tmp_path / "root"
    (root / "HR").mkdir(parents=True)
    (root / "train/HR").mkdir(parents=True)
    for name, box in (("img_001", np.s_[100:150, 50:114]), ("img_002", np.s_[0:33, 0:47])):
        picture = read_rgb(bench_data / "sr/BSD100/x4/HR" / f"{name}.png")[box]
        Image.fromarray(picture).save(root / f"HR/{name}.png")
    for path in sorted((bench_data / "roots/imagenet/train").rglob("*.JPEG"))[:4]:
        picture = centre_square(read_rgb(path, reader.MODES), 64)
        Image.fromarray(picture).save(root / f"train/HR/{path.stem}.png")
    return root


FAST = ["task=sr_folder", "methods=crossflow", "task.size=32", "training.batch=4"]


def test_training_on_squares_and_sampling_in_tiles(small_root, tmp_path, match, scored_again):
    data = ["task=sr_folder", f"task.root={small_root}"]
    found = match(*FAST, *data)
    assert set(found) == {"floor", "oracle", "crossflow"}
    assert found["oracle"].scores["psnr_y"].value == 80
    assert found["oracle"].scores["psnr_y"].n == 2
    floor, ours = (found[name].scores["psnr_y"].value for name in ("floor", "crossflow"))
    assert 10 < floor < 60
    assert ours == pytest.approx(floor, abs=4)
    assert "tiling" in found["crossflow"].fair.proof["frozen"]
    # the files a run leaves give its scores again
    predictions = tmp_path / "work/sr_folder" / found["crossflow"].run_id / "predictions"
    assert read_rgb(predictions / "img_001.png").shape == (48, 64, 3)
    scored_again(found["crossflow"], *data)


def test_folder_in_latents(small_root, bench_data, match):
    weights = f"weights.autoencoder={bench_data / 'weights/taef2'}"
    found = match(*FAST, f"task.root={small_root}", weights)
    assert 18 < found["oracle"].scores["psnr_y"].value < 50
    assert found["oracle"].fair.proof["frozen"]["autoencoder"]["factor"] == 8


def test_training_needs_training_photographs_of_one_kind(small_root, refused):
    def wrong(text, *more):
        assert text in refused(run.job, "task=sr_folder", f"task.root={small_root}", *more)

    wrong("all 4 training photographs are smaller", "task.size=128")
    for path in sorted((small_root / "HR").iterdir()):
        height, width = (length // 4 for length in read_rgb(path).shape[:2])
        save(small_root / "LR" / path.name, height, width)
    wrong("the test photographs have small versions", "task.size=32")
    for path in (small_root / "train/HR").iterdir():
        path.unlink()
    wrong("the train split (task.layout=folders) needs", "task.size=32")
    wrong("task.layout=other: this task takes folders", "task.layout=other")
    wrong("task.size=40: must be a multiple of 16", "task.size=40")
    wrong("task.scale=1: must be at least 2", "task.scale=1")


def test_what_only_scoring_notices_is_told_before_training(small_root, refused):
    """A border that leaves nothing for SSIM: once known after hours of training only."""
    arguments = ["task=sr_folder", "methods=crossflow", "task.size=32", "task.border=22"]
    told = refused(run.job, *arguments, "budget.samples=8", f"task.root={small_root}")
    assert "img_001: 64 x 48 pixels with a border of 22 cut is too small for SSIM" in told
    assert not list(Path().rglob("*.safetensors"))


def test_scored_photographs_are_not_trained_on(small_root, refused):
    """Whatever name a copy has; a photograph of equal length is no copy."""
    first = min((small_root / "train/HR").iterdir())
    for spoil in (Path.write_bytes, lambda path, _: path.unlink() or path.symlink_to(first)):
        spoil(small_root / "HR/another_name.png", first.read_bytes())
        said = refused(prepare.job, "task=sr_folder", "task.size=32", f"task.root={small_root}")
        assert f"1 photographs are scored and in the training split too: {first.stem}" in said


def test_the_trunk_of_lpips_is_in_the_score_key(small_root, bench_data, tmp_path):
    """Two files that pass for the published network give other distances: no common table."""
    published = bench_data / "weights/lpips/alexnet_features_fp16.npz"
    arrays = dict(np.load(published))
    np.savez(tmp_path / "alexnet.npz", **{k: v.astype(np.float32) for k, v in arrays.items()})
    config = Config()
    config.task.size, config.task.scale = 32, 4
    found = []
    for weights in (None, str(published), str(tmp_path)):
        config.weights.lpips = weights
        pairs, _ = reader.pairs(small_root, "folders", "test", 4)
        found.append(FolderPhotographs(TASK(config), "test", pairs).key()["options"]["lpips"])
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    assert found[:2] == [None, digest]
    assert found[2] not in (None, digest)
