"""Crops as published, with int(), and the order in which they are taken."""

import numpy as np
import pytest

from benchmarks.config.schema import CHOICES
from benchmarks.data.depth_frames import kitti_protocol, nyu_protocol
from benchmarks.metrics import depth_crops
from crossflow.errors import InputError


@pytest.mark.parametrize(
    ("crop", "size", "window"),
    [
        ("garg", (375, 1242), (153, 371, 44, 1197)),
        ("garg", (352, 1216), (143, 349, 43, 1172)),
        ("eigen", (375, 1242), (124, 342, 44, 1197)),
        ("eigen", (352, 1216), (117, 321, 43, 1172)),
        # the window of 352 x 1216 starts at row 23, column 13; Garg's crop of it at 143, 43
        ("kb_garg", (375, 1242), (23 + 143, 23 + 349, 13 + 43, 13 + 1172)),
        ("kb_eigen", (375, 1242), (23 + 117, 23 + 321, 13 + 43, 13 + 1172)),
        # an odd margin is truncated, as int((1241 - 1216) / 2)
        ("kb_garg", (376, 1241), (24 + 143, 24 + 349, 12 + 43, 12 + 1172)),
        ("kb_garg", (352, 1216), (143, 349, 43, 1172)),
        ("none", (375, 1242), (0, 375, 0, 1242)),
    ],
)
def test_kitti(crop, size, window):
    assert depth_crops.KITTI[crop](*size) == window
    inside = np.zeros(size, bool)
    inside[window[0] : window[1], window[2] : window[3]] = True
    assert (kitti_protocol(crop=crop).valid(np.ones(size)) == inside).all()


def test_nyu():
    assert depth_crops.NYU["eigen"](480, 640) == (45, 471, 41, 601)
    assert depth_crops.NYU["eigen"](120, 160) == (11, 118, 10, 150)
    assert nyu_protocol(crop="none").valid(np.ones((4, 5))).all()


def test_every_name_of_the_field_has_pixels_of_its_own():
    sizes = {name: crop(375, 1242) for name, crop in depth_crops.KITTI.items()}
    assert len(set(sizes.values())) == len(sizes)
    assert set(depth_crops.KITTI) == set(CHOICES["task.crop"]) >= set(depth_crops.NYU)
    for size in ((351, 1242), (375, 1215)):
        with pytest.raises(InputError, match="no KITTI benchmark crop of 352 x 1216"):
            depth_crops.KITTI["kb_garg"](*size)


def test_range_is_strict_on_both_sides():
    truth = np.array([[1e-3, 80.0, 79.99, 2e-3]])
    assert kitti_protocol(crop="none").valid(truth).tolist() == [[False, False, True, True]]
