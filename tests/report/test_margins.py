"""The margins file: every primary score has one, and a broken file is refused by line."""

import pytest

from benchmarks.config import registry
from benchmarks.report.margins import COLUMNS, FILE, margin_of
from crossflow.errors import InputError

HEADER = ",".join(COLUMNS)


@pytest.mark.parametrize("task", sorted(registry.tasks()))
def test_every_primary_score_has_a_margin(task):
    for items in (256, 1000, 30_000):
        primary = registry.load_task(task).primary(items)
        assert margin_of(primary) is not None, primary


def test_a_co_primary_score_has_a_margin():
    assert margin_of("psnr_y") is not None


def test_every_margin_belongs_to_a_score_of_the_contract():
    names = [line.split(",")[0] for line in FILE.read_text().splitlines()[1:]]
    assert set(names) == {
        *("scene_score", "scene_f1", "absrel_object", "absrel", "kid_tabletop@*", "kid@*"),
        *("fid@*", "psnr_y", "cider", "geneval_overall"),
    }


def test_a_protocol_number_is_covered_and_another_extractor_is_not(tmp_path):
    file = tmp_path / "margins.csv"
    file.write_text(f"{HEADER}\nfid@*,0.1,relative,x\nfid@50000,0.5,absolute,x\n")
    assert margin_of("fid@30000", file).around(-20.0) == pytest.approx(2.0)
    assert margin_of("fid@50000", file).around(-20.0) == 0.5
    for other in ("fid", "fid_tabletop@30000", "xfid@30000", "fid@30000/L1"):
        assert margin_of(other, file) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metric,margin\n", "line 1: the columns must be metric,margin,kind,reason"),
        (f"{HEADER}\na,0.1,absolute\n", "line 2: 3 cells"),
        (f"{HEADER}\na,0.1,absolute,x\na,0.2,absolute,x\n", "line 3: a has a margin above"),
        (f"{HEADER}\na*,0.1,absolute,x\n", "line 2, metric 'a*'"),
        (f"{HEADER}\n,0.1,absolute,x\n", "line 2, metric ''"),
        (f"{HEADER}\na,0.0,absolute,x\n", "line 2, margin '0.0'"),
        (f"{HEADER}\na,nan,absolute,x\n", "line 2, margin 'nan'"),
        (f"{HEADER}\na,0.1,percent,x\n", "line 2, kind 'percent'"),
        (f"{HEADER}\na,0.1,absolute, \n", "line 2, reason"),
        (f'{HEADER}\n"a,0.1', "no CSV file"),
    ],
)
def test_a_broken_file_is_named_by_line(tmp_path, text, said):
    file = tmp_path / "margins.csv"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        margin_of("a", file)
    assert str(file) in str(error.value)
    assert said in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"margins\.csv is missing"):
        margin_of("a", tmp_path / "margins.csv")
