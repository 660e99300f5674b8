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
# (top, bottom, left, right) as shares of the sides, to the digits the reference code has
EIGEN_NYU = (45 / 480, 471 / 480, 41 / 640, 601 / 640)  # cleinc/bts, pytorch/bts_main.py:291
EIGEN_KITTI = (0.3324324, 0.91351351, 0.0359477, 0.96405229)  # bts_main.py:288
GARG = (0.40810811, 0.99189189, 0.03594771, 0.96405229)  # bts_main.py:286


def whole(height: int, width: int) -> Window:
    """Every pixel."""
    return 0, height, 0, width


def eigen_nyu(height: int, width: int) -> Window:
    """Rows 45:471 and columns 41:601 of 480 x 640, in proportion at other sizes."""
    top, bottom, left, right = EIGEN_NYU
    # round() gives the published integers at the published size
    return round(top * height), round(bottom * height), round(left * width), round(right * width)


def eigen_kitti(height: int, width: int) -> Window:
    """Eigen's crop for KITTI; sides truncated by int(), as published."""
    return _shares(EIGEN_KITTI, height, width)


def garg(height: int, width: int) -> Window:
    """Garg's crop of the whole picture, as in monodepth2 and in BTS's eval_with_pngs.py."""
    return _shares(GARG, height, width)


def kb(height: int, width: int) -> Window:
    """The KITTI benchmark's window: the bottom 352 rows, the middle 1216 columns.

    Raises InputError for a smaller picture.
    """
    rows, columns = KB_SIZE
    if height < rows or width < columns:
        raise InputError(
            f"a picture of {height} x {width} pixels (height x width) has no KITTI benchmark crop "
            f"of {rows} x {columns}"
        )
    top, left = height - rows, (width - columns) // 2
    return top, top + rows, left, left + columns


def kb_garg(height: int, width: int) -> Window:
    """Garg's crop of the KB window: rows 143:349 of its 352 (online evaluation of BTS, AdaBins)."""
    return _within_kb(garg, height, width)


def kb_eigen(height: int, width: int) -> Window:
    """Eigen's crop of the KB window (Marigold's configuration for KITTI)."""
    return _within_kb(eigen_kitti, height, width)


NYU: dict[str, Crop] = {"eigen": eigen_nyu, "none": whole}
KITTI: dict[str, Crop] = {
    "kb_garg": kb_garg,
    "garg": garg,
    "eigen": eigen_kitti,
    "kb_eigen": kb_eigen,
    "none": whole,
}


def _shares(shares: tuple[float, float, float, float], height: int, width: int) -> Window:
    top, bottom, left, right = shares
    return int(top * height), int(bottom * height), int(left * width), int(right * width)


def _within_kb(inner: Crop, height: int, width: int) -> Window:
    above, _, before, _ = kb(height, width)
    top, bottom, left, right = inner(*KB_SIZE)
    return above + top, above + bottom, before + left, before + right
