r"""Tables for a paper: LaTeX with booktabs by pandas, one file per task, and one that shows all.

Columns are the primary score and the paper's (`columns`), the rest stays in the Markdown and the
CSV. Each budget of a task is a float of its own. So are the published numbers, which were measured
by other protocols: under the papers' own headings, every row with a dagger, never marked.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.report import published, tables
from benchmarks.report.columns import heading, paper_columns
from benchmarks.report.rows import Board

MADE = "% Made by `python -m benchmarks.report tables` from records: do not edit."
PREAMBLE = r"\usepackage[T1]{fontenc}\usepackage{booktabs}"
DOCUMENT = rf"""{MADE}
% In this folder: pdflatex all.tex
\documentclass{{article}}
{PREAMBLE}
\IfFileExists{{lmodern.sty}}{{\usepackage{{lmodern}}}}{{}}
\usepackage[a4paper,margin=2.5cm]{{geometry}}
\begin{{document}}"""
# What a paper compares with. Ablations and wide tables stay in the Markdown.
SETTINGS = ("zero-shot", "zero-shot, aligned", "trained")
MOST_SCORES = 6
LARGE = 1e5  # from here on a power of ten: a diverged run must not widen the column
ABSENT = "--"
DAGGER = r"$^{\dagger}$"
MARKS = {tables.FIRST: r"\textbf{%s}", tables.SECOND: r"\underline{%s}", None: "%s"}
SIGNS = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "{}$&#%"},
        **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"},
        **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
        **{'"': r"\textquotedbl{}", "`": r"\textasciigrave{}"},
        # After the end of a row these would be read as its arguments.
        **{"[": "{[}", "]": "{]}", "*": "{*}"},
        # Long names and paths may be broken across lines.
        **{"_": r"\_\allowbreak{}", "/": r"/\allowbreak{}"},
        **{"–": "--", "—": "---", "’": "'", "…": r"\dots{}", "±": r"$\pm$", "−": "$-$"},
        **{"↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\rightarrow$"},
        **{"γ": r"$\gamma$", "δ": r"$\delta$", "τ": r"$\tau$"},
    }
)


def task_file(built: Sequence[tables.Table], of_papers: Sequence[published.Published]) -> str:
    """tables/<task>.tex: the tables of one task, then what papers print."""
    blocks = published.build([row for row in of_papers if row.setting in SETTINGS])
    narrow = [block for block in blocks if len(_scores(block)) <= MOST_SCORES]
    floats = [_of_records(table, table.board) for table in built if table.board]
    floats += [_of_papers(block, number) for number, block in enumerate(narrow, 1)]
    return "\n".join([MADE, f"% In the preamble: {PREAMBLE}", *floats])


def all_file(files: Mapping[str, str]) -> str:
    """tables/all.tex: a document of all tasks, from their texts.

    Without being told, LaTeX stops at about fifty floats in a row.
    """
    floats = sum(text.count(r"\begin{table}") for text in files.values())
    inputs = [f"\\input{{{task}.tex}}\n\\clearpage" for task in files]
    return "\n".join([DOCUMENT, f"\\extrafloats{{{floats}}}", *inputs, r"\end{document}"]) + "\n"


def escape(text: str) -> str:
    """Any text on one line, as LaTeX that shows it; a sign without a glyph by its code point."""
    shown = " ".join(text.split()).translate(SIGNS)
    return re.sub("[^ -~¡-ſ]", lambda sign: f"{{[}}U+{ord(sign[0]):04X}{{]}}", shown)


def _of_records(table: tables.Table, board: Board) -> str:
    """One budget. What the rows cost is a note: columns of it would make the table too wide."""
    whole = [name for name in table.metrics if "/" not in name]
    wanted = paper_columns(whole, board.first.primary)
    marks = tables.marks(board, wanted, lambda name, mean: float(_number(mean, heading(name)[2])))
    columns: dict[tuple[str, str], list[str]] = {}
    for place, name in enumerate(wanted):
        values = [list((board.values(row, name) or {}).values()) for row in board.rows]
        above, below, decimals = heading(name)
        columns[escape(f"{above} {tables.ARROWS[board.better[name]]}"), escape(below)] = [
            MARKS[marks.get((row, place))] % cell
            for row, cell in enumerate(_cells(values, decimals))
        ]
    models = [(row.name, row.completed[-1].model) for row in board.rows]
    costs = [f"{name} {model.nfe}, {model.params / 1e6:.2f} M" for name, model in models if model]
    head = [*table.notes, *([tables.MARKED] if marks else [])]
    notes = [*(["NFE and parameters: " + "; ".join(costs)] if costs else []), *table.footnotes]
    label = f"{board.first.task}-{board.fair_key or board.first.score_key}"
    return _float(
        table.title, head, [escape(row.label) for row in board.rows], columns, notes, label
    )


def _of_papers(block: tables.Table, number: int) -> str:
    """One table of a paper, every row with a dagger; training data are too wide for a column."""
    cells = dict(zip(block.header, zip(*block.rows, strict=True), strict=True))
    methods, data = cells["method"], cells.get("training data", ())
    shown = [*_scores(block), *(name for name in block.header if name == "parameters")]
    columns = {(escape(name), ""): [escape(cell) for cell in cells[name]] for name in shown}
    notes = [f"training data of {name}: {text}" for name, text in zip(methods, data, strict=False)]
    names = [escape(name) + DAGGER for name in methods]
    label = f"{block.title.partition(',')[0]}-published-{number}"
    return _float(block.title, block.notes, names, columns, [*notes, *block.footnotes], label)


def _float(
    title: str,
    head: Sequence[str],
    names: Sequence[str],
    columns: Mapping[tuple[str, str], Sequence[str]],
    notes: Sequence[str],
    label: str,
) -> str:
    """One table environment: title, head and notes are text, names and columns LaTeX."""
    import pandas as pd

    frame = pd.DataFrame(dict(columns), index=list(names))
    if not any(below for _, below in columns):
        frame.columns = pd.Index([above for above, _ in columns])
    text = frame.style.to_latex(
        column_format="l" + "r" * len(columns),
        hrules=True,
        caption=(escape("; ".join([title, *head])) + ".", escape(title)),
        label=f"tab:{label}",
        position="tbp",
        position_float="centering",
        multicol_align="c",
    )
    lines = "\n".join(f"{escape(note)}\\par" for note in notes)
    small = r"\par\smallskip\begin{minipage}{\linewidth}\scriptsize\raggedright"
    below = f"{small}\n{lines}\n\\end{{minipage}}\n" if notes else ""
    text = text.replace(r"\centering", r"\centering\small\setlength{\tabcolsep}{3.5pt}", 1)
    return text.replace(r"\end{table}", below + r"\end{table}")


def _cells(values: Sequence[Sequence[float]], digits: int) -> list[str]:
    """Mean ± deviation of each row; a mean alone leaves the room of a deviation, and is aligned."""
    spread = {row: statistics.stdev(of_row) for row, of_row in enumerate(values) if len(of_row) > 1}
    cells = []
    for row, of_row in enumerate(values):
        deviation = f" $\\pm$ {_number(spread.get(row, 0.0), digits)}"
        empty = f"\\phantom{{{deviation}}}" if spread else ""
        number = _number(statistics.fmean(of_row), digits) if of_row else ABSENT
        cells.append(number + (deviation if row in spread else empty))
    return cells


def _number(number: float, digits: int) -> str:
    """Rounded to so many decimals, never a negative zero; a large one as a power of ten."""
    return f"{number:z.{digits}f}" if abs(number) < LARGE else f"{number:.2e}"


def _scores(block: tables.Table) -> list[str]:
    """Headers of a published table that are metrics: they carry an arrow."""
    return [name for name in block.header if name.endswith(tuple(tables.ARROWS.values()))]
