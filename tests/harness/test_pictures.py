"""Grids and sheets: what they hold, how large they get, that text stays text."""

import numpy as np
from PIL import Image

from benchmarks.pictures import LARGEST_SHEET, depth_colours, save_grid, save_samples


def noise(count):
    draws = np.random.default_rng(0)
    return [draws.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(count)]


def test_a_sheet_of_noise_stays_small(tmp_path):
    save_samples(tmp_path / "sheet.png", noise(32))
    assert (tmp_path / "sheet.png").stat().st_size <= LARGEST_SHEET


def test_the_same_cells_give_the_same_file(tmp_path):
    for name in ("one", "two"):
        save_samples(tmp_path / f"{name}.png", [*noise(2), "a caption"])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_caption_is_text_not_tex(tmp_path):
    """An unbalanced dollar sign would be an error if the caption were read as TeX."""
    save_grid(tmp_path / "grid.png", {"a_row": ["costs $5 \\frac{", "<b>&</b>"]})
    assert np.asarray(Image.open(tmp_path / "grid.png")).min() < 128  # something was drawn


def test_near_is_bright_and_the_range_is_shared():
    colours = depth_colours(np.array([[1.0, 3.0, 9.0, 100.0]]), 1.0, 9.0).astype(int).sum(-1)[0]
    assert colours[0] > colours[1] > colours[2]
    assert colours[2] == colours[3]
