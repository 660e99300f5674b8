"""Tables for papers: LaTeX that shows any text, and marks only what may be marked."""

import re
import shutil
import subprocess

import pytest

from benchmarks.report import command, latex, published, tables
from benchmarks.report.latex import escape

HOSTILE = "\\{}$&#%_^~ \"a\" 'b' ''c'' `d` -- --- <e> |f| [g]* ,,h // ?` üßŁéδ→↑±–“” 中 \u202eē"


def text_of(records):
    return latex.task_file(tables.build(records), published.rows("none"))


def rows_of(text):
    """Lines of the tabular after its heads: name -> the cells beside it."""
    body = text.split("\\midrule", 1)[1].split("\\bottomrule")[0]
    lines = [line.removesuffix(" \\\\") for line in body.splitlines() if line.endswith("\\\\")]
    return {cells[0]: cells[1:] for cells in (line.split(" & ") for line in lines)}


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\\b", r"a\textbackslash{}b"),
        ("{$1 & #2 100%}", r"\{\$1 \& \#2 100\%\}"),
        ("~^<|>", r"\textasciitilde{}\textasciicircum{}\textless{}\textbar{}\textgreater{}"),
        ("[1]*", "{[}1{]}{*}"),
        ("Müller, Łódź", "Müller, Łódź"),
        ("δ1 ↑ a – b − c", r"$\delta$1 $\uparrow$ a -- b $-$ c"),
        ("中\u202e\x00", "{[}U+4E2D{]}{[}U+202E{]}{[}U+0000{]}"),
        ("two\n lines\t\x0bhere", "two lines here"),
        ("a_b/c", r"a\_\allowbreak{}b/\allowbreak{}c"),  # long names may be broken
    ],
)
def test_escape(text, escaped):
    assert escape(text) == escaped


def test_layout_is_the_primary_score_and_the_papers_columns(record):
    names = ("absrel_object", "rmse", "delta1", "absrel", "absrel_object/L1")
    values = dict(zip(names, (0.5, 0.7, 0.9, 0.4, 1), strict=True))
    text = text_of([record(value=values), record("floor", value=values)])
    head = text.split("\\toprule\n")[1].splitlines()
    scores = r" & absrel & absrel $\downarrow$ & delta1 $\uparrow$"
    assert head[0] == rf"{scores} & NFE & parameters & seconds \\"
    assert head[1] == r" & object $\downarrow$ &  &  &  &  &  \\"
    assert rows_of(text)["floor"] == ["0.5", "0.4", "0.9", "--", "--", "--"]
    assert rows_of(text)["crossflow"][3:] == ["16", "2.50 M", "--"]
    for rule in (r"\toprule", r"\bottomrule", r"\begin{table}", r"\end{table}"):
        assert text.count(rule) == 1


def test_best_and_second_by_direction(record):
    arms = [("a", 0.3, 0.8), ("b", 0.1, 0.9), ("c", 0.2, 0.7), ("floor", 0.01, 0.99)]
    records = [record(name, value={"absrel_object": x, "delta1": y}) for name, x, y in arms]
    records.append(record("mine", kind="evaluation", value={"absrel_object": 0.0, "delta1": 1.0}))
    rows = rows_of(text_of(records))
    assert rows["a"][:2] == ["0.3", r"\underline{0.8}"]
    assert rows["b"][:2] == [r"\textbf{0.1}", r"\textbf{0.9}"]
    assert rows["c"][:2] == [r"\underline{0.2}", "0.7"]
    assert rows["floor"][:2] == ["0.01", "0.99"]
    assert rows["mine (predictions only)"][:2] == ["0", "1"]
    marks = tables.build(records)[0].marks
    assert marks == {(2, 1): 1, (3, 1): 2, (2, 2): 1, (1, 2): 2}
    shown = tables.markdown(tables.build(records))
    assert "**0.1**" in shown and "<ins>0.2</ins>" in shown
    assert "**0.01**" not in shown and "**1**" not in shown


def test_what_reads_equal_is_marked_equal(record):
    names = {"a": 0.100001, "b": 0.100002, "c": 0.3, "d": 0.2}
    rows = rows_of(text_of([record(name, value=value) for name, value in names.items()]))
    assert rows["a"][0] == rows["b"][0] == r"\textbf{0.1}"
    assert rows["c"][0] == "0.3" and rows["d"][0] == "0.2", "two firsts leave no second"
    same = [record(name, value=0.1) for name in "abc"]
    assert not tables.build(same)[0].marks
    assert "textbf" not in text_of(same)


def test_missing_values_are_a_dash_and_never_marked(record):
    records = [
        record("a", value={"absrel_object": 0.3}),
        record("b", value={"absrel_object": 0.2, "delta1": 0.5}),
    ]
    rows = rows_of(text_of(records))
    assert rows["a"][:2] == [r"\underline{0.3}", "--"]
    assert rows["b"][:2] == [r"\textbf{0.2}", "0.5"], "the best of one is not marked"


def test_seeds_give_a_deviation(record):
    records = [record(seed=seed, value=0.1 + 0.1 * seed) for seed in range(3)]
    text = text_of(records)
    assert rows_of(text)["crossflow"][0] == r"0.2 $\pm$ 0.1"
    assert r"mean $\pm$ standard deviation" in text


def test_braces_balance_and_rows_have_as_many_cells(record):
    """What can be checked of LaTeX without LaTeX."""
    arms = [record(seed=seed, task="t2i_coco") for seed in range(2)]
    arms.append(record("floor", task="t2i_coco", unavailable={"lpips_alex": HOSTILE}))
    text = latex.task_file(tables.build(arms), published.rows("t2i_coco"))
    plain = re.sub(r"\\[{}\\&%$#_]", "", text)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    for layout, body in re.findall(r"begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.S):
        for line in body.splitlines():
            if line.endswith("\\\\"):
                merged = sum(int(n) - 1 for n in re.findall(r"multicolumn\{(\d)\}", line))
                assert len(re.split(r"(?<!\\)&", line)) + merged == len(layout), line


def test_published_rows_stand_apart(record):
    values = dict.fromkeys(("cider", "bleu4", "spice"), 0.5)
    arms = [record(m, task="caption_coco", value=values, score={"primary": "cider"}) for m in "ab"]
    ours, below = latex.task_file(tables.build(arms), published.rows("caption_coco")).split(
        r"\end{table}", 1
    )
    assert "MNIC" not in ours and r"MNIC$^{\dagger}$ & 0.309" in below
    assert "CIDEr" in below and "textbf" not in below and "underline" not in below
    in_table = [line for line in below.splitlines() if line.endswith("\\\\")]
    assert all("dagger" in line for line in in_table if not line.startswith(" &"))
    assert " -- " in next(line for line in in_table if line.startswith("MIR"))
    assert text_of(arms).count(r"\begin{table}") == 1


def test_ablations_and_wide_tables_of_papers_stay_in_the_markdown(record):
    text = latex.task_file(tables.build([record(task="t2i_coco")]), published.rows("t2i_coco"))
    assert "Table 2" in text
    for left_out in ("Table 3a", "Table 7", "Table 8", "LABridge"):
        assert left_out not in text


NO_LATEX = "no pdflatex (Debian: texlive-latex-recommended)"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason=NO_LATEX)
def test_the_tables_compile(record, tmp_path):
    """Every real task, names and reasons of any kind, more floats than LaTeX holds by itself."""
    found = [record("a", task="sr_tabletop", fair={"batch": size}) for size in range(60)]
    for task in ("t2i_coco", "caption_coco", "depth_nyu", "sr_imagenet"):
        found += [record("a", seed, task=task) for seed in range(3)]
        found.append(record("floor", task=task, unavailable={"lpips_alex": HOSTILE + " /a/b" * 30}))
    found += [record("c", value=1e13), record("b", value=-0.1)]
    inputs = []
    for name, content in command.table_files(found, tmp_path).items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, "utf-8")
        if path.suffix == ".tex":
            inputs.append(f"\\input{{{path.name}}}\\clearpage")
    start = rf"\documentclass{{article}}{latex.PREAMBLE}\begin{{document}}\extrafloats{{100}}"
    text = "\n".join([start, *inputs, r"\end{document}"])
    (tmp_path / "tables/all.tex").write_text(text, "utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=tmp_path / "tables",
        capture_output=True,
        check=False,
        timeout=300,
    )
    log = (tmp_path / "tables/all.log").read_text("latin-1")
    assert done.returncode == 0, log[-3000:]
    for trouble in ("Float too large", "Missing character", "multiply defined"):
        assert trouble not in log, re.findall(f".*{trouble}.*", log)
