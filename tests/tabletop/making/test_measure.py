"""The world is hard enough for constants and for captions of other scenes; the checks can fail."""

import pytest
import torch

from benchmarks.tabletop.captions import FULL, captions
from benchmarks.tabletop.cards import read_card
from benchmarks.tabletop.making import measure
from benchmarks.tabletop.scenes import scene, scenes_of

SCENES = scenes_of("iid", 30)


def test_captions_of_other_scenes_are_the_level_of_chance():
    mine, other = measure.levels([captions(s)[FULL].text for s in SCENES], SCENES)
    assert mine > 0.9 and 0 < other < 0.4
    # 19 shifts of 20 scenes: one text for all meets every other
    mine, other = measure.levels(["a red cube"] * 20, SCENES[:20])
    assert mine == pytest.approx(other)


def test_chance_is_read_from_the_items_of_runs(tmp_path, capsys):
    texts = ["a red cube", "two blue spheres"]
    lines = [f"{s.index},{text}" for s, text in zip(SCENES[:2], texts, strict=True)]
    path = tmp_path / "items/caption_tabletop/mine.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(["id,caption", *lines]))
    assert measure.main(["chance", "--out", str(tmp_path)]) == 0
    mine, others = measure.levels(texts, SCENES[:2])
    assert capsys.readouterr().out.split()[3:] == ["mine", f"{mine:.4f}", f"{others:.4f}"]


def test_constants_fail_in_this_world():
    measured = measure.floors(scenes_of("train", 400), scenes_of("iid", 150))
    assert measure.failures(measured) == []
    assert measured["best_constant_caption_f1"] < 0.25


def test_an_easy_world_is_named():
    """The check can fail: a world whose every scene is the same has a perfect mean map."""
    same = [scene(0)] * 8
    missed = measure.failures(measure.floors(same, same))
    assert missed[0] == "missed: mean_map_object is 0.0000, must be > 0.2"
    assert missed[-1].startswith("missed: frequent_caption_f1 is ")


def test_absrel_by_hand():
    truth = torch.tensor([[[1.0, 2.0], [4.0, 5.0]], [[1.0, 1.0], [1.0, 1.0]]])
    guess = torch.full((1, 2, 2), 2.0)
    mask = torch.tensor([[[True, False], [True, False]], [[False, False], [False, False]]])
    # |2 - 1| / 1 and |2 - 4| / 4; the second image has no pixel and does not count.
    assert measure.absrel(guess, truth, mask) == pytest.approx(0.75)


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 32])
@pytest.mark.parametrize("name", ["evaluator", "autoencoder"])
def test_the_card_is_what_is_measured(name, size):
    """500 scenes against the card's share: three standard errors of their difference."""
    card = read_card(name)["scores"][f"iid@{size}"]
    scores = getattr(measure, f"{name}_scores")(scenes_of("iid", 500), size)
    for metric, value in scores.items():
        spread = 3 * (max(card[metric] * (1 - card[metric]), 0.01) / 500) ** 0.5
        assert value == pytest.approx(card[metric], abs=0.3 if metric == "psnr" else spread), metric
