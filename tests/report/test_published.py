"""Published numbers: typed again by hand from the papers, read strictly, shown apart from ours."""

import csv
import re
from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks.report import command, published, published_tables, tables
from crossflow.errors import InputError

CF = "CrossFlow, arXiv:2412.15213v2, Table "
FT = "FlowTok, arXiv:2503.10772v3, Table "
LA = "LABridge, NeurIPS 2025, Table 2"
DDC = "Data-dependent couplings, arXiv:2310.03725, Table 3"
DFM = "DepthFM, arXiv:2403.13788, Table 2"

# (source, task, method, metric, value in the harness's scale), typed from the tables of the papers.
TYPED = [
    (f"{CF}1", "t2i_coco", "Standard flow matching", "FID-30K", "10.79"),
    (f"{CF}1", "t2i_coco", "CrossFlow", "FID-30K", "10.13"),
    (f"{CF}1", "t2i_coco", "CrossFlow", "CLIP", "0.29"),
    (f"{CF}2", "t2i_coco", "DALL·E", "FID-30K", "27.50"),
    (f"{CF}2", "t2i_coco", "LDMv3 (512x512)", "GenEval", "0.68"),
    (f"{CF}2", "t2i_coco", "CrossFlow", "FID-30K", "9.63"),
    (f"{CF}2", "t2i_coco", "CrossFlow (Sin-Cos)", "GenEval", "0.57"),
    (f"{CF}3a", "t2i_coco", "CrossFlow: Encoder + noise", "FID-10K", "59.91"),
    (f"{CF}3b", "t2i_coco", "CrossFlow: T-T Contrast.", "CLIP", "0.24"),
    (f"{CF}3c", "t2i_coco", "CrossFlow: Autoguidance", "FID-10K", "26.36"),
    (f"{CF}3d", "t2i_coco", "CrossFlow: Llama3 (7B)", "FID-10K", "21.20"),
    (f"{CF}3e", "t2i_coco", "CrossFlow: 2-stage separate training", "FID-10K", "32.55"),
    (f"{CF}4", "caption_coco", "MNIC", "CIDEr", "1.081"),
    (f"{CF}4", "caption_coco", "SCD-Net", "SPICE", "0.216"),
    (f"{CF}4", "caption_coco", "CrossFlow-T2I", "BLEU-4", "0.331"),
    (f"{CF}4", "caption_coco", "CrossFlow", "CIDEr", "1.162"),
    (f"{CF}4", "caption_coco", "CrossFlow", "METEOR", "0.278"),
    (f"{CF}5", "depth_kitti", "CrossFlow", "AbsRel", "0.053"),
    (f"{CF}5", "depth_kitti", "TransDepth", "δ1", "0.956"),
    (f"{CF}5", "depth_nyu", "CrossFlow", "AbsRel", "0.094"),
    (f"{CF}5", "depth_nyu", "DiffusionDepth", "δ1", "0.939"),
    (f"{CF}6", "sr_imagenet", "CrossFlow", "FID", "3.0"),
    (f"{CF}6", "sr_imagenet", "Regression", "PSNR", "27.9"),
    (f"{CF}6", "sr_imagenet", "Flow Matching", "SSIM", "0.747"),
    (f"{CF}6", "sr_imagenet", "Reference", "IS", "240.8"),
    (f"{CF}7", "t2i_coco", "CrossFlow", "GenEval, two objects", "0.72"),
    (f"{CF}7", "t2i_coco", "LDM-XL", "GenEval, attribute binding", "0.23"),
    (f"{CF}7", "t2i_coco", "LDMv1.5", "GenEval, position", "0.04"),
    (f"{CF}8", "t2i_coco", "CrossFlow: latent arithmetic", "success, combination", "0.875"),
    (f"{CF}9", "depth_nyu", "CrossFlow", "AbsRel", "0.062"),
    (f"{CF}9", "depth_kitti", "CrossFlow", "δ1", "0.908"),
    (f"{CF}9", "depth_nyu", "MiDaS", "δ1", "0.885"),
    (f"{CF}9", "depth_kitti", "MiDaS", "AbsRel", "0.236"),
    (f"{CF}9", "depth_eth3d", "DPT", "AbsRel", "0.078"),
    (f"{CF}9", "depth_scannet", "Omnidata", "δ1", "0.936"),
    (f"{CF}9", "depth_diode", "CrossFlow", "AbsRel", "0.270"),
    (f"{CF}10", "t2i_coco", "CrossFlow: Text Encoder", "text reconstruction", "0.9512"),
    (f"{FT}2", "t2i_coco", "FlowTok-XL", "FID-30K", "10.06"),
    (f"{FT}2", "t2i_mjhq", "FlowTok-H", "FID", "7.15"),
    (f"{FT}3", "caption_coco", "FlowTok-XL", "CIDEr", "1.170"),
    (f"{FT}4a", "t2i_coco", "FlowTok-B: target Ave Pool", "FID-30K", "36.02"),
    (f"{FT}4b", "t2i_coco", "FlowTok-B: loss Cosine", "FID-30K", "31.80"),
    (f"{FT}4c", "t2i_coco", "FlowTok-B: γ2 2.0", "FID-30K", "30.59"),
    (LA, "t2i_coco", "SDXL + CF", "FID-10K", "12.69"),
    (LA, "t2i_coco", "SD3.5-L + LABridge", "CLIP", "0.3187"),
    (DDC, "sr_imagenet", "Dependent coupling", "FID-50K valid", "2.05"),
    (DDC, "sr_imagenet", "SR3", "FID-50K train", "11.30"),
    (DDC, "sr_imagenet", "I2SB", "FID-50K valid", "2.70"),
    (DFM, "depth_nyu", "DepthFM-ID", "δ1", "0.963"),
    (DFM, "depth_kitti", "DepthFM-ID", "AbsRel", "0.089"),
]

# Cells with a number in each table: methods times metrics, less the dashes.
COUNTS = {
    **{f"{CF}1": 4, f"{CF}2": 16, f"{CF}4": 33, f"{CF}5": 24, f"{CF}6": 18, f"{CF}7": 49},
    **{f"{CF}3{part}": 6 for part in "abcde"},
    **{f"{CF}8": 4, f"{CF}9": 80, f"{CF}10": 2},
    **{f"{FT}2": 5, f"{FT}3": 10, f"{FT}4a": 2, f"{FT}4b": 2, f"{FT}4c": 2},
    **{LA: 36, DDC: 10, DFM: 10},
}

# Names of the harness promise a protocol (see benchmarks/metrics); no paper's number may carry one.
OURS = re.compile(
    r".*@\d+|bleu[1-4]|meteor|rouge_l|cider|spice|(absrel|sqrel|rmse|log10|silog|delta)\w*|"
    r"(psnr|ssim)_\w+|lpips_\w+|clip_\w+|scene_\w+"
)


@pytest.fixture(scope="module")
def found():
    return {(r.source, r.task, r.method, r.metric): r for r in published.rows()}


@pytest.mark.parametrize(("source", "task", "method", "metric", "value"), TYPED)
def test_a_row_is_what_the_paper_prints(found, source, task, method, metric, value):
    assert str(found[source, task, method, metric].value) == value


def test_every_table_is_whole():
    counts = {}
    for row in published.rows():
        counts[row.source] = counts.get(row.source, 0) + 1
    assert counts == COUNTS
    assert {source for source, *_ in TYPED} == set(COUNTS), "a typed row of every table"


def test_what_a_table_leaves_out_has_no_row(found):
    for key in (
        (f"{CF}4", "caption_coco", "MIR", "ROUGE"),
        (f"{CF}6", "sr_imagenet", "Reference", "PSNR"),
        (f"{FT}2", "t2i_mjhq", "CrossFlow", "FID"),
        (DDC, "sr_imagenet", "I2SB", "FID-50K train"),
    ):
        assert key not in found


def test_percent_becomes_the_scale_of_the_harness(found):
    cider = found[f"{CF}4", "caption_coco", "CrossFlow", "CIDEr"]
    assert (cider.value, cider.printed) == (Decimal("1.162"), Decimal("116.2"))
    absrel = found[f"{CF}5", "depth_nyu", "CrossFlow", "AbsRel"]
    assert absrel.value == absrel.printed


def test_no_published_metric_has_a_name_of_ours():
    assert not [name for name in published.METRICS if OURS.fullmatch(name)]
    assert OURS.fullmatch("fid@30000") and OURS.fullmatch("delta1") and OURS.fullmatch("cider")


def test_the_swapped_columns_say_so(found):
    for task, heading in (("depth_nyu", "KITTI"), ("depth_kitti", "NYUv2")):
        rows = [r for r in published.rows(task) if r.source == f"{CF}9"]
        assert len(rows) == 16
        for row in rows:
            assert f"printed under the heading {heading}" in row.note
            assert "inference" in row.note


def test_settings_are_kept_apart():
    assert {r.setting for r in published.rows("caption_coco")} == {"trained"}
    for task in ("depth_nyu", "depth_kitti"):
        by_source = {r.source: r.setting for r in published.rows(task)}
        assert by_source[f"{CF}5"] == "trained"
        assert by_source[f"{CF}9"] == by_source[DFM] == "zero-shot, aligned"
    for table in published_tables.build(published.rows()):
        assert len(re.findall(r"Table \w+", table.title)) == 1


def test_the_embedded_tasks_have_none():
    assert not published.rows("depth_tabletop")
    assert not any(row.task.endswith("_tabletop") for row in published.rows())


LINE = {
    "task": "caption_coco",
    "method": "SomeNet",
    "metric": "CIDEr",
    "value": "1.162",
    "source": "A paper, arXiv:2412.15213v2, Table 4",
    "train_data": "COCO, Karpathy split",
    "reference_set": "COCO, Karpathy test split",
    "note": "",
    "setting": "trained",
    "params": "",
    "printed": "116.2",
}


def write(path, *lines, columns=published.COLUMNS):
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([line[name] for name in published.COLUMNS] for line in lines)
    return path


def test_the_line_of_these_tests_is_good(tmp_path):
    (row,) = published.rows("caption_coco", write(tmp_path / "p.csv", LINE))
    assert row.value == Decimal("1.162")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"task": "caption_tabletop"}, "task 'caption_tabletop'"),
        ({"task": "captions"}, "task 'captions'"),
        ({"metric": "cider"}, "metric 'cider'"),
        ({"metric": "Cider"}, "metric 'Cider'"),
        ({"value": "nan"}, "value 'nan'"),
        ({"value": "inf"}, "value 'inf'"),
        ({"value": "1e0"}, "value '1e0'"),
        ({"value": "-1.162"}, "value '-1.162'"),
        ({"value": "1_162"}, "value '1_162'"),
        ({"value": "116.2"}, "lies in 0 to 10"),
        ({"value": "1.126"}, "is not the printed 116.2"),
        ({"value": "0.1162"}, "is not the printed 116.2"),
        ({"printed": ""}, "printed '': must not be empty"),
        ({"source": "A paper, arXiv:2412.15213v2"}, "source"),
        ({"source": "A paper, Table 4"}, "source"),
        ({"source": ""}, "source '': must not be empty"),
        ({"reference_set": ""}, "reference_set '': must not be empty"),
        ({"train_data": ""}, "train_data '': must not be empty"),
        ({"setting": "few-shot"}, "setting 'few-shot'"),
        ({"setting": "zero-shot"}, "contradicts train_data"),
        ({"train_data": "350M pairs"}, "contradicts train_data"),
        ({"method": " SomeNet"}, "method ' SomeNet'"),
        ({"note": "two\nlines"}, "line break"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, wrong, named):
    with pytest.raises(InputError) as caught:
        published.rows(file=write(tmp_path / "p.csv", LINE | {"method": "First"}, LINE | wrong))
    assert named in str(caught.value)
    assert re.search(r"p\.csv, line [34]\b", str(caught.value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({}, "SomeNet, CIDEr of A paper, arXiv:2412.15213v2, Table 4 stands in line 2 already"),
        ({"method": "Other", "printed": "1.162"}, "another scale than in line 2"),
        ({"metric": "SPICE", "value": "0.2", "printed": "20", "params": "1B"}, "other train_data"),
    ],
)
def test_lines_that_do_not_go_together(tmp_path, second, said):
    with pytest.raises(InputError, match=re.escape(said)):
        published.rows(file=write(tmp_path / "p.csv", LINE, LINE | second))


def test_virtual_kitti_is_not_kitti(tmp_path):
    line = LINE | {"task": "depth_kitti", "metric": "AbsRel", "value": "0.1", "printed": "0.1"}
    line |= {"setting": "zero-shot, aligned", "train_data": "Hypersim and Virtual KITTI"}
    assert published.rows(file=write(tmp_path / "p.csv", line))
    with pytest.raises(InputError, match="contradicts"):
        published.rows(file=write(tmp_path / "p.csv", line | {"train_data": "KITTI, Eigen split"}))


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(InputError, match="missing"):
        published.rows(file=tmp_path / "p.csv")
    with pytest.raises(InputError, match="line 1: the columns must be task,method"):
        published.rows(file=write(tmp_path / "p.csv", columns=["task", "method"]))
    short = write(tmp_path / "p.csv", LINE)
    short.write_text(short.read_text().replace(",116.2", ""))
    with pytest.raises(InputError, match="line 2: 10 cells for 11 columns"):
        published.rows(file=short)
    short.write_bytes(short.read_bytes().replace(b"SomeNet", b"\xff"))
    with pytest.raises(InputError, match="UTF-8"):
        published.rows(file=short)


def markdown_of(task):
    return published_tables.markdown(published.rows(task))


def test_every_block_is_marked_and_names_its_source():
    blocks = published_tables.build(published.rows())
    assert len(blocks) >= len(COUNTS)
    assert {table.notes[0] for table in blocks} == {f"published, not re-run; {s}" for s in COUNTS}
    assert all(table.fair_key is None and not table.score_key for table in blocks)


def test_nothing_is_bold():
    text = published_tables.markdown(published.rows())
    assert "**" not in text
    assert "| CrossFlow     |      0.364 |      0.278 |     0.571 |     1.162 |     0.204 |" in text


def test_a_block_shows_scale_dashes_and_remarks():
    text = markdown_of("caption_coco")
    assert "printed 100 times as large in the source: BLEU-4, METEOR, ROUGE, CIDEr, SPICE" in text
    mir = next(line for line in text.splitlines() if line.startswith("| MIR"))
    assert mir.split("|")[4].strip() == "–"
    assert "- CrossFlow-T2I: the text-to-image model fine-tuned on COCO and run backwards" in text
    assert "- non-autoregressive, trained without CIDEr optimisation" in text.splitlines()
    labridge = markdown_of("t2i_coco")
    assert "SD3.5-L + LABridge (CLIP): read as 100 times the cosine (inference)" in labridge


def test_text_of_papers_cannot_break_the_table(tmp_path):
    hostile = LINE | {"method": "a|b*c`e`<script>[x](y)", "note": "<b>see</b> # this"}
    text = published_tables.markdown(published.rows(file=write(tmp_path / "p.csv", hostile)))
    row = next(line for line in text.splitlines() if line.startswith("| a"))
    assert row.replace(r"\|", "").count("|") == 3
    for raw in ("<script>", "<b>", "[x](y)", "`e`", "b*c"):
        assert raw not in text


def test_real_tasks_are_followed_by_the_published_rows(record, written, capsys):
    out = written([record(task="caption_coco"), record()])
    assert command.main(["tables", "--out", str(out)]) == 0
    text = (out / "tables/caption_coco.md").read_text("utf-8")
    ours, below = text.split("## Published numbers")
    assert "| crossflow" in ours and "CIDEr" not in ours
    assert "FlowTok" in below
    with (out / "tables/caption_coco_published.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 43
    assert {line["status"] for line in lines} == {"published, not re-run"}
    assert lines[0] == {"status": "published, not re-run"} | {
        name: str(getattr(published.rows("caption_coco")[0], name)) for name in published.COLUMNS
    }
    ours_csv = (out / "tables/caption_coco.csv").read_text("utf-8")
    assert "FlowTok" not in ours_csv


def test_embedded_tasks_stay_as_they_are(record, written):
    records = [record()]
    files = command.table_files(records, Path())
    assert files["tables/depth_tabletop.md"] == tables.markdown(tables.build(records))
    assert {name for name in files if "depth_tabletop" in name} == {
        f"tables/depth_tabletop.{kind}" for kind in ("md", "csv", "tex")
    }


def test_the_page_needs_no_record(tmp_path, capsys):
    assert command.main(["published", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'published.md'}\n"
    text = (tmp_path / "published.md").read_text("utf-8")
    for source in COUNTS:
        assert source in text


def test_a_broken_file_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(published.rows, "__defaults__", (None, tmp_path / "gone.csv"))
    assert command.main(["published", "--out", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert "gone.csv is missing" in printed.err
