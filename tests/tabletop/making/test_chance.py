"""The chance level of captions: what they score on scenes that they were not written for."""

import pytest

from benchmarks.records.record import write_items
from benchmarks.tabletop.captions import FULL, captions
from benchmarks.tabletop.making import chance
from benchmarks.tabletop.scenes import indices, scene
from crossflow.errors import InputError

SCENES = [scene(int(i)) for i in indices("iid", 30)]


def test_true_captions_are_far_above_their_chance_level():
    own, other = chance.levels([captions(s)[FULL].text for s in SCENES], SCENES)
    assert own > 0.9
    assert 0 < other < 0.4


def test_one_text_for_all_is_at_its_chance_level():
    twenty = SCENES[:20]  # 19 shifts of 20 scenes: each meets every other
    own, other = chance.levels(["a red cube"] * 20, twenty)
    assert own == pytest.approx(other)


def test_one_scene_has_no_other():
    with pytest.raises(InputError, match="1 items"):
        chance.levels(["a red cube"], SCENES[:1])


def test_it_reads_what_stands_beside_the_records(tmp_path, capsys):
    path = tmp_path / "items.csv"
    texts = ["a red cube", "two blue spheres"]
    write_items(path, {"id": [str(s.index) for s in SCENES[:2]], "caption": texts})
    assert chance.read_captions(path) == (texts, SCENES[:2])
    write_items(path, {"id": ["1"], "scene_f1": [0.5]})
    with pytest.raises(InputError, match=r"items\.csv: no items of caption_tabletop \('caption'\)"):
        chance.read_captions(path)
    assert chance.main(["--out", str(tmp_path / "none")]) == 2
    assert "chance: error:" in capsys.readouterr().err
