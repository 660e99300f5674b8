"""Metrics as columns of a paper: which come first, what stands above them, how many decimals.

By the names of metrics, never of tasks: a new task needs no line here. The columns are those of
the CrossFlow paper (Tables 1, 4, 5, 6 and 7); everything else stays in the full tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# In the order of the paper's columns. KID stands beside FID, which is biased for few items.
PAPER = (
    r"fid(_[a-z]\w*)?@\d+",
    r"kid(_[a-z]\w*)?@\d+",
    r"is@\d+",
    r"clip_\w+_cos",
    r"scene_match",
    r"geneval_\w+",
    r"bleu4",
    r"meteor",
    r"rouge_l",
    r"cider",
    r"spice",
    r"absrel",
    r"delta1",
    r"psnr_{space}",
    r"ssim_{space}",
    r"lpips_\w+",
)

# Beginning of a metric's name -> what stands above its column, decimals. Whatever follows in the
# name is its protocol and stands below, in small. Decimals as the paper has them, in the harness's
# scale (its 36.4 is 0.364 here), one more where values lie close.
HEADINGS = {
    "fid": ("FID", 2),
    "kid": ("KID", 4),
    "is": ("IS", 2),
    "clip": ("CLIP", 3),
    "scene_score": ("Scene score", 3),
    "scene_f1": ("Scene F1", 3),
    "scene_match": ("Scene match", 3),
    "geneval": ("GenEval", 3),
    "bleu4": ("BLEU-4", 3),
    "meteor": ("METEOR", 3),
    "rouge_l": ("ROUGE-L", 3),
    "cider": ("CIDEr", 3),
    "spice": ("SPICE", 3),
    "absrel": ("AbsRel", 3),
    "delta1": ("δ1", 3),
    "psnr": ("PSNR", 2),
    "ssim": ("SSIM", 3),
    "lpips": ("LPIPS", 3),
}
DECIMALS = 3


def paper_columns(names: Iterable[str], primary: str) -> list[str]:
    """The primary score, then the paper's columns, of the metrics that there are.

    PSNR and SSIM are shown in one space, that of the primary score: on luma or on RGB.
    """
    known = set(names)
    space = "y" if primary.endswith("_y") else "rgb"
    found = [primary] if primary in known else []
    for pattern in PAPER:
        wanted = pattern.replace("{space}", space)
        found += sorted(n for n in known - set(found) if re.fullmatch(wanted, n))
    return found


def heading(name: str) -> tuple[str, str]:
    """What stands above a metric's column, and the rest of its name, which is the protocol."""
    start = _known(name)
    return (HEADINGS[start][0], name.removeprefix(start).lstrip("_")) if start else (name, "")


def decimals(name: str) -> int:
    """Decimals of a metric in a paper's table."""
    return HEADINGS.get(_known(name), ("", DECIMALS))[1]


def _known(name: str) -> str:
    """The beginning of a metric's name that HEADINGS knows; else empty."""
    known = (start for start in HEADINGS if re.match(rf"{start}(_|@|$)", name))
    return next(known, "")


def places(numbers: Iterable[float | None], better: str) -> list[int | None]:
    """1 for the best number, 2 for the next; equal ones share a place and use up those after it.

    To mark the best and the second best. None for what is missing, and for all where fewer than
    two numbers differ: being the best of one says nothing. Pass the numbers as they are shown, so
    that what reads equal is marked equal.
    """
    sign = {"higher": -1, "lower": 1}[better]
    numbers = list(numbers)
    ordered = sorted(sign * number for number in numbers if number is not None)
    if len(set(ordered)) < 2:
        return [None] * len(numbers)
    return [None if number is None else 1 + ordered.index(sign * number) for number in numbers]
