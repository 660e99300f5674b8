"""Records: strict when read, whole when written, equal where runs are equal."""

import json
import math

import pytest
from pydantic import ValidationError

from benchmarks.records import record as records
from benchmarks.records.keys import digest
from crossflow.errors import InputError


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_round_trip(record, tmp_path):
    one = record()
    path = records.write(one, tmp_path)
    assert path == tmp_path / "records" / one.task / f"{one.run_id}.json"
    assert records.read(path) == one
    assert records.read_all(tmp_path) == [one]
    assert json.loads(path.read_text())["schema"] == 1
    before = path.read_bytes()
    assert records.write(records.read(path), tmp_path).read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name], "no temporary file"


TOP = [
    "schema", "run_id", "match", "kind", "task", "method", "status", "score_key", "fair_key",
    "fair", "config", "scores", "unavailable", "model", "budget", "source", "volatile",
]  # fmt: skip


@pytest.mark.parametrize("name", TOP)
def test_a_missing_field_is_refused(record, tmp_path, name):
    assert list(record().dump()) == TOP
    path = records.write(record(), tmp_path)
    edit(path, lambda content: content.pop(name))
    with pytest.raises(InputError, match=name):
        records.read(path)


def change(where, value):
    def apply(content):
        *sections, name = where.split(".")
        for section in sections:
            content = content[section]
        content[name] = value

    return apply


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("verdict", "better"),
        ("scores.absrel_object.std", 0.1),
        ("volatile.speed", 3),
        ("model.layers", 8),
        ("budget.seconds", 3),
        ("fair.note", "x"),
    ],
)
def test_an_unknown_field_is_refused(record, tmp_path, where, value):
    path = records.write(record(), tmp_path)
    edit(path, change(where, value))
    with pytest.raises(InputError, match=f"{where}: (Extra inputs|Unexpected keyword)"):
        records.read(path)


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("schema", 2, "schema is not 1"),
        ("kind", "guess", "kind"),
        ("status", "running", "status"),
        ("scores.absrel_object.value", "0.1", "value"),
        ("scores.absrel_object.value", math.nan, "NaN"),
        ("fair.proof.gap", math.inf, "Infinity"),
        ("scores.absrel_object.better", "lowest", "better"),
        ("budget.steps", 1.5, "steps"),
        ("fair.score.split", "pairs", "score_key is not the digest"),
        ("fair.fair.batch", 65, "fair_key is not the digest"),
        ("fair_key", None, "fair_key is not the digest"),
        ("unavailable.absrel_object", "no", "both scored and unavailable"),
        ("status", "failed", "a failed run has no scores"),
        ("kind", "evaluation", "only a trained arm"),
        ("budget", None, "only a trained arm"),
        ("run_id", "other", "holds the record"),
        ("task", "sr_tabletop", "differs from fair.score.task"),
        ("method", "../x", "method: String should match"),
        ("model.size", "/../../x", "model.size: String should match"),
        ("model", None, "a completed arm has a model"),
        ("config.seed", None, "config.seed is None, no int"),
        ("config.seed", "abc", "config.seed is 'abc', no int"),
        ("config.seed", True, "config.seed is True, no int"),
    ],
)
def test_a_wrong_value_is_refused(record, tmp_path, where, value, said):
    path = records.write(record(), tmp_path)
    edit(path, change(where, value))
    with pytest.raises(InputError, match=said) as caught:
        records.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("section", "name"),
    [("score", "primary"), ("score", "split"), ("fair", "model"), ("fair", "budget_limit")],
)
def test_a_field_that_reports_read_is_missed_though_the_keys_fit(record, tmp_path, section, name):
    def without(content):
        content["fair"][section].pop(name)
        content["score_key"] = digest(content["fair"]["score"])
        content["fair_key"] = digest(content["fair"]["fair"])

    path = records.write(record(), tmp_path)
    edit(path, without)
    with pytest.raises(InputError, match=f"fair.{section}.{name} is None"):
        records.read(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff"])
def test_no_json(tmp_path, text):
    with pytest.raises(InputError, match="no records under"):
        records.read_all(tmp_path)
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="not a record"):
        records.read(path)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_number_is_never_written(record, value):
    with pytest.raises(ValueError, match="finite"):
        record(value=value)
    with pytest.raises((ValidationError, ValueError)):
        record(config={"training": {"lr": value}})
    score = record().fair.score
    with pytest.raises(ValidationError, match="finite"):
        records.Fair(score=score, fair=None, proof={"gap": {"deep": [value]}})


def test_the_stable_part(record):
    one = record()
    moved = record(volatile=records.Volatile(created="2027-01-01T00:00:00Z", device="cuda"))
    assert one != moved
    assert one.stable() == moved.stable()
    assert one.stable() != record(value=0.51).stable()
    assert not {"out", "work", "device", "resume"} & one.config.keys()


def test_free_run_id(record, tmp_path):
    one = record()
    assert records.free_run_id(tmp_path, one.task, one.run_id) == one.run_id
    records.write(one, tmp_path)
    second = records.free_run_id(tmp_path, one.task, one.run_id)
    assert second == f"{one.run_id}-2"
    records.write(one.model_copy(update={"run_id": second}), tmp_path)
    assert records.free_run_id(tmp_path, one.task, one.run_id) == f"{one.run_id}-3"
