"""Keys: equal where a number may stand beside another, different where it may not."""

import hashlib
import re

import pytest

from benchmarks.config.schema import Config, check
from benchmarks.records import keys
from benchmarks.records import record as records

SCORE = {"task": "depth_tabletop", "version": 1, "split": "iid", "items": "0" * 12}
SCORE |= {"truth": "1" * 12, "protocols": {"depth": 1}, "primary": "absrel_object"}
SCORE |= {"options": {"size": 32}}
FAIR = {"budget_kind": "flops", "budget_limit": 1e6, "model": "T", "batch": 64, "trials": 0}
FAIR |= {"precision": "float32", "track": "defaults", "codecs": {"autoencoder": "2" * 12}}
FAIR |= {"largest_nfe": 16, "null_rate": 0.1, "draws": 1, "ema": "power, width 0.05"}


def test_canonical_json():
    assert keys.canonical({"b": [1, 2.5, None], "a": "ü"}) == '{"a":"ü","b":[1,2.5,null]}'
    assert keys.canonical(1e6) == keys.canonical(1_000_000) == "1000000"
    assert keys.canonical({"x": True}) == '{"x":true}'
    assert keys.canonical(0.1) == "0.1"


def test_a_digest_is_twelve_hex_of_sha256_and_no_number_has_none():
    assert keys.digest({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()[:12]
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            keys.digest({"x": value})


def changed(fields, name):
    value = fields[name]
    other = value | {"x": "y"} if isinstance(value, dict) else f"{value}0"
    return fields | {name: other}


@pytest.mark.parametrize("name", SCORE)
def test_every_field_decides_the_score_key(name):
    one, other = (keys.score_fields(**fields) for fields in (SCORE, changed(SCORE, name)))
    assert keys.digest(one) != keys.digest(other)
    (difference,) = keys.differing(one, other)
    assert difference.startswith(name)


@pytest.mark.parametrize("name", FAIR)
def test_every_field_decides_the_fair_key(name):
    score = keys.score_fields(**SCORE)
    one, other = (keys.fair_fields(score, **fields) for fields in (FAIR, changed(FAIR, name)))
    assert keys.digest(one) != keys.digest(other)


def test_a_fair_key_contains_the_score_key():
    scores = [keys.score_fields(**(SCORE | {"split": split})) for split in ("iid", "pairs")]
    assert len({keys.digest(keys.fair_fields(score, **FAIR)) for score in scores}) == 2


def test_the_machine_counts_only_where_seconds_do():
    score = keys.score_fields(**SCORE)
    timed = FAIR | {"budget_kind": "device_seconds"}
    machine = {"device": "H100", "devices": 1, "threads": 8}
    one = keys.fair_fields(score, **timed, **machine)
    other = keys.fair_fields(score, **timed, **(machine | {"threads": 4}))
    assert keys.differing(one, other) == ["threads: 8 / 4"]
    for fields in (FAIR | machine, timed | {"device": "H100"}):
        with pytest.raises(ValueError, match="only under device_seconds"):
            keys.fair_fields(score, **fields)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"a": {"b": 1}, "c": 2.0}, {"a": {"b": 3}, "c": 2}, "a.b: 1 / 3"),
        ({"clip": None}, {}, "clip: None / absent"),
        ({}, {"rules": {}}, "rules: absent / {}"),
        ({"clip": "absent"}, {}, 'clip: "absent" / absent'),
        ({"trials": 1}, {"trials": "1"}, 'trials: 1 / "1"'),
        ({"limit": 1234561.0}, {"limit": 1234562.0}, "limit: 1234561 / 1234562"),
    ],
)
def test_what_the_digest_tells_apart_differs_to_the_eye(one, other, said):
    assert keys.digest(one) != keys.digest(other)
    assert keys.differing(one, other) == [said]


def test_run_id_ignores_places_and_nothing_else():
    def run_id(**changes):
        config = Config(**changes)
        check(config)
        full = records.recorded_config(config) | {"out": config.out, "work": config.work}
        return keys.run_id("depth_tabletop", "crossflow", full)

    assert re.fullmatch(r"depth_tabletop-crossflow-s3-[0-9a-f]{8}", run_id(seed=3))
    assert run_id() == run_id(out="a", work="b", device="cpu", resume=False)
    assert run_id() != run_id(model="S")
    assert run_id() != run_id(seed=1)
