r"""Tables for a paper: LaTeX with booktabs by pandas, a file a task, a float a table.

A view of `tables`: the columns that papers have. Published rows have a dagger, no marks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.report import published, tables

if TYPE_CHECKING:
    import pandas as pd

MADE = "% Made by `python -m benchmarks.report tables` from records: do not edit."
PREAMBLE = r"\usepackage[T1]{fontenc}\usepackage{booktabs}"
SETTINGS = ("zero-shot", "zero-shot, aligned", "trained")  # ablations stay in the Markdown
MOST_SCORES = 6
COSTS = ("NFE", "parameters", "seconds")
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


def task_file(built: Sequence[tables.Table], of_papers: pd.DataFrame) -> str:
    """tables/<task>.tex: the tables of one task, then what papers print."""
    blocks = published.build(of_papers[of_papers["setting"].isin(SETTINGS)])
    narrow = [block for block in blocks if len(block.metrics) <= MOST_SCORES]
    floats = [_float(table, number) for number, table in enumerate([*built, *narrow], 1)]
    return "\n".join([MADE, f"% In the preamble: {PREAMBLE}", *floats])


def escape(text: str) -> str:
    """Any text on one line, as LaTeX that shows it; a sign without a glyph by its code point."""
    shown = " ".join(text.split()).translate(SIGNS)
    return re.sub("[^ -~¡-ſ]", lambda sign: f"{{[}}U+{ord(sign[0]):04X}{{]}}", shown)


def _float(table: tables.Table, number: int) -> str:
    """One table environment."""
    import pandas as pd

    names, chosen = [escape(line[0]) for line in table.rows], table.metrics
    if table.board is None:
        names = [name + r"$^{\dagger}$" for name in names]
    else:
        whole = [name for name in table.metrics if "/" not in name]
        chosen = tables.paper_columns(whole, table.board.first.primary)
    columns: dict[tuple[str, str], list[str]] = {}
    for place, name in enumerate(table.header):
        if name.rpartition(" ")[0] in chosen or name in COSTS:
            above = re.split("[_@]", name)[
                0
            ]  # below it the rest of the name, which is the protocol
            columns[escape(above), escape(name.removeprefix(above).lstrip("_"))] = [
                MARKS[table.marks.get((row, place))] % escape(line[place])
                for row, line in enumerate(table.rows)
            ]
    frame = pd.DataFrame(columns, index=names)
    if not any(below for _, below in columns):
        frame.columns = [above for above, _ in columns]
    key = table.fair_key or table.score_key or f"paper-{number}"
    head = "; ".join([table.title, *table.notes, *([tables.MARKED] if table.marks else [])])
    text = frame.style.to_latex(
        column_format="l" + "r" * len(columns),
        hrules=True,
        caption=(escape(head) + ".", escape(table.title)),
        label=f"tab:{re.split('[ ,]', table.title)[0]}-{key}",
        position="tbp",
        position_float="centering",
        multicol_align="c",
    )
    lines = "\n".join(f"{escape(note)}\\par" for note in table.footnotes)
    small = r"\par\smallskip\begin{minipage}{\linewidth}\scriptsize\raggedright"
    below = f"{small}\n{lines}\n\\end{{minipage}}\n" if lines else ""
    text = text.replace(r"\centering", r"\centering\small\setlength{\tabcolsep}{3.5pt}", 1)
    return str(text.replace(r"\end{table}", below + r"\end{table}"))
