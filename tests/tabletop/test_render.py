"""Renderer: exact geometry, the same picture in any batch, and details beyond 16 pixels' reach."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.tabletop.geometry import camera_rays, pack
from benchmarks.tabletop.layout import HEIGHT
from benchmarks.tabletop.render import depth_map, empty_depth, render, sensor_depth
from benchmarks.tabletop.scenes import COLOR_RGB, SHAPES, Camera, Solid, View, scene, scenes_of


def looking_at(shape, size, color="red", material="matte"):
    """One solid on the middle of the table, 2 m away, 30 degrees below, centred in the picture."""
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    position = (0.0, -2.0 * cos, 2.0 * sin + HEIGHT[shape] * size / 2)
    camera = Camera(position, (1.0, 0.0, 0.0), (0.0, -sin, -cos), (0.0, cos, -sin), focal=2.0)
    solid = Solid(shape, color, material, size, 0.0, 0.0, 0.0, 0.0)
    view = View(0.5, 0.5, 2.0, 0.1, 1.0)
    return replace(scene(0), solids=(solid,), views=(view,), camera=camera)


def test_a_picture_is_the_same_alone_and_in_any_batch():
    drawn = scenes_of("train", 40)
    together = render(drawn)
    assert together.shape == (40, 3, 64, 64) and together.dtype == torch.uint8
    alone = torch.cat([render([drawn[i]]) for i in (0, 7, 35)])
    assert torch.equal(together[[0, 7, 35]], alone)
    assert torch.equal(render(drawn[3:8]), together[3:8])


@pytest.mark.parametrize("size", [32, 64])
def test_table_depth_is_the_plane_met_by_every_ray(size):
    drawn = scenes_of("iid", 10)
    batch = pack(drawn)
    rays = camera_rays(batch, size).double()
    height = batch.camera.position[:, 2, None].double()
    plane = (-height / rays[:, 2]).unflatten(1, (size, size))
    depth, owner = depth_map(drawn, size)
    points = batch.camera.position[:, :2, None].double() + plane.flatten(1)[:, None] * rays[:, :2]
    on_table = (points.abs().amax(1) < 1.29).unflatten(1, (size, size)) & (plane > 0)
    table = on_table & (owner == 0)
    assert table.float().mean() > 0.3
    torch.testing.assert_close(depth[table].double(), plane[table], rtol=1e-4, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_points_of_a_solid_lie_on_its_surface(shape):
    size = 0.4
    drawn = looking_at(shape, size)
    depth, owner = depth_map([drawn])
    rays = camera_rays(pack([drawn]), 64)[0].T.reshape(64, 64, 3).numpy()
    points = np.array(drawn.camera.position) + depth[0, ..., None].numpy() * rays
    x, y, z = (points[owner[0].numpy() == 1] / size).T
    around = np.hypot(x, y)
    gap = {
        "sphere": np.hypot(around, z - 0.5) - 0.5,
        "cube": np.maximum(np.maximum(np.abs(x), np.abs(y)) - 0.42, z - 0.84),
        "cylinder": np.maximum(around - 0.40, z - 1.0),
        "cone": around - 0.54 * (1 - z / 1.15),
    }[shape]
    assert len(gap) > 100
    assert np.abs(gap).max() < 1e-3
    if shape == "sphere":
        # The near side: in the middle 2 m less the radius, nearly.
        assert (depth[0][owner[0] == 1] <= 2.0).all()
        assert depth[0, 31:33, 31:33].numpy() == pytest.approx(1.8, abs=2e-3)
        # A disc of diameter 0.4 / (2 / focal * depth) of the picture, and more by perspective.
        assert float((owner == 1).float().mean()) == pytest.approx(np.pi * 0.2**2 / 4, rel=0.06)


def test_owners_agree_with_views_and_solids_hide_the_table():
    drawn = scenes_of("iid", 100)
    depth, owner = depth_map(drawn)
    empty = empty_depth(drawn)
    assert torch.equal(depth[owner == 0], empty[owner == 0])
    assert (depth[owner > 0] < empty[owner > 0]).all()
    hits = []
    for i, one in enumerate(drawn):
        for k, view in enumerate(one.views):
            # The centre is inside the solid: its ray meets this solid first, or one in front.
            row, column = int(view.y * 64), int(view.x * 64)
            hits.append(int(owner[i, row, column]) == k + 1)
            if hits[-1]:
                size = one.solids[k].size
                assert view.depth - size < float(depth[i, row, column]) < view.depth
    assert np.mean(hits) > 0.97


def test_nearly_all_solids_are_large_and_in_sight():
    """Against rays, not against the estimate that accepted the layout."""
    drawn = scenes_of("iid", 120)
    _, owner = depth_map(drawn)
    area, visible = [], []
    for i, one in enumerate(drawn):
        alone = [replace(one, solids=(s,)) for s in one.solids]
        whole = (depth_map(alone)[1] > 0).float().mean((1, 2))
        for k in range(len(one.solids)):
            area.append(float((owner[i] == k + 1).float().mean()))
            visible.append(area[-1] / float(whole[k]))
    large, seen = np.array(area), np.array(visible)
    assert np.mean((large > 0.025) & (seen > 0.6)) > 0.97
    assert np.mean((large >= 0.03) & (large <= 0.20)) > 0.88


@pytest.mark.parametrize("color", list(COLOR_RGB))
@pytest.mark.parametrize("material", ["matte", "shiny"])
def test_colours_can_be_told_apart(color, material):
    """The mean colour of a solid's pixels is nearest to its own, light and gloss included.

    The nearest hue for a saturated colour, else white or black by brightness.
    """
    one = looking_at("cylinder", 0.5, color, material)
    _, owner = depth_map([one])
    seen = render([one])[0].float()[:, owner[0] == 1].mean(1).numpy() / 255
    if np.ptp(seen) < 0.35 * seen.max():
        assert color == ("white" if seen.mean() > 0.35 else "black")
        return

    def cosine(name):
        a, b = seen - seen.mean(), np.array(COLOR_RGB[name]) - np.mean(COLOR_RGB[name])
        return float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)

    assert max(COLOR_RGB, key=cosine) == color


def test_a_solid_throws_a_shadow_on_the_side_away_from_the_light():
    one = looking_at("cylinder", 0.4)
    plain = replace(one.table, stripe=0.0, other=one.table.base)
    light = replace(one.light, direction=(0.8, 0.0, 0.6))
    lit = render([replace(one, table=plain, light=light)])[0].float().mean(0)
    _, owner = depth_map([one])
    row = 36
    solid = torch.nonzero(owner[0, row] == 1)[:, 0]
    left, right = lit[row, int(solid.min()) - 4], lit[row, int(solid.max()) + 4]
    assert left < 0.75 * right


def test_fine_stripes_are_lost_at_16_pixels():
    """What the stripes add is beyond the Nyquist limit of 16 pixels: the mean cannot restore it."""
    drawn = [s for s in scenes_of("iid", 120) if s.table.stripe and not s.wall.stripe][:20]
    smooth = [replace(s, table=replace(s.table, contrast=0.0)) for s in drawn]
    striped, plain = (detail(images) for images in (drawn, smooth))
    assert striped > 1.5 * plain


def detail(drawn):
    """Mean absolute difference of table pixels to their restoration from 16 pixels, grey levels."""
    images = render(drawn).float()
    _, owner = depth_map(drawn)
    small = torch.nn.functional.avg_pool2d(images, 4)
    restored = torch.nn.functional.interpolate(small, size=64, mode="bicubic")
    return float((images - restored).abs().mean(1)[owner == 0].mean())


def test_sensor_depth_is_noisy_quantised_with_holes_and_repeats():
    depth, _ = depth_map(scenes_of("train", 20))
    seen, again = (torch.stack([sensor_depth(d, i) for i, d in enumerate(depth)]) for _ in "12")
    assert torch.equal(seen, again)
    assert not torch.equal(sensor_depth(depth[0], 0), sensor_depth(depth[0], 1))
    holes = seen == 0
    assert 0.002 < holes.float().mean() < 0.15
    steps = 400 / seen[~holes].double()
    assert (steps - steps.round()).abs().max() < 1e-3
    error = (seen - depth).abs()
    assert error[(depth > 2.5) & ~holes].mean() > 3 * error[(depth < 1.2) & ~holes].mean()
    assert (error / depth)[~holes].mean() < 0.02
