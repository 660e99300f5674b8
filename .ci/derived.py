"""Fails when a committed file that is derived from records is not what they give today.

Two kinds: files beside `results/public/records`, and blocks of README.md between
`<!-- file: PATH -->` and `<!-- end of file -->`, which must be that file, word for word.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.records import read_all  # noqa: E402
from benchmarks.report import REPORTS  # noqa: E402

PUBLIC = ROOT / "results" / "public"
BLOCK = re.compile(r"<!-- file: (\S+) -->\n(.*?)<!-- end of file -->", re.DOTALL)


def stale_files() -> list[str]:
    """Committed derived files that differ from, or are missing from, what the records give."""
    if not (PUBLIC / "records").is_dir():
        return []
    records = read_all(PUBLIC)
    expected = {name: text for make, _ in REPORTS.values() for name, text in make(records).items()}
    return [
        f"results/public/{name}: run `python -m benchmarks.report ... --out results/public`"
        for name, text in expected.items()
        if not (PUBLIC / name).is_file() or (PUBLIC / name).read_text("utf-8") != text
    ]


def stale_blocks() -> list[str]:
    """Blocks of README.md that differ from the file they show."""
    found = []
    for name, shown in BLOCK.findall((ROOT / "README.md").read_text("utf-8")):
        path = ROOT / name
        if not path.is_file() or shown.strip() != path.read_text("utf-8").strip():
            found.append(f"README.md: the block of {name} is not that file")
    return found


if __name__ == "__main__":
    problems = stale_files() + stale_blocks()
    print("\n".join(problems) or "derived files are up to date")
    raise SystemExit(1 if problems else 0)
