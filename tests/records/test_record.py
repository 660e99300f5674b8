"""Records: strict when read, whole when written, equal where runs are equal."""

import json
import math

import pytest
from pydantic import ValidationError

from benchmarks.records import record as records
from benchmarks.records.keys import digest
from crossflow.errors import InputError


@pytest.fixture
def edited(record, tmp_path):
    """edited(change) is the error that reading a record gives after a change of its content."""

    def read(change):
        path = records.write(record(), tmp_path)
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        with pytest.raises(InputError) as caught:
            records.read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
        return str(caught.value)

    return read


def change(where, value):
    def apply(content):
        *sections, name = where.split(".")
        for section in sections:
            content = content[section]
        content[name] = value

    return apply


def test_round_trip(record, tmp_path):
    one = record()
    path = records.write(one, tmp_path)
    assert path == tmp_path / "records" / one.task / f"{one.run_id}.json"
    assert records.read_all(tmp_path) == [one]
    assert json.loads(path.read_text())["schema"] == 1
    before = path.read_bytes()
    assert records.write(records.read(path), tmp_path).read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name], "no temporary file"


def test_hidden_files_and_folders_hold_no_records(record, tmp_path):
    path = records.write(record(), tmp_path)
    (path.parent / "._copy.json").write_bytes(b"\0")
    (path.parent.parent / ".trash").mkdir()
    (path.parent.parent / ".trash/x.json").write_bytes(b"\0")
    assert [one.run_id for one in records.read_all(tmp_path)] == [record().run_id]


def test_a_missing_field_is_refused(record, edited):
    names = "schema run_id match kind task method status score_key fair_key fair config scores"
    names = [*names.split(), "unavailable", "model", "budget", "source", "volatile"]
    assert list(record().model_dump(by_alias=True)) == names
    for name in names:
        assert name in edited(lambda content, name=name: content.pop(name))


def test_an_unknown_field_is_refused(edited):
    for where in "verdict scores.absrel_object.std volatile.speed model.layers fair.note".split():
        reason = edited(change(where, 3))
        assert f"{where}: Extra inputs" in reason or f"{where}: Unexpected keyword" in reason


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("schema", 2, "schema: Input should be 1"),
        ("kind", "guess", "kind"),
        ("scores.absrel_object.value", "0.1", "value"),
        ("scores.absrel_object.value", math.nan, "not a record"),
        ("fair.proof.gap", math.inf, "not a record"),
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
        ("config.seed", None, "config.seed cannot be None"),
        ("config.seed", True, "config.seed cannot be True"),
    ],
)
def test_a_wrong_value_is_refused(edited, where, value, said):
    assert said in edited(change(where, value))


@pytest.mark.parametrize(("section", "name"), [("score", "primary"), ("fair", "budget_limit")])
def test_a_field_that_reports_read_is_missed_though_the_keys_fit(edited, section, name):
    def without(content):
        content["fair"][section].pop(name)
        content["score_key"] = digest(content["fair"]["score"])
        content["fair_key"] = digest(content["fair"]["fair"])

    assert f"{section}.{name} cannot be None" in edited(without)


@pytest.mark.parametrize("text", ["", "[]", "\xff"])
def test_no_json(tmp_path, text):
    with pytest.raises(InputError, match="no records under"):
        records.read_all(tmp_path)
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    for wrong in (path, tmp_path):
        with pytest.raises(InputError, match=rf"{wrong}: (not a )?record"):
            records.read(wrong)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_number_is_never_written(record, value):
    for change in ({"value": value}, {"config": {"training": {"lr": value}}}):
        with pytest.raises(ValueError, match=r"finite|JSON"):
            record(**change)
    with pytest.raises(ValidationError, match="finite"):
        records.Fair(score=record().fair.score, fair=None, proof={"gap": {"deep": [value]}})


def test_the_stable_part(record):
    one = record()
    moved = record(volatile=records.Volatile(created="2027-01-01T00:00:00Z", device="cuda"))
    assert one != moved
    assert one.stable() == moved.stable()
    assert one.stable() != record(value=0.51).stable()
    assert not {"out", "work", "device", "resume"} & one.config.keys()


def test_items_are_exact_rows(tmp_path):
    columns = {"x": [0.1, None], "n": [2**60, 1], "t": ['a "b", c', ""], "id": ["1", "2"]}
    records.write_items(tmp_path / "x.csv", columns)
    wanted = 'id,x,n,t\n1,0.1,1152921504606846976,"a ""b"", c"\n2,,1,\n'
    assert (tmp_path / "x.csv").read_text() == wanted
    with pytest.raises(ValueError, match="length"):
        records.write_items(tmp_path / "x.csv", {"id": ["1"], "x": []})
