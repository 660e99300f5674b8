"""Pictures covered by tiles: given back whole, blended without a seam."""

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.data import sr_tiles


@pytest.mark.parametrize("size", [(32, 32), (20, 90), (33, 64), (100, 131), (8, 8)])
def test_tiles_give_the_picture_back(size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    corners = sr_tiles.corners(size, 32)
    tiles = [sr_tiles.cut(picture, corner, 32) for corner in corners]
    assert {tile.shape for tile in tiles} == {(32, 32, 3)}
    np.testing.assert_array_equal(sr_tiles.blend(tiles, size, 32), picture)
    for along in (0, 1):
        places = sorted({corner[along] for corner in corners})
        assert places[0] == 0
        assert places[-1] == max(0, size[along] - 32)
        assert all(32 - (b - a) >= 8 for a, b in pairwise(places))


def test_tiles_are_blended_without_a_seam():
    tiles = [np.full((32, 32, 3), level, np.uint8) for level in (100, 160)]
    row = sr_tiles.blend(tiles, (32, 48), 32)[16, :, 0].astype(int)
    assert row[0] == 100
    assert row[-1] == 160
    assert np.abs(np.diff(row)).max() <= 60 / 16 + 1
    with pytest.raises(ValueError, match=r"shorter|longer"):
        sr_tiles.blend(tiles[:1], (32, 48), 32)
