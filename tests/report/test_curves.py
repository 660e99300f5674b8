"""Data frames: what stands in the files arrives, digit for digit, and nothing else passes."""

import pytest

from benchmarks.records.record import write_items
from benchmarks.report import curves
from crossflow.errors import InputError

CURVE = {
    "sweep": ["guidance", "steps"], "guidance": [1.5, 2.0], "steps": [16, 4], "nfe": [32, 8],
    "metric": ["absrel_object"] * 2, "value": [0.1 + 0.2, 1 / 3], "stderr": [0.01, None],
    "n": [200, 200],
}  # fmt: skip


def put(out, record, columns, ending=""):
    write_items(out / "curves" / record.task / f"{record.run_id}{ending}.csv", columns)


def test_curves_carry_their_record_and_all_digits(tmp_path, record):
    arm, other = record(), record("regression")
    put(tmp_path, arm, CURVE)
    frame = curves.curves([other, arm], tmp_path)
    assert list(frame) == curves.JOINED + curves.CURVE_COLUMNS
    assert frame["value"].tolist() == CURVE["value"]
    assert frame["stderr"].isna().tolist() == [False, True]
    assert set(frame["run_id"]) == {arm.run_id} and set(frame["fair_key"]) == {arm.fair_key}
    assert set(frame["budget_limit"]) == {2e13} and not frame["quick"].any()


def test_nothing_gives_an_empty_frame_with_its_columns(tmp_path, record):
    assert list(curves.curves([record()], tmp_path)) == curves.JOINED + curves.CURVE_COLUMNS
    assert "term" in curves.losses([record()], tmp_path)


def test_losses_have_a_row_a_term(tmp_path, record):
    one = {"steps": [1, 2], "samples": [8, 16], "loss": [2.0, 1.5], "kl": [None, 0.5]}
    put(tmp_path, record(), one, "-losses")
    frame = curves.losses([record()], tmp_path)
    rows = frame[["term", "samples", "value"]].values.tolist()
    assert rows == [["loss", 8, 2.0], ["loss", 16, 1.5], ["kl", 16, 0.5]]
    put(tmp_path, record(), {"steps": [1], "loss": [1.0]}, "-losses")
    with pytest.raises(InputError, match="do not start with steps,samples,loss"):
        curves.losses([record()], tmp_path)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"sweep": ["steps"]}, "columns are not sweep,guidance"),
        (CURVE | {"nfe": [2, "many"]}, "could not convert string to float: 'many'"),
        (CURVE | {"nfe": [0, 16]}, "nfe above 0"),
    ],
)
def test_a_malformed_table_is_refused_by_name(tmp_path, record, columns, reason):
    one = record()
    put(tmp_path, one, columns)
    with pytest.raises(InputError, match=reason) as error:
        curves.curves([one], tmp_path)
    assert one.run_id in str(error.value)


@pytest.mark.parametrize("content", [b"", b"id,absrel\n1,2,3\n4\n\xff\xfe"])
def test_a_file_that_is_no_table_is_refused(tmp_path, record, content):
    path = tmp_path / "curves" / "depth_tabletop" / f"{record().run_id}.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a table"):
        curves.curves([record()], tmp_path)
