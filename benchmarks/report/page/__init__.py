"""`report html`: one page that holds everything, opens from disk and asks no network for anything.

`context` makes a plain dictionary of the records, `render` fills the template with it. What a page
cannot hold (`shown`: ten thousand records would be hundreds of tables) is left out with a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.records.record import Record

NAME = "index.html"


def files(records: Sequence[Record], out: Path) -> dict[str, str | bytes]:
    """index.html. Reads items, curves and samples beside the records, in `out`.

    InputError names the file that is not what the harness writes; one that is absent is said to be
    absent on the page.
    """
    from benchmarks.report.page import context, render

    return {NAME: render.page(context.build(records, out))}
