"""Which pixels of a depth map count, by the crops that papers name.

A crop is a function from (height, width) to a window (top, bottom, left, right) in pixels, ends
excluded. The order matters on KITTI: Garg's crop of the whole picture and Garg's crop of the KITTI
benchmark's 352 x 1216 pixels are two protocols with two names.
"""

from __future__ import annotations

from collections.abc import Callable

from crossflow.errors import InputError

Window = tuple[int, int, int, int]
Crop = Callable[[int, int], Window]

KB_SIZE = (352, 1216)  # height and width of the pictures of the KITTI depth benchmark


def whole(height: int, width: int) -> Window:
    """Every pixel."""
    return 0, height, 0, width


def kb(height: int, width: int) -> Window:
    """The KITTI benchmark's window: the bottom 352 rows, the middle 1216 columns.

    Raises InputError for a smaller picture.
    """
    rows, columns = KB_SIZE
    if height < rows or width < columns:
        raise InputError(f"{height} x {width} pixels: no KITTI benchmark crop of 352 x 1216 in it")
    top, left = height - rows, (width - columns) // 2
    return top, top + rows, left, left + columns


def shares(
    top: float, bottom: float, left: float, right: float, to_int: Callable[[float], int] = int
) -> Crop:
    """The window between shares of the sides."""

    def crop(height: int, width: int) -> Window:
        rows = to_int(top * height), to_int(bottom * height)
        return *rows, to_int(left * width), to_int(right * width)

    return crop


def within_kb(inner: Crop) -> Crop:
    """A crop of the KITTI benchmark's window."""

    def crop(height: int, width: int) -> Window:
        above, _, before, _ = kb(height, width)
        top, bottom, left, right = inner(*KB_SIZE)
        return above + top, above + bottom, before + left, before + right

    return crop


# cleinc/bts, pytorch/bts_main.py:286-291, to the digits it has. On NYU rows 45:471 and columns
# 41:601 of 480 x 640, in proportion at other sizes: round() gives the published integers at the
# published size. On KITTI int() truncates, as published. `garg` is that of the whole picture
# (monodepth2, BTS's eval_with_pngs.py), `kb_garg` that of the online evaluation of BTS and AdaBins,
# rows 143:349 of 352, `kb_eigen` Marigold's configuration.
EIGEN = shares(0.3324324, 0.91351351, 0.0359477, 0.96405229)
GARG = shares(0.40810811, 0.99189189, 0.03594771, 0.96405229)
NYU: dict[str, Crop] = {
    "eigen": shares(45 / 480, 471 / 480, 41 / 640, 601 / 640, round),
    "none": whole,
}
KITTI: dict[str, Crop] = {
    **{"kb_garg": within_kb(GARG), "garg": GARG, "eigen": EIGEN, "kb_eigen": within_kb(EIGEN)},
    "none": whole,
}
