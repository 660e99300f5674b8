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


def whole(height: int, width: int) -> Window:
    """Every pixel."""
    return 0, height, 0, width


def kb(height: int, width: int) -> Window:
    """The KITTI benchmark's window: the bottom 352 rows, the middle 1216 columns."""
    if height < 352 or width < 1216:
        raise InputError(f"{height} x {width} pixels: no KITTI benchmark crop of 352 x 1216 in it")
    left = (width - 1216) // 2
    return height - 352, height, left, left + 1216


def _shares(
    *shares: float, of: Callable[[int, int], Window] = whole, to_int: Callable[[float], int] = int
) -> Crop:
    """The window between shares of the sides (top, bottom, left, right) of another window."""

    def crop(height: int, width: int) -> Window:
        above, below, before, after = of(height, width)
        top, bottom = (above + to_int(share * (below - above)) for share in shares[:2])
        left, right = (before + to_int(share * (after - before)) for share in shares[2:])
        return top, bottom, left, right

    return crop


# cleinc/bts, pytorch/bts_main.py:286-291, to the digits it has. On NYU rows 45:471 and columns
# 41:601 of 480 x 640, in proportion at other sizes: round() gives the published integers at the
# published size. On KITTI int() truncates, as published. `garg` is that of the whole picture
# (monodepth2, BTS's eval_with_pngs.py), `kb_garg` that of the online evaluation of BTS and AdaBins,
# rows 143:349 of 352, `kb_eigen` Marigold's configuration.
EIGEN = (0.3324324, 0.91351351, 0.0359477, 0.96405229)
GARG = (0.40810811, 0.99189189, 0.03594771, 0.96405229)
NYU = {"eigen": _shares(45 / 480, 471 / 480, 41 / 640, 601 / 640, to_int=round), "none": whole}
KITTI = {"kb_garg": _shares(*GARG, of=kb), "garg": _shares(*GARG), "eigen": _shares(*EIGEN)}
KITTI |= {"kb_eigen": _shares(*EIGEN, of=kb), "none": whole}
