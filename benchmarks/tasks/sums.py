"""What lies between captions: straight lines in x0, and sums of x0 (paper section 5.1.3, figure 4).

Only for text to image, and only for methods whose x0 is made from the source and whose network
sees nothing else of it: noise holds no caption, so there is nothing to blend. Where a network sees
tokens beside noise, `drawn` does the same arithmetic on these features. Codes are blended as they
are, as the paper says; its demo code standardises sums before it follows them, as `standard` does.
All cells of a strip or a sum have the draw of their first item, so that only the captions differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.records.samples import COLUMNS, ITEMS, ROLES
from benchmarks.tasks.task import Prepared, Trained
from crossflow.method import Ends
from crossflow.problem import Source

Cells = tuple[list[str], list[Any]]  # ids, and what was decoded
# Texts (start, minus, plus and what their sum should show), then tokens and mask of the first three
# of each, one sum after the other.
Sums = tuple[Sequence[Sequence[str]], np.ndarray, np.ndarray]


def draw(
    prepared: Prepared, trained: Trained, given: Sums | None = None, standard: bool = False
) -> None:
    """Keeps strips between the first test items, and sums, where the arm has an x0 to blend."""
    if trained.arm.method.condition == "none":
        if len(prepared.test) > 1:
            trained.keep("interpolation", *strips(prepared, trained))
        if given is not None:
            trained.keep("arithmetic", *sums(prepared, trained, given, standard))


def strips(prepared: Prepared, trained: Trained) -> Cells:
    """Strips between the first test items, two by two: x0 = (1 - w) a + w b, w = 0, 1/7 ... 1.

    A strip fills a row of the mosaic. Ids are `<a>~<b>@<w>`.
    """
    names = prepared.test.ids
    rows = list(range(2 * min(ITEMS // COLUMNS, len(names) // 2)))
    source = prepared.test.pairs(rows).source
    x0 = _ends(trained, source, [names[row - row % 2] for row in rows]).x0
    weights = torch.linspace(0, 1, COLUMNS, device=x0.device)[:, None, None, None]
    lines = [(1 - weights) * x0[row] + weights * x0[row + 1] for row in rows[::2]]
    steps = [f"{weight:.3f}" for weight in weights.flatten().tolist()]
    ids = [f"{names[row]}~{names[row + 1]}@{step}" for row in rows[::2] for step in steps]
    return ids, _follow(prepared, trained, torch.cat(lines))


def sums(prepared: Prepared, trained: Trained, given: Sums, standard: bool = False) -> Cells:
    """start, minus, plus and start - minus + plus. Ids are `<number> <role>: <text>`."""
    terms, texts = len(ROLES) - 1, given[0][: ITEMS // len(ROLES)]
    values, mask = (torch.from_numpy(each[: terms * len(texts)]) for each in given[1:])
    draws = [f"sum {i // terms}" for i in range(len(values))]
    x0 = _ends(trained, Source(values, mask), draws).x0
    start, minus, plus = (x0[place::terms] for place in range(terms))
    total = standardised(start - minus + plus) if standard else start - minus + plus
    cells = torch.stack([start, minus, plus, total], dim=1).flatten(0, 1)
    named = [zip(ROLES, four, strict=True) for four in texts]
    ids = [f"{number} {role}: {text}" for number, four in enumerate(named) for role, text in four]
    return ids, _follow(prepared, trained, cells)


def drawn(
    prepared: Prepared, trained: Trained, source: Source, signs: Sequence[int], standard: bool
) -> list[Any] | str:
    """Predictions for sums of sources with `signs`, the terms of one after those of another; in
    words, why this arm has none.

    Tokens are summed position by position; padding counts as 0, tokens of any term are read.
    """
    terms = len(signs)
    ends = _ends(trained, source, [f"sum {i // terms}" for i in range(len(source))])

    def total(x: Tensor) -> Tensor:
        weights = torch.tensor(signs, dtype=x.dtype, device=x.device)
        return torch.einsum("nt...,t->n...", x.unflatten(0, (-1, terms)), weights)

    if trained.arm.method.condition == "none":
        x0 = total(ends.x0)
        return _follow(prepared, trained, standardised(x0) if standard else x0)
    noise, cond, mask = ends.x0[::terms], ends.cond, ends.cond_mask
    same = torch.equal(ends.x0, noise.repeat_interleave(terms, 0))
    if not same or cond is None or mask is None:
        return "the caption is neither in x0 alone nor in tokens beside noise"
    seen = {"cond": total(cond * mask[..., None])}
    seen["cond_mask"] = mask.unflatten(0, (-1, terms)).any(1)
    return _follow(prepared, trained, noise, **seen)


def standardised(x0: Tensor) -> Tensor:
    """Rows with mean 0 and deviation 1, each over all its numbers (official demo_t2i_arith.py)."""
    std, mean = torch.std_mean(x0, (1, 2, 3), keepdim=True)
    return (x0 - mean) / std


def _ends(trained: Trained, source: Source, names: Sequence[str]) -> Ends:
    """Where sources begin; equal names have equal draws."""
    sampler = trained.sampler
    with torch.no_grad():
        return trained.arm.method.sample_ends(source.to(sampler.device), sampler.draws(names))


def _follow(prepared: Prepared, trained: Trained, x0: Tensor, **tokens: Tensor) -> list[Any]:
    """Predictions for any x0 (b, c, h, w) of this arm, and tokens where it sees some."""
    values: list[Any] = []
    for rows in torch.arange(len(x0)).split(trained.sampler.batch):
        seen: dict[str, Any] = {name: each[rows] for name, each in tokens.items()}
        ends = Ends(x0[rows], None, null=trained.arm.method.no_nulls(x0[rows]), **seen)
        target, _ = trained.sampler.follow(trained.arm, prepared.test, ends, trained.guidance)
        values += prepared.decode(target)
    return values
