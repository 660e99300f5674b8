"""NYU Depth v2 in BTS's layout: lists, 16-bit depth, and data that are not as they should be."""

from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from benchmarks.data.depth_frames import (
    NYU,
    listed_frames,
    load,
    metres,
    nyu_protocol,
    read_depth_codes,
    read_list,
    scene,
    to_log,
)
from benchmarks.data.splits import cut
from crossflow.errors import InputError
from tests.fixtures.depth import write_depth_png


def make_root(root, split="test", names=("bath_room/rgb_1", "kitchen/rgb_2"), first=""):
    """A root of BTS's layout with 8 x 6 pictures; `first` is what each path begins with."""
    list_name, folder = NYU.lists[0].format(split), NYU.folders[split]
    lines = []
    for number, name in enumerate(names):
        image, depth = f"{name}.jpg", f"{name.replace('rgb', 'sync_depth')}.png"
        (root / folder / image).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), 90, np.uint8)).save(root / folder / image)
        write_depth_png(root / folder / depth, np.full((6, 8), 1.5 + number, np.float32))
        lines.append(f"{first}{image} {first}{depth} 518.8579")
    (root / list_name).write_text("\n".join(lines), encoding="utf-8")  # no newline at the end
    return root


def test_frames_of_both_splits(tmp_path):
    make_root(tmp_path, "test")
    make_root(tmp_path, "train", first="/")
    for split in ("test", "train"):
        frames, _ = listed_frames(NYU, tmp_path, split)
        assert [frame.id for frame in frames] == ["bath_room/rgb_1", "kitchen/rgb_2"]
        assert [frame.group for frame in frames] == ["bath_room", "kitchen"]
        image, depth = load(frames[1])
        assert (image.shape, image.dtype) == ((6, 8, 3), np.uint8)
        assert (depth.shape, depth.dtype) == ((6, 8), np.float32)
        assert np.all(depth == 2.5)


def test_no_scene_is_both_trained_on_and_validated_on(tmp_path):
    """Parts of one recording are one scene."""
    for name in ("bedroom_0017b", "bedroom_0017"):
        assert scene(name) == "bedroom_0017"
    for name in ("bedroom_0017ab", "nyu_office_1"):
        assert scene(name) == name
    names = [f"bedroom_00{number}{part}/rgb_1" for number in range(20, 40) for part in "ab"]
    make_root(tmp_path, "train", names=names)
    train, held_out = cut(listed_frames(NYU, tmp_path, "train")[0], lambda f: f.group, None, None)
    assert len(held_out) == 2
    assert not {frame.group for frame in train} & {frame.group for frame in held_out}


def test_a_missing_split_says_what_where_and_whence(tmp_path):
    make_root(tmp_path, "test")
    where = rf"{tmp_path}/nyudepthv2_train_files_with_gt.txt .* {tmp_path}/sync/, not found; .*/bts"
    with pytest.raises(InputError, match=where):
        listed_frames(NYU, tmp_path, "train")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a/rgb_1.jpg", "line 1: a/rgb_1.jpg: need `image depth"),
        ("a/rgb_1.jpg a/d.png 518 7", "line 1: .* need `image depth"),
        ("../rgb_1.jpg a/d.png", "line 1: .* two files in the folder"),
        ("a/1.jpg a/1.png\n/a/1.jpg a/1.png", "line 2: .* each picture once"),
        ("\n \n", "none of its 0 frames has a depth map"),
    ],
)
def test_bad_lists(tmp_path, lines, message):
    path = tmp_path / "list.txt"
    path.write_text(lines)
    with pytest.raises(InputError, match=message):
        read_list(path)


def test_fields_of_a_list(tmp_path):
    """None where there is no improved ground truth, two fields, a byte order mark, one form."""
    path = tmp_path / "list.txt"
    text = "a/b/1.x.png None 721.5377\r\n/cafe\u0301.jpg /d.png\r\n"
    path.write_text(text, encoding="utf-8-sig")
    files = PurePosixPath("cafe\u0301.jpg"), PurePosixPath("d.png")
    assert read_list(path) == ({"caf\u00e9": files}, ["a/b/1.x"])


def test_frames_without_a_depth_map_are_said(tmp_path):
    path = make_root(tmp_path) / NYU.lists[0].format("test")
    path.write_text(path.read_text().replace("bath_room/sync_depth_1.png", "None"))
    said = []
    frames, without = listed_frames(NYU, tmp_path, "test", None, lambda what, *_: said.append(what))
    assert ([frame.id for frame in frames], without) == (["kitchen/rgb_2"], ["bath_room/rgb_1"])
    assert "1 of 2 listed frames have ground truth and are scored, 1 have none" in said[0]


def test_logs_stay_in_the_range_that_is_scored():
    depth = np.array([1e-4, 3, 90], np.float32)
    metres = np.exp(to_log(depth, nyu_protocol()))
    np.testing.assert_allclose(metres, [1e-3, 3, 10], rtol=1e-6)


def test_depth_coding(tmp_path):
    path = tmp_path / "d.png"
    for scale, code in ((1000.0, 3141), (256.0, 804)):
        write_depth_png(path, np.full((2, 2), 3.14159, np.float32), scale)
        codes = read_depth_codes(path)
        assert codes.tolist() == [[code] * 2] * 2
        assert metres(codes, scale)[0, 0] == np.float32(code) / np.float32(scale)


def test_eight_bit_depth_is_refused(tmp_path):
    frame = listed_frames(NYU, make_root(tmp_path), "test")[0][1]
    Image.fromarray(np.full((6, 8), 40, np.uint8)).save(frame.depth)
    with pytest.raises(InputError, match=r"sync_depth_2\.png: image mode L, .*16-bit"):
        load(frame)


def test_image_and_depth_must_have_one_size(tmp_path):
    frame = listed_frames(NYU, make_root(tmp_path), "test")[0][1]
    Image.fromarray(np.zeros((6, 9, 3), np.uint8)).save(frame.image)
    with pytest.raises(InputError, match=r"differ in size: \(9, 6\) and \(8, 6\)"):
        load(frame)


def test_real_files(bench_data):
    root = bench_data / "roots/nyu"
    train, test = (listed_frames(NYU, root, split)[0] for split in ("train", "test"))
    assert (len(train), len(test)) == (24, 16)
    published = read_list(bench_data / "lists/nyu/nyudepthv2_test_files_with_gt.txt")
    assert (len(published[0]), published[1]) == (654, [])
    assert test[0].id == "bathroom/rgb_00045"
    assert not {frame.group for frame in train} & {frame.group for frame in test}
    image, depth = load(test[0])
    assert image.shape == (480, 640, 3)
    assert depth.shape == (480, 640)
    assert 0.5 < depth[depth > 0].min() < depth.max() < 10
    assert image[:5].max() < 20  # the labelled set's frame is black, but for JPEG ringing
