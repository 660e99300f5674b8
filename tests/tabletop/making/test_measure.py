"""The world is hard enough for constants and for captions of other scenes; the checks can fail."""

import json

import pytest
import torch

from benchmarks.tabletop.captions import FULL, captions
from benchmarks.tabletop.making import measure
from benchmarks.tabletop.scenes import indices, scene
from crossflow.errors import InputError

SCENES = [scene(int(i)) for i in indices("iid", 30)]


def test_true_captions_are_far_above_their_chance_level():
    own, other = measure.levels([captions(s)[FULL].text for s in SCENES], SCENES)
    assert own > 0.9
    assert 0 < other < 0.4


def test_one_text_for_all_is_at_its_chance_level():
    twenty = SCENES[:20]  # 19 shifts of 20 scenes: each meets every other
    own, other = measure.levels(["a red cube"] * 20, twenty)
    assert own == pytest.approx(other)


def test_one_scene_has_no_other():
    with pytest.raises(InputError, match="1 items"):
        measure.levels(["a red cube"], SCENES[:1])


def test_it_reads_what_stands_beside_the_records(tmp_path, capsys):
    path = tmp_path / "items.csv"
    texts = ["a red cube", "two blue spheres"]
    lines = [f"{s.index},{text}" for s, text in zip(SCENES[:2], texts, strict=True)]
    path.write_text("\n".join(["id,caption", *lines]))
    assert measure.read_captions(path) == (texts, SCENES[:2])
    path.write_text("id,scene_f1\n1,0.5\n")
    with pytest.raises(InputError, match=r"items\.csv: no items of caption_tabletop \('caption'\)"):
        measure.read_captions(path)
    assert measure.main(["chance", "--out", str(tmp_path / "none")]) == 2
    assert "measure: error:" in capsys.readouterr().err
    items = tmp_path / "items/caption_tabletop/mine.csv"
    record = tmp_path / "records/caption_tabletop/mine.json"
    for file in (items, record):
        file.parent.mkdir(parents=True)
    record.write_text(json.dumps({"run_id": "mine", "status": "completed"}))
    items.write_text("\n".join(["id,caption", *lines]))
    assert measure.main(["chance", "--out", str(tmp_path)]) == 0
    own, others = measure.levels(texts, SCENES[:2])
    assert capsys.readouterr().out.split()[3:] == ["mine", f"{own:.4f}", f"{others:.4f}"]


def test_constants_fail_in_this_world():
    train = [scene(int(i)) for i in indices("train", 600)]
    test = [scene(int(i)) for i in indices("iid", 300)]
    measured = measure.depth_floors(train, test) | measure.caption_floors(train[:300], test[:100])
    assert measure.failures(measured) == []
    assert measured["best_constant_caption_f1"] < 0.25


def test_an_easy_world_is_named():
    """The check can fail: a world whose every scene is the same has a perfect mean map."""
    same = [scene(0)] * 8
    measured = measure.depth_floors(same, same) | {"frequent_caption_f1": 0.9}
    missed = measure.failures(measured)
    assert any(line.startswith("mean_map_object is 0.0000, must be > 0.2") for line in missed)
    assert any(line.startswith("frequent_caption_f1 is 0.9") for line in missed)


def test_absrel_and_median_ratio_by_hand():
    truth = torch.tensor([[[1.0, 2.0], [4.0, 5.0]], [[1.0, 1.0], [1.0, 1.0]]])
    guess = torch.full((1, 2, 2), 2.0)
    mask = torch.tensor([[[True, False], [True, False]], [[False, False], [False, False]]])
    # |2 - 1| / 1 and |2 - 4| / 4; the second image has no pixel and does not count.
    assert measure.absrel(guess, truth, mask) == pytest.approx(0.75)
    everything = torch.ones_like(mask)
    assert measure.median_ratio(guess, truth, everything).flatten().tolist() == [1.0, 0.5]
    assert measure.median_ratio(guess, truth, mask).flatten().tolist() == [0.5, 1.0]
