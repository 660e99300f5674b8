"""Grids: that text stays text, that depth has one range of colours."""

import numpy as np
from PIL import Image

from benchmarks.records.pictures import depth_colours, depth_range, save_grid


def test_a_caption_is_text_not_tex(tmp_path):
    """An unbalanced dollar sign would be an error if the caption were read as TeX."""
    save_grid(tmp_path / "grid.png", {"a_row": ["costs $5 \\frac{", "<b>&</b>"]})
    assert np.asarray(Image.open(tmp_path / "grid.png")).min() < 128  # something was drawn


def test_near_is_bright_and_the_range_is_shared():
    colours = depth_colours(np.array([[1.0, 3.0, 9.0, 100.0]]), 1.0, 9.0).astype(int).sum(-1)[0]
    assert colours[0] > colours[1] > colours[2]
    assert colours[2] == colours[3]


def test_what_was_not_measured_is_grey_and_outside_the_range():
    depth = np.array([[0.0, np.nan, 2.0]], np.float32)
    assert depth_colours(depth, 1.0, 9.0)[0, :2].tolist() == [[128] * 3] * 2
    assert depth_range([depth, "text", np.zeros((2, 2, 3), np.uint8)]) == (2.0, 2.0)
    assert depth_range([np.zeros((2, 2), np.float32)]) is None
    depth_colours(depth, 2.0, 2.0)  # a flat map is no error


def test_the_colours_of_a_grid_are_those_of_the_truths_range(tmp_path):
    """A prediction far outside the range must not change how the truth looks."""
    truth = [np.full((4, 4), 1.0, np.float32), np.full((4, 4), 5.0, np.float32)]
    for name, wild in (("one", 5.0), ("two", 50.0)):
        save_grid(tmp_path / f"{name}.png", {"truth": truth, "arm": [truth[0] * wild] * 2})
    one, two = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("one", "two"))
    assert (one == two).all()
    save_grid(tmp_path / "one.png", {"truth": truth[::-1], "arm": [truth[0] * 5.0] * 2})
    assert (np.asarray(Image.open(tmp_path / "one.png")) != two).any()
