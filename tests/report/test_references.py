"""expected.csv: what a cell may hold, that any text survives it, and how far a score may fall."""

import csv

import numpy as np
import pytest

from benchmarks.records import record as records
from benchmarks.report import check, references
from benchmarks.report.references import ALARMS, statistical
from crossflow.errors import InputError


@pytest.fixture
def accepted(record, tmp_path):
    """accepted(**changes): a file with the one reference of a record."""

    def write(**changes):
        checks = check.compare([record(value=0.5, **changes)], [])
        rows = check.accept([], checks, "command")
        file = tmp_path / "expected.csv"
        file.write_text(references.text(rows), newline="")
        return file

    return write


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("values", "nan", "column values 'nan'"),
        ("values", "0.5;0.6", "column seeds: one twice, or not one a value"),
        ("seeds", "", "column seeds"),
        ("stderr", "inf", "column stderr 'inf'"),
        ("class", "roughly", "column kind 'roughly'"),
        ("floor", "-1", "column floor '-1'"),
        ("task", "sr_tabletop", "column protocol: task, score_key"),
        ("protocol", "{}", "column protocol"),
        ("machine", '{"threads": NaN}', "column machine"),
        ("fair_key", "", "column protocol: task, score_key"),
    ],
)
def test_a_malformed_cell_is_named_by_line_and_column(accepted, column, cell, reason):
    file = accepted()
    with file.open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, references.COLUMNS)
        writer.writeheader()
        writer.writerow(row | {column: cell})
    with pytest.raises(InputError) as error:
        references.read(file)
    assert f"{file}, line 2" in str(error.value)
    assert reason in str(error.value)


def test_other_malformed_files(accepted):
    file = accepted()
    header, row = file.read_text().splitlines(keepends=True)
    for content, said in (
        ("", "line 1: No columns"),
        (header.replace("metric", "metrik") + row, "line 1: the columns must be"),
        (header + row + row, "line 3: column metric: the same row as line 2"),
    ):
        file.write_text(content)
        with pytest.raises(InputError, match=said):
            references.read(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"expected\.csv, line 1: 'utf-8' codec"):
        references.read(file)
    with pytest.raises(InputError, match=r"none\.csv: no references .*No such file"):
        references.read(file.parent / "none.csv")


def test_any_text_survives_the_file(accepted):
    hostile = 'a;b,"c"\r\n\x00é</td>'
    file = accepted(volatile=records.Volatile(created="x", command=hostile, commit="1"))
    (row,) = references.read(file)
    assert row.commands == [hostile]
    assert references.text([row]).encode() == file.read_bytes()


def test_the_committed_file_is_written_as_it_is_read():
    file = references.default_file()
    assert references.text(references.read(file)).encode() == file.read_bytes()


@pytest.mark.parametrize(("stored", "new"), [(3, 1), (3, 3), (5, 1), (5, 5), (8, 3)])
def test_an_unchanged_score_alarms_once_in_a_thousand(stored, new):
    random, draws = np.random.default_rng(stored * 10 + new), 400_000
    old = random.standard_normal((draws, stored))
    gap = random.standard_normal((draws, new)).mean(1) - old.mean(1)
    allowed = references.spread_factor(stored, new) * old.std(1, ddof=1)
    rate = float((gap > allowed).mean())
    error = (ALARMS * (1 - ALARMS) / draws) ** 0.5
    assert abs(rate - ALARMS) < 4 * error


def test_the_losses_the_docstring_says_are_noticed():
    assert references.spread_factor(3, 3) == pytest.approx(18, abs=0.5)
    assert references.spread_factor(5, 5) == pytest.approx(4.5, abs=0.1)
    assert pytest.approx(0.09, abs=0.005) == 1 - (1 - ALARMS) ** 90


def test_the_rule_of_several_seeds():
    stored, errors = [0.5, 0.52, 0.54, 0.56, 0.58], (0.01, 0.01)
    allowed, rule = statistical(stored, 1, errors, "1%")
    # t(0.999, 4) = 7.1732, from a table of Student's distribution.
    assert allowed == pytest.approx(7.1732 * np.std(stored, ddof=1) * 1.2**0.5, rel=1e-4)
    assert rule == "statistical, seeds stored: 5, spread of seeds"
    assert statistical(stored, 1, errors, "0.9") == (
        *(0.9, "statistical, seeds stored: 5, floor 0.9"),
    )


def test_the_rule_of_one_or_two_seeds():
    assert statistical([0.5], 1, (0.03, 0.04), "1%")[0] == pytest.approx(3.0902 * 0.05, rel=1e-4)
    by_floor, _ = statistical([0.5], 1, (0.0003, 0.0004), "1%")
    assert by_floor == pytest.approx(5 * 0.005)
    unknown, rule = statistical([-20.0], 2, (None, 0.1), "2%")
    assert unknown == pytest.approx(5 * 0.4)
    assert rule == "statistical, seeds stored: 1, floor 5 times 2%"


def test_floors():
    for metrics, floor in {
        "scene_score/L1 delta1 delta1_affine": "0.005",
        "cider": "0.02",
        "clip_vitb32_openai_cos": "0.002",
        "psnr_y": "0.1",
        "fid@30000 kid_tabletop@1000": "2%",
        "absrel_object lpips_alex": "1%",
    }.items():
        assert {references.default_floor(metric) for metric in metrics.split()} == {floor}
