"""The world is hard enough: what never looks at the source stays behind its limit."""

from __future__ import annotations

import pytest
import torch

from benchmarks.tabletop.making import floors
from benchmarks.tabletop.scenes import indices, scene


def test_constants_fail_in_this_world() -> None:
    train = [scene(int(i)) for i in indices("train", 600)]
    test = [scene(int(i)) for i in indices("iid", 300)]
    measured = floors.depth_floors(train, test) | floors.caption_floors(train[:300], test[:100])
    assert floors.failures(measured) == []
    assert measured["best_constant_caption_f1"] < 0.25


def test_an_easy_world_is_named() -> None:
    """The check can fail: a world whose every scene is the same has a perfect mean map."""
    same = [scene(0)] * 8
    measured = floors.depth_floors(same, same) | {"frequent_caption_f1": 0.9}
    missed = floors.failures(measured)
    assert any(line.startswith("mean_map_object is 0.0000, must be > 0.2") for line in missed)
    assert any(line.startswith("frequent_caption_f1 is 0.9") for line in missed)


def test_absrel_and_median_ratio_by_hand() -> None:
    truth = torch.tensor([[[1.0, 2.0], [4.0, 5.0]], [[1.0, 1.0], [1.0, 1.0]]])
    guess = torch.full((1, 2, 2), 2.0)
    mask = torch.tensor([[[True, False], [True, False]], [[False, False], [False, False]]])
    # |2 - 1| / 1 and |2 - 4| / 4; the second image has no pixel and does not count.
    assert floors.absrel(guess, truth, mask) == pytest.approx(0.75)
    everything = torch.ones_like(mask)
    assert floors.median_ratio(guess, truth, everything).flatten().tolist() == [1.0, 0.5]
    assert floors.median_ratio(guess, truth, mask).flatten().tolist() == [0.5, 1.0]
