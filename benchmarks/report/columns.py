"""Metrics as columns of a paper: which come first, what stands above them, how many decimals.

By the names of metrics, never of tasks: a new task needs no line here. The columns are those of
the CrossFlow paper (Tables 1, 4, 5, 6 and 7); everything else stays in the full tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Beginning of a metric's name, in the order of the paper's columns: what stands above its column;
# decimals as the paper has them, in the harness's scale (its 36.4 is 0.364 here), one more where
# values lie close; names that are a column of a paper's table. Whatever follows in the name is its
# protocol and stands below, in small. KID stands beside FID, which is biased for few items.
KNOWN = {
    "fid": ("FID", 2, r"fid(_[a-z]\w*)?@\d+"),
    "kid": ("KID", 4, r"kid(_[a-z]\w*)?@\d+"),
    "is": ("IS", 2, r"is@\d+"),
    "clip": ("CLIP", 3, r"clip_\w+_cos"),
    "scene_score": ("Scene score", 3, ""),
    "scene_f1": ("Scene F1", 3, ""),
    "scene_match": ("Scene match", 3, "scene_match"),
    "geneval": ("GenEval", 3, r"geneval_\w+"),
    "bleu4": ("BLEU-4", 3, "bleu4"),
    "meteor": ("METEOR", 3, "meteor"),
    "rouge_l": ("ROUGE-L", 3, "rouge_l"),
    "cider": ("CIDEr", 3, "cider"),
    "spice": ("SPICE", 3, "spice"),
    "absrel": ("AbsRel", 3, "absrel"),
    "delta1": ("δ1", 3, "delta1"),
    "psnr": ("PSNR", 2, "psnr_{space}"),
    "ssim": ("SSIM", 3, "ssim_{space}"),
    "lpips": ("LPIPS", 3, r"lpips_\w+"),
}


def paper_columns(names: Iterable[str], primary: str) -> list[str]:
    """The primary score, then the paper's columns, of the metrics that there are.

    PSNR and SSIM are shown in one space, that of the primary score: on luma or on RGB.
    """
    known, space = set(names), "y" if primary.endswith("_y") else "rgb"
    chosen = [primary] if primary in known else []
    for _, _, pattern in KNOWN.values():
        wanted = pattern.replace("{space}", space)
        chosen += sorted(n for n in known - set(chosen) if re.fullmatch(wanted, n))
    return chosen


def heading(name: str) -> tuple[str, str, int]:
    """What stands above a metric's column, the rest of its name (the protocol), its decimals."""
    for start, (above, decimals, _) in KNOWN.items():
        if re.match(rf"{start}(_|@|$)", name):
            return above, name.removeprefix(start).lstrip("_"), decimals
    return name, "", 3


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
