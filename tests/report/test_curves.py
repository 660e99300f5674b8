"""Data frames: what stands in the files arrives, and nothing else passes."""

import pytest

from benchmarks.records.record import write_items
from benchmarks.report import curves
from benchmarks.report.rows import boards
from crossflow.errors import InputError

CURVE = {
    "sweep": ["guidance", "steps", "steps"], "guidance": [1.5, 2.0, 2.0], "steps": [16, 4, 2],
    "nfe": [32, 8, 4], "metric": ["absrel_object"] * 3, "value": [0.1 + 0.2, 1 / 3, None],
    "stderr": [0.01, None, None], "n": [200, 200, 0],
}  # fmt: skip


def put(out, record, columns, ending=""):
    write_items(out / "curves" / record.task / f"{record.run_id}{ending}.csv", columns)


def test_curves_are_those_of_arms(tmp_path, record):
    (board,) = boards([record(), record("regression")])
    assert curves.of_arms(board, tmp_path, "sampling") == []
    put(tmp_path, record(), CURVE)
    ((arm, frame),) = curves.of_arms(board, tmp_path, "sampling")
    assert arm.name == "crossflow" and set(frame["run_id"]) == {record().run_id}
    assert frame["value"].tolist() == pytest.approx(CURVE["value"][:2]), (
        "without the row that has none"
    )
    assert frame["stderr"].isna().tolist() == [False, True]


def test_losses_are_those_of_all_seeds(tmp_path, record):
    some = [record(seed=seed) for seed in (0, 1)]
    for one in some:
        put(tmp_path, one, {"steps": [1, 2], "samples": [8, 16], "loss": [2.0, 1.5]}, "-losses")
    (board,) = boards(some)
    ((_, frame),) = curves.of_arms(board, tmp_path, "losses")
    assert frame[["samples", "loss"]].values.tolist() == [[8, 2.0], [16, 1.5]] * 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"sweep\nsteps\n", "the columns do not start with sweep,guidance"),
        (b"sweep,nfe\nsteps,many\n", "could not convert string to float"),
        (b"", "not a table"),
        (b"id,absrel\n1,2,3\n4\n\xff\xfe", "not a table"),
    ],
)
def test_a_malformed_table_is_refused_by_name(tmp_path, record, content, reason):
    path = tmp_path / "curves" / "depth_tabletop" / f"{record().run_id}.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (board,) = boards([record()])
    with pytest.raises(InputError, match=f"{path}: .*{reason}"):
        curves.of_arms(board, tmp_path, "sampling")
