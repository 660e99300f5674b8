"""Data frames: what stands in the files arrives, digit for digit, and nothing else passes."""

import pytest

from benchmarks.records.record import Record, write_items
from benchmarks.report import curves
from crossflow.errors import InputError

CURVE = {
    "sweep": ["guidance", "steps"],
    "guidance": [1.5, 2.0],
    "steps": [16, 4],
    "nfe": [32, 8],
    "metric": ["absrel_object"] * 2,
    "value": [0.1 + 0.2, 1 / 3],
    "stderr": [0.01, None],
    "n": [200, 200],
}


def put(out, record: Record, kind, columns):
    write_items(out / kind / record.task / f"{record.run_id}.csv", columns)


def test_curves_carry_their_record_and_all_digits(tmp_path, record):
    arm, other = record(), record("regression")
    put(tmp_path, arm, "curves", CURVE)
    frame = curves.curves([other, arm], tmp_path)
    assert frame["value"].tolist() == CURVE["value"]
    assert frame["stderr"].isna().tolist() == [False, True]
    assert set(frame["run_id"]) == {arm.run_id}
    assert set(frame["fair_key"]) == {arm.fair_key}
    assert set(frame["budget_limit"]) == {2e13}
    assert not frame["quick"].any()
    assert curves.without([other, arm], tmp_path, "curves") == [f"{other.task}/{other.run_id}"]


def test_nothing_gives_an_empty_frame_with_its_columns(tmp_path, record):
    assert list(curves.curves([record()], tmp_path)) == curves.JOINED + curves.CURVE_COLUMNS
    assert "id" in curves.items([record()], tmp_path)


def test_items_of_several_tasks_and_hostile_texts(tmp_path, record):
    depth, caption = record(), record(task="caption_tabletop")
    put(tmp_path, depth, "items", {"id": ["007", "8"], "absrel": [0.25, None]})
    texts = ["NA", '=cmd|"x"\n</script>']
    put(tmp_path, caption, "items", {"id": ["1", "2"], "caption": texts, "cider": [1.0, 2.0]})
    frame = curves.items([depth, caption], tmp_path)
    assert frame.equals(curves.items([caption, depth], tmp_path))
    assert frame["id"].tolist() == ["1", "2", "007", "8"]
    assert frame["caption"].tolist()[:2] == texts
    assert frame["absrel"].isna().tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("kind", "columns", "reason"),
    [
        ("curves", {"sweep": ["steps"]}, "columns are not sweep,guidance"),
        ("curves", CURVE | {"sweep": ["steps", "stops"]}, "a sweep is none of guidance, steps"),
        ("curves", CURVE | {"nfe": [2, "many"]}, "could not convert string to float: 'many'"),
        ("curves", CURVE | {"nfe": [0, 16]}, "nfe must be above 0"),
        ("curves", CURVE | {"nfe": [2, "inf"]}, "nfe must be above 0"),
        ("items", {"absrel": [1.0]}, "no column id"),
        ("items", {"id": ["a", "a"], "absrel": [1.0, 2.0]}, "an id twice"),
        ("items", {"id": ["a"], "absrel": ["x"]}, "could not convert string to float: 'x'"),
        ("items", {"id": ["a"], "method": ["x"]}, "method is no score"),
    ],
)
def test_a_malformed_table_is_refused_by_name(tmp_path, record, kind, columns, reason):
    one = record()
    put(tmp_path, one, kind, columns)
    with pytest.raises(InputError, match=reason) as error:
        getattr(curves, kind)([one], tmp_path)
    assert one.run_id in str(error.value)


def test_a_file_that_is_no_table_is_refused(tmp_path, record):
    path = tmp_path / "items" / "depth_tabletop" / f"{record().run_id}.csv"
    path.parent.mkdir(parents=True)
    for content in (b"", b"id,absrel\n1,2,3\n4\n\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a table"):
            curves.items([record()], tmp_path)
