r"""Tables for a paper: LaTeX with booktabs and siunitx, one file per task, and one that shows all.

Columns are the primary score and the paper's (`columns`), the rest stays in the Markdown and the
CSV. Each budget of a task is a float of its own. So are the published numbers, which were measured
by other protocols: under the papers' own headings, every row with a dagger, never marked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchmarks.report import latex_columns, published_tables, tables
from benchmarks.report.columns import paper_columns
from benchmarks.report.latex_text import escape, prose
from benchmarks.report.published import Published
from benchmarks.report.rows import Row
from crossflow.errors import InputError

MADE = "% Made by `python -m benchmarks.report tables` from records: do not edit."
# The rule below the second best number hangs on its right end, so that siunitx still aligns it.
HEAD = rf"""{MADE}
% In the preamble of your document:
%   \usepackage[T1]{{fontenc}}
%   \usepackage{{booktabs,siunitx}}   % siunitx 3
\DeclareRobustCommand{{\secondbest}}[1]{{\llap{{\underline{{\hphantom{{$#1$}}}}}}}}"""
DOCUMENT = rf"""{MADE}
% In this folder: pdflatex all.tex
\documentclass{{article}}
\usepackage[T1]{{fontenc}}
\IfFileExists{{lmodern.sty}}{{\usepackage{{lmodern}}}}{{}}
\usepackage[a4paper,margin=2.5cm]{{geometry}}
\usepackage{{booktabs,siunitx}}
\begin{{document}}"""
# What a paper compares with. Ablations and wide tables stay in the Markdown.
SETTINGS = ("zero-shot", "zero-shot, aligned", "trained")
MOST_SCORES = 6
LONGEST_NAME = 36
# Means and deviations that leave room for columns of cost on a page 16 cm wide.
MOST_NUMBERS = 8
DAGGER = r"$^{\dagger}$"


def task_file(built: Sequence[tables.Table], of_papers: Sequence[Published]) -> str:
    """tables/<task>.tex: the tables of one task, then what papers print."""
    rows = [row for row in of_papers if row.setting in SETTINGS]
    narrow = [block for block in published_tables.build(rows) if len(_scores(block)) <= MOST_SCORES]
    floats = [_comparison(table) for table in built]
    if narrow:
        floats.append(_published(rows[0].task, narrow))
    return "\n\n".join([HEAD, *floats]) + "\n"


def all_file(tasks: Sequence[str], floats: int) -> str:
    r"""tables/all.tex: a document of all tasks. InputError for a name that \input cannot take.

    floats: how many tables there are; without being told, LaTeX stops at about fifty in a row.
    """
    for task in tasks:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", task):
            raise InputError(f"task {task!r} of the records: only letters, digits, '_', '.', '-'")
    inputs = [f"\\input{{{task}.tex}}\n\\clearpage" for task in tasks]
    return "\n".join([DOCUMENT, f"\\extrafloats{{{floats}}}", *inputs, r"\end{document}"]) + "\n"


def _float(title: str, caption: str, label: str, body: Sequence[str]) -> str:
    """One table environment; title, for the list of tables, and caption are LaTeX."""
    return "\n".join(
        [
            r"\begin{table}[tbp]",
            r"\centering\small",
            r"\setlength{\tabcolsep}{3.5pt}",
            r"\sisetup{text-series-to-math=true}",
            f"\\caption[{title}]{{{caption}}}",
            f"\\label{{tab:{re.sub('[^A-Za-z0-9]+', '-', label)}}}",
            r"\par\smallskip",
            *body,
            r"\end{table}",
        ]
    )


def _comparison(table: tables.Table) -> str:
    """One budget: caption, numbers, notes. What the rows cost is a note where columns are many."""
    board = table.board
    assert board is not None
    whole = [metric for metric in table.metrics if "/" not in metric]
    found = latex_columns.metrics(table, paper_columns(whole, board.first.primary))
    costs, notes = latex_columns.costs(board.rows), list(table.footnotes)
    if costs and sum(column.width for column in found) > MOST_NUMBERS:
        notes.insert(0, _cost_note(board.rows))
    else:
        found += costs
    kinds = [row.kind for row in board.rows]
    lines = [
        *latex_columns.tabular(
            [_name(row.name) for row in board.rows],
            found,
            [row for row in range(1, len(kinds)) if kinds[row] != kinds[row - 1]],
        ),
        *_notes([prose(note) for note in notes]),
    ]
    task = table.title.split(" ")[0]
    label = f"{task}-{table.fair_key or table.score_key}"
    return _float(escape(table.title), _caption(table), label, lines)


def _cost_note(rows: Sequence[Row]) -> str:
    known = [(row.name, row.completed[-1].model) for row in rows]
    return "NFE and parameters: " + "; ".join(
        f"{name} {model.nfe}, {model.params / 1e6:.2f} M" for name, model in known if model
    )


def _caption(table: tables.Table) -> str:
    """What was scored, the budget and the rules, as sentences."""
    sentences = [prose(table.title)]
    for note in [*table.notes, *([tables.MARKED] if table.marks else [])]:
        text = prose(note[:1].upper() + note[1:])
        sentences.append(f"\\textbf{{{text}}}" if note == tables.QUICK else text)
    return ". ".join(sentences) + "."


def _published(task: str, blocks: Sequence[tables.Table]) -> str:
    """What papers print: a tabular for each of their tables, every row with a dagger."""
    lines = []
    for block in blocks:
        source, setting = block.notes[0], block.title.partition(": ")[0].partition(", ")[2]
        heading = f"{source[:1].upper()}{source[1:]}, {setting}"
        found, notes = _published_columns(block)
        remarks = [*block.notes[2:], *notes, *block.footnotes]
        lines += [
            rf"\par\medskip\textit{{{escape(heading)}}}\par\smallskip",
            *latex_columns.tabular([_name(row[0]) + DAGGER for row in block.rows], found, []),
            *_notes([prose("; ".join(remarks))]),
        ]
    title = escape(f"{task}: {published_tables.STATUS}")
    caption = f"{title}{DAGGER}. {DAGGER}{prose(published_tables.PREFACE)}"
    return _float(title, caption, f"{task}-published", lines)


def _published_columns(block: tables.Table) -> tuple[list[latex_columns.Column], list[str]]:
    """The columns of a paper's table, and the training data as notes: too wide for a column."""
    found, notes = [], []
    for column, name in enumerate(block.header[1:], start=1):
        cells = {row[0]: row[column] for row in block.rows}
        if name in _scores(block):
            shown = [None if cell == tables.ABSENT else cell for cell in cells.values()]
            found.append(latex_columns.numbers(name, "", shown))
        elif name == "parameters":
            found.append(latex_columns.texts("Params", list(cells.values())))
        else:
            for text in dict.fromkeys(cells.values()):
                methods = ", ".join(method for method, cell in cells.items() if cell == text)
                notes.append(f"{name}: {methods}: {text}")
    return found, notes


def _name(text: str) -> str:
    """A row's name; a long one is broken, because a first column must leave room for numbers."""
    if len(text) <= LONGEST_NAME:
        return escape(text)
    return rf"\parbox[t]{{4cm}}{{\raggedright\strut {prose(text)}\strut}}"


def _scores(block: tables.Table) -> list[str]:
    """Headers of a published table that are metrics: they carry an arrow."""
    return [name for name in block.header if name.endswith(tuple(tables.ARROWS.values()))]


def _notes(notes: Sequence[str]) -> list[str]:
    """Notes (LaTeX) below a tabular, a line each."""
    if not notes:
        return []
    return [
        r"\par\smallskip\begin{minipage}{\linewidth}\scriptsize\raggedright",
        *(f"{note}\\par" for note in notes),
        r"\end{minipage}",
    ]
