"""Scenes: pure functions of the index, in disjoint splits, with every solid on the table."""

from collections import Counter

import numpy as np
import pytest

from benchmarks.tabletop import scenes
from benchmarks.tabletop.layout import FOOTPRINT, HEIGHT, TABLE_HALF
from benchmarks.tabletop.scenes import HELD_OUT_PAIRS, SPLITS, indices, scene, scenes_of

FIRST = [
    ("cyan", "cone", "matte", 0.46098, 0.0434),
    ("blue", "cube", "shiny", 0.34644, -0.42889),
    ("cyan", "sphere", "matte", 0.37169, 0.60547),
]


def pairs_in(drawn):
    return {(s.color, s.shape) for one in drawn for s in one.solids}


def test_a_scene_depends_on_its_index_alone():
    forwards = [scene(i) for i in range(20)]
    backwards = [scene(i) for i in reversed(range(20))][::-1]
    assert forwards == backwards
    assert len({str(s.solids) for s in forwards}) == 20


def test_the_first_scene_has_not_changed():
    """A new version of numpy or of this file that draws other scenes must be noticed."""
    first = scene(0)
    got = [(s.color, s.shape, s.material, round(s.size, 5), round(s.x, 5)) for s in first.solids]
    assert got == FIRST
    assert round(first.camera.focal, 5) == 2.68784


def test_splits_are_disjoint_and_nothing_lies_outside():
    ids = [set(indices(split, 1000).tolist()) for split in SPLITS]
    assert len(set.union(*ids)) == 1000 * len(SPLITS)
    # A split cannot run into the next one.
    for split, count in (("test", 1), ("iid", scenes.SPAN + 1), ("iid", -1)):
        with pytest.raises(ValueError, match=f"{count} scenes of '{split}': train, "):
            indices(split, count)
    for index in (-1, 10_000_000_000):
        with pytest.raises(ValueError, match="in no split"):
            scene(index)


def test_held_out_pairs_are_where_they_belong():
    everything = {(c, s) for c in scenes.COLORS for s in scenes.SHAPES}
    assert pairs_in(scenes_of("train", 300)) == everything - set(HELD_OUT_PAIRS)
    assert pairs_in(scenes_of("codec", 200)) == everything
    for split, count in (("validation", 300), ("iid", 300), ("crowd", 60)):
        assert not pairs_in(scenes_of(split, count)) & set(HELD_OUT_PAIRS)
    assert all(pairs_in([s]) & set(HELD_OUT_PAIRS) for s in scenes_of("pairs", 200))


def test_counts_are_balanced_and_five_only_in_crowd():
    counts = Counter(len(s.solids) for s in scenes_of("train", 800))
    assert sorted(counts) == [1, 2, 3, 4]
    assert min(counts.values()) > 150
    assert {len(s.solids) for s in scenes_of("crowd", 30)} == {5}


def test_solids_stand_apart_on_the_table_and_the_camera_is_in_the_room():
    for one in scenes_of("train", 300) + scenes_of("crowd", 30):
        for k, a in enumerate(one.solids):
            assert max(abs(a.x), abs(a.y)) + FOOTPRINT[a.shape] * a.size < TABLE_HALF
            for b in one.solids[:k]:
                reach = FOOTPRINT[a.shape] * a.size + FOOTPRINT[b.shape] * b.size
                assert np.hypot(a.x - b.x, a.y - b.y) > reach
        x, y, z = one.camera.position
        assert abs(x) < one.room[0] and abs(y) < one.room[1]
        assert 0 < z < scenes.CEILING_Z


def test_views_are_projections_of_the_centres_by_an_orthonormal_camera():
    for one in scenes_of("iid", 100):
        camera = one.camera
        axes = np.array([camera.right, camera.down, camera.forward])
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) == pytest.approx(1.0)
        for solid, view in zip(one.solids, one.views, strict=True):
            centre = np.array([solid.x, solid.y, HEIGHT[solid.shape] * solid.size / 2])
            right, down, depth = axes @ (centre - camera.position)
            u, v = (0.5 + 0.5 * camera.focal * shift / depth for shift in (right, down))
            assert (view.x, view.y, view.depth) == pytest.approx((u, v, depth), abs=1e-9)


def test_camera_and_sizes_vary_widely():
    """Constant depth maps fail only where the camera's place and lens vary."""
    drawn = scenes_of("train", 300)
    height = np.array([s.camera.position[2] for s in drawn])
    depth = np.array([v.depth for s in drawn for v in s.views])
    focal = np.array([s.camera.focal for s in drawn])
    assert np.quantile(height, 0.9) > 2.5 * np.quantile(height, 0.1)
    assert np.quantile(depth, 0.9) > 2.2 * np.quantile(depth, 0.1)
    assert focal.max() > 1.8 * focal.min()
