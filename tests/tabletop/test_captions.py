"""Captions say only what is clear and true, parse back exactly, and are scored by what they say."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest

from benchmarks.tabletop import captions as words
from benchmarks.tabletop.captions import KINDS, LEVELS, captions, kind, scene_f1, verdict
from benchmarks.tabletop.facts import (
    RELATIONS,
    SIZES,
    Description,
    Detection,
    Group,
    Statement,
    clear_descriptions,
    detections_of,
    matches,
    size_words,
)
from benchmarks.tabletop.parser import MAX_TOKENS, VOCABULARY, decode, encode, parse, say
from benchmarks.tabletop.scenes import COLORS, MATERIALS, SHAPES, Scene, indices, scene


def some(split: str, count: int) -> list[Scene]:
    return [scene(int(i)) for i in indices(split, count)]


@pytest.fixture(scope="module")
def drawn() -> list[Scene]:
    return some("train", 400) + some("pairs", 100) + some("crowd", 60)


def seen(shape: str, color: str, u: float = 0.5, depth: float = 2.0, **more) -> Detection:
    given = {"material": "matte", "size": 0.3} | more
    return Detection(shape=shape, color=color, u=u, v=0.5, depth=depth, **given)


def test_five_captions_with_different_facts(drawn: list[Scene]) -> None:
    for one in drawn:
        five = captions(one)
        assert len(five) == words.CAPTIONS
        assert len({c.facts for c in five}) == 5
        assert captions(one) == five


def test_every_caption_is_read_back_and_true(drawn: list[Scene]) -> None:
    for one in drawn:
        truth = detections_of(one)
        for caption in captions(one):
            assert parse(caption.text) == caption.statement
            assert decode(encode(caption.text)) == caption.text
            assert verdict(caption, truth)
            assert verdict(caption.text, truth)


def test_every_solid_is_named(drawn: list[Scene]) -> None:
    """More than 90 % of all solids must be in some caption; the fullest one names all."""
    for one in drawn:
        groups = captions(one)[words.FULL].statement.groups
        hits = [matches(g.what, detections_of(one)) for g in groups]
        assert all(any(fits[k] for fits in hits) for k in range(len(one.solids)))
        assert sum(g.count or 1 for g in groups) == len(one.solids)


def test_levels_and_kinds(drawn: list[Scene]) -> None:
    levels, kinds = Counter(), Counter()
    for one in drawn:
        said = captions(one)
        levels.update(c.level for c in said)
        kinds.update(c.kind for c in said)
        order = ["L1"] * 4 + ["L4"] if len(one.solids) == 1 else ["L1", "L2", "L3", "L3", "L4"]
        assert [c.level for c in said] == order
    assert set(levels) == set(LEVELS)
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) > 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cube", "single_object"),
        ("a cube and a cone", "two_objects"),
        ("three cubes", "counting"),
        ("a red cube", "colors"),
        ("a cube behind a cone", "position"),
        ("a red cube and a blue cone", "attribute_binding"),
    ],
)
def test_geneval_kinds(text: str, expected: str) -> None:
    assert kind(text) == expected


def test_kind_of_nonsense_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a caption"):
        kind("red a cube")


def random_statement(rng: Random) -> Statement:
    def describe() -> Description:
        return Description(
            rng.choice([None, *SHAPES]),
            rng.choice([None, *COLORS]),
            rng.choice([None, *MATERIALS]),
            rng.choice([None, *SIZES]),
        )

    number = rng.randint(1, 5)
    counts = [rng.choice([None, None, 1, 2, 5]) for _ in range(number)]
    relation = rng.choice(RELATIONS) if number == 2 and rng.random() < 0.5 else None
    return Statement(tuple(Group(describe(), c) for c in counts), relation)


def test_any_statement_survives_saying_and_parsing() -> None:
    rng = Random(1)
    for _ in range(3000):
        statement = random_statement(rng)
        assert parse(say(statement)) == statement


def test_whatever_a_model_writes_never_raises() -> None:
    """Random words, random cuts and edits of captions: a score in 0..1, or unreadable and 0."""
    rng, readable = Random(2), 0
    one = scene(5)
    for _ in range(4000):
        if rng.random() < 0.5:
            text = decode([rng.randrange(len(VOCABULARY)) for _ in range(MAX_TOKENS)])
        else:
            tokens = say(random_statement(rng)).split()
            tokens[rng.randrange(len(tokens))] = rng.choice(VOCABULARY[2:])
            text = " ".join(tokens[: rng.randint(0, len(tokens))])
        readable += parse(text) is not None
        assert 0 <= scene_f1(text, one) <= 1
        if parse(text) is None:
            assert scene_f1(text, one) == 0
            assert not verdict(text, detections_of(one))
    assert readable > 80


@pytest.mark.parametrize(
    "text",
    ["", "a", "red", "a red", "cube a", "a cube of a cone", "a cube left of", "a cube and",
     "a cube, and and a cone", "two", "a red blue cube", "a cube left of a cone behind a sphere",
     "a cube and a cone left of a sphere", "une boule", ",", "a cube a cone", "six cubes"],
)  # fmt: skip
def test_unreadable_texts(text: str) -> None:
    assert parse(text) is None


def test_harmless_variants_are_read() -> None:
    assert parse("A red cube .") == parse("a red cube")
    assert parse("an red cube, and a cone") == parse("a red cube and a cone")
    assert parse("two cube") == parse("two cubes")


def test_tokens() -> None:
    ids = encode("a red cube, two cones and a sphere")
    assert ids.dtype == np.int16
    assert ids.shape == (MAX_TOKENS,)
    assert [VOCABULARY[i] for i in ids[:6]] == ["a", "red", "cube", ",", "two", "cones"]
    assert VOCABULARY[ids[9]] == "<end>"
    assert set(ids[10:].tolist()) == {0}
    assert decode([2, 0, VOCABULARY.index("cube"), 1, 7, 8]) == "a cube"
    assert len(set(VOCABULARY)) == len(VOCABULARY) < 80
    with pytest.raises(ValueError, match="lacks 'pyramid'"):
        encode("a red pyramid")
    with pytest.raises(ValueError, match="exceed 20"):
        encode("a red cube and " * 5 + "a red cube")


def test_verdict_binds_counts_and_places() -> None:
    two = [seen("cube", "red", u=0.2, depth=2.0), seen("cone", "blue", u=0.7, depth=1.0)]
    assert verdict("a red cube and a blue cone", two)
    assert not verdict("a blue cube and a red cone", two)
    assert not verdict("a red cone", two)
    assert verdict("a red cube left of a blue cone", two)
    assert not verdict("a red cube right of a blue cone", two)
    assert verdict("a cone in front of a cube", two)
    assert not verdict("a cone behind a cube", two)
    assert verdict("two objects", two)
    assert not verdict("three objects", two)
    assert not verdict("one object", two)
    # Two cubes are said to be there: one cube cannot stand for both.
    assert not verdict("a cube and a red cube", two)
    assert verdict("a cube and a red cube", [*two, seen("cube", "green")])
    assert not verdict("a cube", [])


def test_numbers_are_exact() -> None:
    three = [seen("cube", "red"), seen("cube", "blue"), seen("cube", "red")]
    assert verdict("three cubes", three)
    assert verdict("two red cubes and a blue cube", three)
    assert not verdict("two cubes", three)
    assert not verdict("four cubes", three)


def test_relations_hold_only_beyond_the_margin() -> None:
    close = [seen("cube", "red", u=0.49, depth=2.0), seen("cone", "blue", u=0.5, depth=2.02)]
    for relation in RELATIONS:
        assert not verdict(f"a cube {relation} a cone", close)


def test_sizes_are_compared_within_the_scene() -> None:
    assert size_words([0.2, 0.4], 1.22) == ["small", "large"]
    assert size_words([2.0, 4.0], 1.22) == ["small", "large"]
    assert size_words([0.3, 0.33], 1.22) == [None, None]
    assert size_words([0.2, 0.29, 0.42], 1.22) == ["small", None, "large"]
    assert size_words([0.3], 1.22) == [None]
    two = [seen("cube", "red", size=0.2), seen("cone", "blue", size=0.4)]
    assert verdict("a small red cube and a large blue cone", two)
    assert not verdict("a large red cube", two)


def test_unclear_materials_are_not_stated(drawn: list[Scene]) -> None:
    stated = 0
    for one in drawn:
        for what, solid, view in zip(clear_descriptions(one), one.solids, one.views, strict=True):
            if view.area < 0.045 or view.visible < 0.85:
                assert what.material is None
            else:
                assert what.material == solid.material
                stated += 1
    assert stated > 300


def small_scene() -> Scene:
    """A scene of two solids of different shape and colour."""
    return next(
        s
        for s in some("train", 200)
        if len(s.solids) == 2
        and s.solids[0].shape != s.solids[1].shape
        and s.solids[0].color != s.solids[1].color
    )


def test_scene_f1_by_hand() -> None:
    one = small_scene()
    a, b = one.solids
    total = sum(what.words for what in clear_descriptions(one))
    both = f"a {a.color} {a.shape} and a {b.color} {b.shape}"
    assert scene_f1(both, one) == pytest.approx(2 * (4 / total) / (1 + 4 / total))
    assert scene_f1(f"a {a.color} {a.shape}", one) == pytest.approx(
        2 * (2 / total) / (1 + 2 / total)
    )
    # Colours swapped: every word occurs in the scene, nothing is true.
    assert scene_f1(f"a {b.color} {a.shape} and a {a.color} {b.shape}", one) == 0
    # A false number beside a true description: precision 2 / 3.
    p, r = 2 / 3, 2 / total
    assert scene_f1(f"five {a.color} {a.shape}s", one) == pytest.approx(
        _f1(2 / 11, 2 / total)
    )  # one of the five is there: 2 of 10 words, and the number is wrong
    assert scene_f1(f"one {a.color} {a.shape}", one) == pytest.approx(_f1(1.0, r))
    wrong = "right of" if one.views[0].x < one.views[1].x else "left of"
    assert scene_f1(f"a {a.shape} {wrong} a {b.shape}", one) == pytest.approx(_f1(p, r))


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall)


def test_a_longer_true_caption_scores_higher(drawn: list[Scene]) -> None:
    scores = np.array([[scene_f1(c.text, s) for c in captions(s)] for s in drawn])
    assert (scores[:, :4] > 0).all()
    assert scores[:, words.FULL].mean() > 0.85
    assert scores.max() <= 1
    assert scores.mean(0).argmax() == words.FULL
