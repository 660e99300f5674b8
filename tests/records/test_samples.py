"""Sample files: what is read is what was written, small, and whatever else is there is refused."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmarks.records import samples
from crossflow.errors import InputError

IDS = [f"item {number}" for number in range(11)]


def pictures(count, shape=(6, 5, 3)):
    draws = np.random.default_rng(0)
    return [draws.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]


def round_trip(out, cells, ids=IDS):
    return samples.read(samples.write(out, "a_task", "a_row", ids[: len(cells)], cells))


def test_pictures_come_back_as_they_were(tmp_path):
    cells = pictures(11)
    found = round_trip(tmp_path, cells)
    assert (found.kind, found.ids) == ("picture", IDS)
    assert all((a == b).all() for a, b in zip(found.cells, cells, strict=True))
    first = tmp_path / "samples/a_task/a_row.png"
    with Image.open(first) as image:
        assert image.size == (8 * 5, 2 * 6)
    cells = [*pictures(2), *pictures(1, (3, 9, 3))]  # of several sizes
    found = round_trip(tmp_path, cells)
    assert all((a == b).all() for a, b in zip(found.cells, cells, strict=True))


@pytest.mark.parametrize(("farthest", "step"), [(65.0, 0.0005), (80.0, 0.005)])
def test_depth_comes_back_in_metres(tmp_path, farthest, step):
    """KITTI's 80 m are beyond 16 bits of millimetres."""
    depth = np.linspace(0.2, farthest, 30, dtype=np.float32).reshape(5, 6)
    depth[0, 0], depth[0, 1], depth[0, 2] = np.nan, 0, -1
    found = round_trip(tmp_path, [depth, depth + np.float32(0.1)])
    assert (found.kind, found.cells[0].dtype) == ("depth", np.float32)
    assert found.cells[0][0, :3].tolist() == [0, 0, 0]
    assert np.abs(found.cells[0] - depth)[1:].max() <= step * 1.01
    assert found.cells[1][1, 0] > found.cells[0][1, 0]
    wild = round_trip(tmp_path, [np.array([[1.0, 1e9, np.inf]], np.float32)]).cells[0][0]
    assert wild.tolist() == pytest.approx([1, 655.35, 655.35])


def test_texts_come_back_whatever_they_hold(tmp_path):
    texts = ["a cube", "</script><b>&", 'ünïcode "quoted"\n$x_1$', ""]
    found = round_trip(tmp_path, texts)
    assert (found.kind, found.cells) == ("text", texts)
    assert set(json.loads((tmp_path / "samples/a_task/a_row.json").read_text())) == {"ids", "texts"}


def test_noise_keeps_the_first_items_that_fit(tmp_path):
    cells = pictures(11, (128, 128, 3))
    path = samples.write(tmp_path, "a_task", "a_row", IDS, cells)
    assert 200_000 < path.stat().st_size <= samples.LARGEST
    found = samples.read(path)
    assert found.ids == IDS[: len(found.ids)]
    assert 1 < len(found.ids) < 11
    assert (found.cells[-1] == cells[len(found.ids) - 1]).all()
    other = samples.Samples("text", IDS, ["" for _ in IDS])
    assert samples.common({"other": other, "noise": found}) == found.ids


def test_an_item_too_large_alone_leaves_no_file_and_two_kinds_are_a_mistake(tmp_path):
    assert samples.write(tmp_path, "a_task", "a_row", IDS[:1], pictures(1, (512, 512, 3))) is None
    assert list(tmp_path.rglob("*.png")) == []
    with pytest.raises(ValueError, match="neither all pictures nor all depth"):
        samples.write(tmp_path, "a_task", "a_row", IDS[:2], [*pictures(1), np.ones((3, 3))])


def png(size=(5, 6), mode="RGB", **changes):
    """A mosaic of one cell, with changes to its text chunk."""
    sheet = {"schema": 1, "kind": "picture", "cell": [6, 5], "ids": ["a"], "sizes": [[6, 5]]}
    facts = PngInfo()
    facts.add_text("samples", json.dumps(sheet | changes))
    file = io.BytesIO()
    Image.new(mode, size).save(file, "PNG", pnginfo=facts)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.png", b"GIF89a" + bytes(100)),
        ("x.png", png()[:-40]),
        ("x.png", png().replace(b"samples", b"sampler")),
        ("x.png", png(schema=2)),
        ("x.png", png(ids=[])),
        ("x.png", png(ids=["a", "a"], sizes=[[6, 5]] * 2)),
        ("x.png", png(sizes=[[7, 5]])),
        ("x.png", png(kind="depth", per_metre=1000)),
        ("x.png", png(mode="L")),
        ("x.json", b"[1]"),
        ("x.json", b'{"ids": ["a"], "texts": [1]}'),
        ("x.json", b'{"ids": ["a"], "texts": []}'),
        ("x.json", b'{"ids": ["a", "a"], "texts": ["b", "c"]}'),
    ],
)
def test_a_malformed_file_is_refused_in_one_line(tmp_path, name, content):
    (tmp_path / "x.png").write_bytes(png())
    assert samples.read(tmp_path / "x.png").ids == ["a"], "the stand-in itself is read"
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{tmp_path / name}: not a sample file") as error:
        samples.read(tmp_path / name)
    assert "\n" not in str(error.value)


def test_near_is_bright_and_the_range_is_shared():
    colours = samples.depth_colours(np.array([[1.0, 3.0, 9.0, 100.0]]), 1.0, 9.0)
    near, middle, far, farther = colours.astype(int).sum(-1)[0]
    assert near > middle > far == farther


def test_what_was_not_measured_is_grey_and_outside_the_range():
    depth = np.array([[0.0, np.nan, 2.0]], np.float32)
    assert samples.depth_colours(depth, 1.0, 9.0)[0, :2].tolist() == [[128] * 3] * 2
    assert samples.depth_range([depth, "text", np.zeros((2, 2, 3), np.uint8)]) == (2.0, 2.0)
    assert samples.depth_range([np.zeros((2, 2), np.float32)]) is None
    samples.depth_colours(depth, 2.0, 2.0)  # a flat map is no error


def test_a_caption_is_text_not_tex(tmp_path):
    samples.save_grid(tmp_path / "grid.png", {"a_row": ["costs $5 \\frac{", "<b>&</b>"]})
    assert np.asarray(Image.open(tmp_path / "grid.png")).min() < 128  # something was drawn


def test_the_colours_of_a_grid_are_those_of_the_truths_range(tmp_path):
    """A prediction far outside the range must not change how the truth looks."""
    truth = [np.full((4, 4), 1.0, np.float32), np.full((4, 4), 5.0, np.float32)]
    for name, wild in (("one", 5.0), ("two", 50.0)):
        samples.save_grid(tmp_path / f"{name}.png", {"truth": truth, "arm": [truth[0] * wild] * 2})
    one, two = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("one", "two"))
    assert (one == two).all()
