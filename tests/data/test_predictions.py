"""Predictions on disk: a round trip through each format, and every mistake a user can make."""

import json

import numpy as np
import pytest

from benchmarks.data.depth_frames import NYU, listed_frames, load_depth, nyu_protocol
from benchmarks.data.predictions import (
    IMAGE_FORMATS,
    Predictions,
    depth_formats,
    read_captions,
    write_captions,
    write_depth,
    write_image,
)
from benchmarks.metrics.depth import depth_scores
from benchmarks.metrics.images import image_scores
from crossflow.errors import InputError
from tests.fixtures.depth import write_depth_png

IDS = ["bathroom/rgb_1", "kitchen/rgb.2", "kitchen/rgb_3"]


@pytest.fixture
def depth_maps():
    return np.random.default_rng(0).uniform(1, 9, (3, 48, 64)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, depth_maps):
    """A folder whose name a shell or hydra would stumble over."""
    path = tmp_path / "ü =,[x] y"
    for name, depth in zip(IDS, depth_maps, strict=True):
        write_depth(path, name, depth)
    return path


def open_depth(folder, scale=1000.0):
    return Predictions(folder, IDS, [(48, 64)] * 3, depth_formats(scale))


def test_depth_round_trip(folder, depth_maps):
    (folder / "notes.txt").write_text("other files are let be")
    found = open_depth(folder)
    assert np.array_equal(np.stack(list(found)), depth_maps)
    assert found[0].flags.writeable  # a copy: a read-only map makes torch warn
    assert np.array_equal(found[1:][1], depth_maps[2])
    scored = depth_scores(IDS, found, depth_maps, nyu_protocol())
    assert scored.scores["absrel"].value == 0
    assert scored.items["id"] == IDS


def test_depth_in_the_coding_of_the_data_set(folder, depth_maps):
    (folder / "kitchen/rgb_3.npy").unlink()
    write_depth_png(folder / "kitchen/rgb_3.png", depth_maps[2])
    found = open_depth(folder)
    assert np.abs(found[2] - depth_maps[2]).max() < 1.1e-3
    assert found[2].dtype == np.float32
    with pytest.raises(InputError, match=r"1 of 3 files \(\.npy\) are missing"):
        open_depth(folder, scale=None)


def test_missing_extra_and_double_predictions(folder, depth_maps, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        open_depth(tmp_path / "nothing")
    write_depth_png(folder / "bathroom/rgb_1.png", depth_maps[0])
    with pytest.raises(InputError, match=r"bathroom/rgb_1\.npy and .*rgb_1\.png would share one"):
        open_depth(folder)
    (folder / "bathroom/rgb_1.png").unlink()
    for number in range(5):
        write_depth(folder, f"garage/{number}", depth_maps[0])
    with pytest.raises(InputError, match=r"5 predictions .*\(3 items\): garage/0.* and 2 more"):
        open_depth(folder)
    (folder / "bathroom/rgb_1.npy").unlink()
    (folder / "kitchen/rgb_3.npy").unlink()
    with pytest.raises(InputError, match=r"2 of 3 .*: bathroom/rgb_1\.npy, kitchen/rgb_3\.npy"):
        open_depth(folder)


def test_wrong_sizes_are_listed(folder, depth_maps):
    write_depth(folder, IDS[0], depth_maps[0][:-1])
    write_depth(folder, IDS[2], depth_maps[0][None])
    first, last = "rgb_1 is 47 x 64 instead of 48 x 64", "kitchen/rgb_3 is 1 x 48 x 64"
    with pytest.raises(InputError, match=f"2 of 3 have another size .*{first}, {last}"):
        open_depth(folder)


def test_files_that_are_no_float32_arrays_are_refused(folder, depth_maps):
    path = folder / f"{IDS[1]}.npy"
    np.save(path, depth_maps[1].astype(np.float64))
    with pytest.raises(InputError, match=r"rgb\.2\.npy: float64, .*float32 metres"):
        open_depth(folder)
    for content in (b"\x93NUMPY", b"PK\x03\x04" + bytes(60)):  # cut short; as `np.savez` writes
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"rgb\.2\.npy: not a numpy file"):
            open_depth(folder)


def test_depth_of_another_program_on_real_frames(bench_data, tmp_path):
    """Maps 10 % too far, as float32 and in millimetres: AbsRel 0.1 and delta1 1, and SILog 0."""
    frames = listed_frames(NYU, bench_data / "roots/nyu", "test")[0][:4]
    ids, truths = [frame.id for frame in frames], [load_depth(frame) for frame in frames]
    for number, (name, truth) in enumerate(zip(ids, truths, strict=True)):
        write_depth(tmp_path, name, truth * np.float32(1.1))
        if number % 2:
            (tmp_path / f"{name}.npy").unlink()
            write_depth_png(tmp_path / f"{name}.png", truth * np.float32(1.1))
    found = Predictions(tmp_path, ids, [frame.size() for frame in frames], depth_formats(1000.0))
    scored = depth_scores(ids, found, truths, nyu_protocol())
    assert scored.scores["absrel"].value == pytest.approx(0.1, abs=2e-3)
    assert scored.scores["delta1"].value == 1
    assert scored.scores["silog"].value < 0.5
    assert scored.scores["absrel_median"].value < 3e-3
    # the data are 480 x 640 and full of depth, so the crop decides the number of pixels
    assert scored.items["valid_pixels"] == [426 * 560] * 4


def test_image_round_trip(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 20, 3), dtype=np.uint8)
    ids = ["n01443537/x", "n01443537/y z"]
    for name, image in zip(ids, images, strict=True):
        write_image(tmp_path, name, image)
    found = Predictions(tmp_path, ids, [(16, 20)] * 2, IMAGE_FORMATS)
    assert np.array_equal(np.stack(list(found)), images)
    assert np.array_equal(found[:1][0], images[0])
    assert [path.name for path in found.paths] == ["x.png", "y z.png"]  # names an evaluation
    assert image_scores(ids, found, images).counts["equal_images_rgb"] == 2
    with pytest.raises(InputError, match="n01443537/x is 16 x 20 instead of 20 x 20"):
        Predictions(tmp_path, ids, [(20, 20), (16, 20)], IMAGE_FORMATS)


def test_captions_round_trip(tmp_path):
    captions = {7: "a café \U0001f600", 3: ""}
    write_captions(tmp_path / "x", captions)
    path = tmp_path / "x/captions.json"
    assert read_captions(tmp_path / "x", [3, 7]) == read_captions(path, [3, 7]) == ["", captions[7]]
    of_another_program = [
        {"image_id": 1, "caption": None},
        {"image_id": 2, "caption": "a\u2028b\t"},
    ]
    path.write_text(json.dumps(of_another_program))
    assert read_captions(path, [2, 1]) == ["a b ", ""], "as they are scored, in the order of ids"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "2 images have no caption of the split: 1, 2"),
        ([{"image_id": 1}], r"captions\.json: 0\.caption: Field required"),
        ([{"image_id": "1", "caption": "a"}], r"0\.image_id: .*integer, not '1'"),
        ([{"image_id": 1, "caption": "\ud83d"}], r"0\.caption: .*unable to parse"),
        ([{"image_id": i, "caption": "a"} for i in (1, 2, 1)], "1 images have several .*: 1"),
        ([{"image_id": i, "caption": "a"} for i in (1, 2, 5)], "1 captions are of no image .*: 5"),
    ],
)
def test_bad_captions_are_refused(tmp_path, content, message):
    (tmp_path / "captions.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_captions(tmp_path, [1, 2])
    with pytest.raises(InputError, match="no such file; the COCO results file"):
        read_captions(tmp_path / ("x/" * 3000), [1])
