"""expected.csv: what a cell may hold, and that any text survives it."""

import csv
from pathlib import Path

import pytest

from benchmarks.records import record as records
from benchmarks.report import check, check_command, references
from crossflow.errors import InputError


@pytest.fixture
def accepted(record, tmp_path):
    """accepted(**changes): a file with the one reference of a record."""

    def write(**changes):
        checks = check.compare([record(value=0.5, **changes)], [])
        rows = check_command.accept([], checks, Path("out"), None)
        file = tmp_path / "expected.csv"
        file.write_text(references.text(rows), newline="")
        return file

    return write


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("values", "nan", "column values 'nan'"),
        ("values", "0.5;0.6", "column seeds: one twice, or not one a value"),
        ("seeds", "0;0", "column seeds: one twice, or not one a value"),
        ("seeds", "", "column seeds"),
        ("stderr", "inf", "column stderr 'inf'"),
        ("n", "many", "column n 'many'"),
        ("class", "roughly", "column class 'roughly'"),
        ("better", "up", "column better 'up'"),
        ("floor", "1e-3", "column floor '1e-3'"),
        ("task", "", "column task ''"),
        ("task", "sr_tabletop", "column task"),
        ("protocol", "{", "column protocol '{'"),
        ("protocol", "{}", "column protocol"),
        ("machine", '{"threads": NaN}', "column machine"),
        ("score_key", "0" * 12, "column score_key: is not the digest"),
        ("fair_key", "", "column fair_key: is not the digest"),
    ],
)
def test_a_malformed_cell_is_named_by_line_and_column(accepted, column, cell, said):
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
    assert said in str(error.value)


def test_other_malformed_files(accepted):
    file = accepted()
    header, row = file.read_text().splitlines(keepends=True)
    for content, said in (
        ("", "line 1: the columns must be"),
        (header.replace("metric", "metrik") + row, "line 1: the columns must be"),
        (header + "a,b\n", r"line 2: zip\(\)"),
        (header + row + row, "line 3: column metric: the same row stands in line 2"),
    ):
        file.write_text(content)
        with pytest.raises(InputError, match=said):
            references.read(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"expected\.csv, line 1: 'utf-8' codec"):
        references.read(file)
    with pytest.raises(InputError, match="no references can be read"):
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
