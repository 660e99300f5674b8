"""ILSVRC folders: names, sizes, grey and damaged files."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from benchmarks.data import photos as reader
from benchmarks.data.photos import imagenet, load_photo
from benchmarks.data.splits import refuse_copies
from crossflow.errors import InputError


def save(path, height, width, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, format="JPEG")


@pytest.fixture
def root(tmp_path):
    for number in range(4):
        save(tmp_path / f"val/n0{number}/x{number}.JPEG", 64 + number, 80)
    save(tmp_path / "val/n00/grey.JPEG", 64, 64, "L")
    save(tmp_path / "val/n03/cmyk.jpg", 64, 64, "CMYK")
    save(tmp_path / "val/n03/small.JPEG", 63, 200)
    (tmp_path / "val/n03/._x3.JPEG").write_bytes(b"resource fork")
    (tmp_path / "val/readme.txt").write_text("no image")
    (tmp_path / "val/n03/sprite.gif").write_text("no image")
    return tmp_path


def test_photos_are_sorted_and_small_ones_counted(root):
    found = imagenet(root, "val", 64)
    names = ["n00/grey", "n00/x0", "n01/x1", "n02/x2", "n03/cmyk", "n03/x3"]
    assert [photo.id for photo in found.photos] == names
    assert found.too_small == ["n03/small"]
    assert found.left_out == 2
    for photo in found.photos:
        low, target = load_photo(photo, 64, 4)
        assert (low.shape, target.shape) == ((16, 16, 3), (64, 64, 3))
        assert (low.dtype, target.dtype) == (np.uint8, np.uint8)
    assert len(imagenet(root, "val", 64, limit=3).photos) == 3
    with pytest.raises(InputError, match=r"task\.size=512: all 7 images"):
        imagenet(root, "val", 512)


def test_a_missing_split_says_what_where_and_whence(root):
    for split in ("train", "test"):
        where = rf"{root / split}/<wnid>/\*\.JPEG .*https://image-net.org"
        with pytest.raises(InputError, match=where):
            imagenet(root, split, 64)


def test_real_files(bench_data):
    root = bench_data / "roots/imagenet"
    train, val = (imagenet(root, split, 256) for split in ("train", "val"))
    assert (len(train.photos), train.too_small) == (40, [])
    assert (len(val.photos), val.too_small) == (20, [])
    low, target = load_photo(val.photos[0], 256, 4)
    assert (low.shape, target.shape) == ((64, 64, 3), (256, 256, 3))


def test_crops_are_drawn_from_the_name(tmp_path):
    save(tmp_path / "HR/a.png", 100, 131)
    save(tmp_path / "HR/b.png", 100, 131)
    (a, b), _ = reader.pairs(tmp_path, "folders", "test", 4)
    squares = reader.crops(a, 32)
    assert squares == reader.crops(a, 32)
    assert 10 <= len(squares) <= 12  # 100 x 128 pixels hold 12.5; two may fall together
    assert [s.box for s in squares] != [s.box for s in reader.crops(b, 32)]
    enlarged, target = reader.load_pair(a)
    for square in squares:
        top, left, side = square.box
        assert top % 4 == left % 4 == 0
        assert square.id == f"a@{top},{left}"
        for found, whole in zip(reader.load_pair(square), (enlarged, target), strict=True):
            np.testing.assert_array_equal(found, whole[top : top + side, left : left + side])


def test_files_of_one_length_are_not_the_same(tmp_path):
    test, train = tmp_path / "test.png", tmp_path / "train.png"
    for path, byte in ((test, b"a"), (train, b"b")):
        path.write_bytes(byte * 9)
    refuse_copies([test], [("x", train)], "files")
    with pytest.raises(InputError, match=r"1 files are scored .*: y$"):
        refuse_copies([test], [("x", train), ("y", test)], "files")


@pytest.mark.parametrize("size", [(32, 32), (20, 90), (33, 64), (100, 131), (8, 8)])
def test_tiles_give_the_picture_back(size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    corners = reader.corners(size, 32)
    tiles = [reader.cut(picture, corner, 32) for corner in corners]
    assert {tile.shape for tile in tiles} == {(32, 32, 3)}
    np.testing.assert_array_equal(reader.blend(tiles, size, 32), picture)
    for along in (0, 1):
        places = sorted({corner[along] for corner in corners})
        assert places[0] == 0
        assert places[-1] == max(0, size[along] - 32)
        assert all(32 - (b - a) >= 8 for a, b in pairwise(places))


def test_tiles_are_blended_without_a_seam():
    tiles = [np.full((32, 32, 3), level, np.uint8) for level in (100, 160)]
    row = reader.blend(tiles, (32, 48), 32)[16, :, 0].astype(int)
    assert row[0] == 100
    assert row[-1] == 160
    assert np.abs(np.diff(row)).max() <= 60 / 16 + 1
    with pytest.raises(ValueError, match=r"shorter|longer"):
        reader.blend(tiles[:1], (32, 48), 32)
