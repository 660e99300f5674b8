"""Reading pictures strictly; the crop and the low-resolution image."""

from base64 import b64decode
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from benchmarks.data.images import PHOTO_MODES, OnDemand, centre_square, read_rgb, shrink, spread
from crossflow.errors import InputError


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_bicubic_with_antialias():
    """What Pillow gives in 8 bit, 32 to 8 pixels; without antialias [3, 4] would be 262 in blue."""
    y, x = np.mgrid[0:32, 0:32]
    image = np.stack([(3 * x + 5 * y) % 256, (7 * x + 2 * y) % 256, (x * y) % 256], -1)
    low = shrink(image.astype(np.uint8), 4)
    assert low.shape == (8, 8, 3)
    assert low[0, 0].tolist() == [13, 14, 3]
    assert low[3, 4].tolist() == [121, 150, 178]
    assert low.mean() == pytest.approx(119.86979, abs=1e-5)


def test_crop_is_central_and_comes_before_the_resize():
    image = picture(8, 14)
    assert np.array_equal(centre_square(image, 8), image[:, 3:11])
    tall = np.swapaxes(image, 0, 1)
    assert np.array_equal(centre_square(tall, 8), tall[3:11])
    half = centre_square(image, 4)
    assert np.array_equal(half, shrink(np.ascontiguousarray(image[:, 3:11]), 2))


def test_low_resolution_needs_a_divisor():
    with pytest.raises(InputError, match=r"task\.scale=3 does not divide the image size 14 x 8"):
        shrink(picture(8, 14), 3)


def test_a_truncated_image_is_refused_by_name(tmp_path):
    for name in ("photo ü.jpg", "picture.png"):
        path = tmp_path / name
        Image.fromarray(picture(64, 64)).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        with pytest.raises(InputError, match=rf"{name}.*truncated or damaged"):
            read_rgb(path)
    with pytest.raises(InputError, match=r"a,b=\[c\]\.jpg: not an image.*No such file"):
        read_rgb(tmp_path / "a,b=[c].jpg")


def test_whatever_a_decoder_raises_is_one_line(tmp_path):
    """Pillow raises SyntaxError, ValueError and its own for damaged chunks of a PNG."""
    path = tmp_path / "picture.png"
    Image.fromarray(picture(40, 40)).save(path)
    whole = path.read_bytes()
    for place in range(8, whole.index(b"IDAT") + 8):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
        with suppress(InputError):
            read_rgb(path)


def test_modes_are_strict(tmp_path):
    path = tmp_path / "grey.png"
    Image.fromarray(picture(20, 20)[..., 0]).save(path)
    with pytest.raises(InputError, match=r"grey\.png: image mode L, need RGB"):
        read_rgb(path)
    grey = read_rgb(path, PHOTO_MODES)
    assert grey.shape == (20, 20, 3)
    assert np.array_equal(grey[..., 0], grey[..., 2])
    alpha = tmp_path / "alpha.png"
    Image.fromarray(np.dstack([picture(20, 20), picture(20, 20)[..., :1]])).save(alpha)
    with pytest.raises(InputError, match="image mode RGBA"):
        read_rgb(alpha, PHOTO_MODES)


def test_a_limit_is_spread_over_the_data_set():
    assert spread(range(10), None) == list(range(10))
    assert spread(range(10), 20) == list(range(10))
    assert spread(range(10), 3) == [0, 3, 6]
    with pytest.raises(InputError, match=r"task\.limit=0"):
        spread(range(10), 0)


def test_arrays_on_demand_are_a_sequence_and_made_anew():
    asked = []

    def make(index):
        asked.append(index)
        return np.full((1, 2), index)

    three = OnDemand(make, 3)
    assert len(three) == 3
    assert three[-1].tolist() == [[2, 2]]
    assert [part[0, 0] for part in three[::-2]] == [2, 0]
    assert [part[0, 0] for part in three] == [0, 1, 2]
    assert asked == [2, 2, 0, 0, 1, 2]
    for outside in (3, -4):
        with pytest.raises(IndexError):
            three[outside]


# An RGB PNG of 16 bits a channel, which Pillow reads but does not write: 90, 200, 255.
PNG16 = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABEAIAAADA54+dAAAAD0lEQVR4nGNgiGI4"
    "wfAfAAUgAiLmioFvAAAAAElFTkSuQmCC"
)


def test_sixteen_bits_a_channel_are_refused(tmp_path):
    """Pillow calls them RGB and keeps the upper byte: values 0..255 would all be 0."""
    path = tmp_path / "a.png"
    path.write_bytes(b64decode(PNG16))
    assert not np.array(Image.open(path)).any()
    with pytest.raises(InputError, match=r"a\.png: image mode RGB of 16 bits, need RGB \(8 bit\)"):
        read_rgb(path)
