"""The world is hard enough for constants and for captions of other scenes; the checks can fail."""

import json

import pytest
import torch

from benchmarks.tabletop.captions import FULL, captions
from benchmarks.tabletop.making import measure
from benchmarks.tabletop.scenes import scene
from crossflow.errors import InputError

SCENES = measure.scenes_of("iid", 30)


def test_captions_of_other_scenes_are_the_level_of_chance():
    mine, other = measure.levels([captions(s)[FULL].text for s in SCENES], SCENES)
    assert mine > 0.9 and 0 < other < 0.4
    # 19 shifts of 20 scenes: one text for all meets every other
    mine, other = measure.levels(["a red cube"] * 20, SCENES[:20])
    assert mine == pytest.approx(other)
    with pytest.raises(InputError, match="1 items"):
        measure.levels(["a red cube"], SCENES[:1])


def test_chance_is_read_beside_the_records(tmp_path, capsys):
    texts = ["a red cube", "two blue spheres"]
    lines = [f"{s.index},{text}" for s, text in zip(SCENES[:2], texts, strict=True)]
    for folder, suffix, content in (
        ("items", "csv", "\n".join(["id,caption", *lines])),
        ("records", "json", json.dumps({"run_id": "mine", "status": "completed"})),
    ):
        path = tmp_path / folder / f"caption_tabletop/mine.{suffix}"
        path.parent.mkdir(parents=True)
        path.write_text(content)
    assert measure.main(["chance", "--out", str(tmp_path)]) == 0
    mine, others = measure.levels(texts, SCENES[:2])
    assert capsys.readouterr().out.split()[3:] == ["mine", f"{mine:.4f}", f"{others:.4f}"]


def test_constants_fail_in_this_world():
    train, test = measure.scenes_of("train", 600), measure.scenes_of("iid", 300)
    measured = measure.depth_floors(train, test) | measure.caption_floors(train[:300], test[:100])
    assert measure.failures(measured) == []
    assert measured["best_constant_caption_f1"] < 0.25


def test_an_easy_world_is_named():
    """The check can fail: a world whose every scene is the same has a perfect mean map."""
    same = [scene(0)] * 8
    measured = measure.depth_floors(same, same) | {"frequent_caption_f1": 0.9}
    missed = measure.failures(measured)
    assert missed[0] == "missed: mean_map_object is 0.0000, must be > 0.2"
    assert missed[-1] == "missed: frequent_caption_f1 is 0.9000, must be < 0.2"


def test_absrel_and_median_ratio_by_hand():
    truth = torch.tensor([[[1.0, 2.0], [4.0, 5.0]], [[1.0, 1.0], [1.0, 1.0]]])
    guess = torch.full((1, 2, 2), 2.0)
    mask = torch.tensor([[[True, False], [True, False]], [[False, False], [False, False]]])
    # |2 - 1| / 1 and |2 - 4| / 4; the second image has no pixel and does not count.
    assert measure.absrel(guess, truth, mask) == pytest.approx(0.75)
    everything = torch.ones_like(mask)
    assert measure.median_ratio(guess, truth, everything).flatten().tolist() == [1.0, 0.5]
    assert measure.median_ratio(guess, truth, mask).flatten().tolist() == [0.5, 1.0]
