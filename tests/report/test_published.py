"""Published numbers: typed again by hand from the papers, read strictly, shown apart from ours."""

import csv
import re
from decimal import Decimal

import pandas as pd
import pytest

from benchmarks.report import command, published

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


def listed(task=None):
    return list(published.rows(task).itertuples(index=False))


@pytest.fixture(scope="module")
def found():
    return {(r.source, r.task, r.method, r.metric): r for r in listed()}


@pytest.mark.parametrize(("source", "task", "method", "metric", "value"), TYPED)
def test_a_row_is_what_the_paper_prints(found, source, task, method, metric, value):
    assert found[source, task, method, metric].value == value


def test_every_table_is_whole():
    counts = {}
    for row in listed():
        counts[row.source] = counts.get(row.source, 0) + 1
    assert counts == COUNTS
    assert {source for source, *_ in TYPED} == set(COUNTS), "a typed row of every table"


def test_the_swapped_columns_say_so(found):
    for task, heading in (("depth_nyu", "KITTI"), ("depth_kitti", "NYUv2")):
        rows = [r for r in listed(task) if r.source == f"{CF}9"]
        assert len(rows) == 16
        for row in rows:
            assert f"printed under the heading {heading}" in row.note
            assert "inference" in row.note


TASKS = ("t2i_coco", "caption_coco", "depth_nyu", "depth_kitti", "sr_imagenet")
# Data sets without a task here: the other columns of a table that is kept whole.
ELSEWHERE = ("t2i_mjhq", "depth_eth3d", "depth_scannet", "depth_diode")
# The data set that `trained` must name in train_data and `zero-shot` must not. Virtual KITTI is
# rendered: training on it leaves KITTI unseen.
DATA_SETS = {
    "t2i_coco": r"\bCOCO\b",
    "t2i_mjhq": r"\bMJHQ",
    "caption_coco": r"\bCOCO\b",
    "depth_nyu": r"\bNYU",
    "depth_kitti": r"(?<!Virtual )\bKITTI\b",
    "depth_eth3d": r"\bETH3D\b",
    "depth_scannet": r"\bScanNet\b",
    "depth_diode": r"\bDIODE\b",
    "sr_imagenet": r"\bImageNet\b",
}
# Ranges of `value` by what the metric's name begins with; all others lie in 0 to 1.
RANGES = {"FID": (0, 500), "IS": (1, 1000), "CIDEr": (0, 10), "PSNR": (0, 80)}
# A paper with its arXiv number or venue, then the table: enough to find the number again.
SOURCE = r"[^,]+, (arXiv:\d{4}\.\d{5}(v\d+)?|[A-Z][A-Za-z]+ \d{4}), Table (\d+[a-z]?|[IVX]+)"


def broken_rules(row):
    """What a row of published.csv must be, and is not."""
    texts = row._asdict()
    value, printed = Decimal(row.value), Decimal(row.printed)
    low, high = RANGES.get(row.metric.split("-")[0].split(" ")[0], (0, 1))
    scaled = printed if printed <= high else printed * Decimal("0.01")
    named = bool(re.search(DATA_SETS.get(row.task, ""), row.train_data))
    unseen = row.setting.startswith("zero-shot")
    rules = {
        "blanks at the ends, in a row, or a line break": all(
            text == " ".join(text.split()) for text in texts.values()
        ),
        "empty": all(text for name, text in texts.items() if name not in ("note", "params")),
        "task": row.task in (*TASKS, *ELSEWHERE),
        "a name of ours": not OURS.fullmatch(row.metric),
        "setting": row.setting in published.SETTINGS,
        "source": bool(re.fullmatch(SOURCE, row.source)),
        "value is no plain number": all(
            re.fullmatch(r"\d+(\.\d+)?", texts[name]) for name in ("value", "printed")
        ),
        "range": low <= value <= high,
        # Papers print some shares in percent: the one conversion there is, told by the range.
        "printed": value == scaled,
        "contradicts train_data": not (unseen and named)
        and not (row.setting == "trained" and not named),
    }
    return [rule for rule, holds in rules.items() if not holds]


def test_every_row_keeps_the_rules():
    assert {str(row): broken for row in listed() if (broken := broken_rules(row))} == {}


def test_one_number_a_cell_one_scale_a_column_one_model_a_row():
    cells, scales, models = set(), {}, {}
    for row in listed():
        table = (row.task, row.source, row.setting)
        assert (*table, row.method, row.metric) not in cells
        cells.add((*table, row.method, row.metric))
        percent = row.value != row.printed
        assert scales.setdefault((*table, row.metric), percent) == percent, row
        model = (row.train_data, row.params)
        assert models.setdefault((*table, row.method), model) == model, row


LINE = next(row for row in listed("caption_coco") if row.metric == "CIDEr")


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({}, None),
        ({"task": "caption_tabletop"}, "task"),
        ({"metric": "cider"}, "a name of ours"),
        ({"value": "116.2"}, "range"),
        ({"value": "1.126"}, "printed"),
        ({"source": "A paper, Table 4"}, "source"),
        ({"reference_set": ""}, "empty"),
        ({"setting": "zero-shot"}, "contradicts train_data"),
        ({"train_data": "350M pairs"}, "contradicts train_data"),
        ({"note": "two\nlines"}, "blanks at the ends, in a row, or a line break"),
    ],
)
def test_the_rules_see_what_is_wrong(wrong, rule):
    broken = broken_rules(LINE._replace(**wrong))
    assert (rule in broken) if rule else broken == []


def test_every_block_is_marked_and_names_its_source():
    blocks = published.build(published.rows())
    assert len(blocks) >= len(COUNTS)
    assert {table.notes[0] for table in blocks} == {f"published, not re-run; {s}" for s in COUNTS}
    assert all(table.fair_key is None and not table.score_key for table in blocks)


def test_nothing_is_bold():
    text = published.markdown(published.rows())
    assert "**" not in text
    assert "| CrossFlow     |      0.364 |      0.278 |     0.571 |     1.162 |     0.204 |" in text


def test_a_block_shows_scale_dashes_and_remarks():
    text = published.markdown(published.rows("caption_coco"))
    assert "printed 100 times as large in the source: BLEU-4, METEOR, ROUGE, CIDEr, SPICE" in text
    mir = next(line for line in text.splitlines() if line.startswith("| MIR"))
    assert mir.split("|")[4].strip() == "–"
    assert "- CrossFlow-T2I: the text-to-image model fine-tuned on COCO and run backwards" in text
    assert "- non-autoregressive, trained without CIDEr optimisation" in text.splitlines()
    labridge = published.markdown(published.rows("t2i_coco"))
    assert "SD3.5-L + LABridge (CLIP): read as 100 times the cosine (inference)" in labridge


def test_text_of_papers_cannot_break_the_table():
    hostile = LINE._replace(method="a|b*c`e`<script>[x](y)", note="<b>see</b> # this")
    text = published.markdown(pd.DataFrame([hostile]))
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
    assert lines[0] == {"status": "published, not re-run"} | listed("caption_coco")[0]._asdict()
    ours_csv = (out / "tables/caption_coco.csv").read_text("utf-8")
    assert "FlowTok" not in ours_csv


def test_the_page_needs_no_record(tmp_path, capsys):
    assert command.main(["published", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'published.md'}\n"
    text = (tmp_path / "published.md").read_text("utf-8")
    for source in COUNTS:
        assert source in text
