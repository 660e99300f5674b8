"""Fails when a committed file that is derived from others is not what they give today.

Three kinds: files beside `results/public/records`; docs/published.md, from the package's
published.csv; and blocks of README.md between `<!-- file: PATH -->` and `<!-- end of file -->`,
which must be that file, word for word.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.records import read_all  # noqa: E402
from benchmarks.report.command import DERIVED, published_files  # noqa: E402

PUBLIC = ROOT / "results" / "public"
DOCS = ROOT / "docs"
BLOCK = re.compile(r"<!-- file: (\S+) -->\n(.*?)<!-- end of file -->", re.DOTALL)


def stale_files() -> list[str]:
    """Committed derived files that differ from, or are missing from, what the records give."""
    if not (PUBLIC / "records").is_dir():
        return []
    records = read_all(PUBLIC)
    return [
        f"results/public/{name}: run `python -m benchmarks.report {report} --out results/public`"
        for report, derived in DERIVED.items()
        for name, content in derived.files(records, PUBLIC).items()
        if not _is(PUBLIC / name, content)
    ]


def stale_docs() -> list[str]:
    """Pages of docs/ that differ from, or are missing from, what published.csv gives."""
    return [
        f"docs/{name}: run `python -m benchmarks.report published --out docs`"
        for name, content in published_files().items()
        if not _is(DOCS / name, content)
    ]


def _is(path: Path, content: str | bytes) -> bool:
    wanted = content.encode() if isinstance(content, str) else content
    return path.is_file() and path.read_bytes() == wanted


def stale_blocks() -> list[str]:
    """Blocks of README.md that differ from the file they show."""
    found = []
    for name, shown in BLOCK.findall((ROOT / "README.md").read_text("utf-8")):
        path = ROOT / name
        if not path.is_file() or shown.strip() != path.read_text("utf-8").strip():
            found.append(f"README.md: the block of {name} is not that file")
    return found


if __name__ == "__main__":
    problems = stale_files() + stale_docs() + stale_blocks()
    print("\n".join(problems) or "derived files are up to date")
    raise SystemExit(1 if problems else 0)
