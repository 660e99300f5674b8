"""Fails when a committed file that is derived from others is not what they give today.

Three kinds: files beside `results/public/records`; docs/published.md, from the package's
published.csv; and blocks of Markdown pages between `<!-- file: PATH -->` and
`<!-- end of file -->`, which must be that file. Texts are compared byte for byte, figures and the
page's pictures by what they show: another build of zlib packs the same pixels into other bytes.
"""

from __future__ import annotations

import base64
import io
import re
import sys
import zlib
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.records.record import read_all  # noqa: E402
from benchmarks.report.command import DERIVED, published_files  # noqa: E402

PUBLIC = ROOT / "results" / "public"
DOCS = ROOT / "docs"
# What no report makes of records: what runs leave, and the references that people accept.
MADE_BY_RUNS = ("records", "items", "curves", "samples", "expected.csv")
STREAM = re.compile(rb"/FlateDecode.*?stream\n(.*?)\nendstream", re.DOTALL)
PICTURE = re.compile(rb"data:image/webp;base64,([A-Za-z0-9+/=]+)")
BLOCK = re.compile(r"<!-- file: (\S+) -->\n(.*?)<!-- end of file -->", re.DOTALL)


def stale_files() -> list[str]:
    """Committed derived files that differ from, or are missing from, what the records give."""
    if not (PUBLIC / "records").is_dir():
        return []
    records = read_all(PUBLIC)
    made = {report: files(records, PUBLIC) for report, files in DERIVED.items()}
    known = {name for files in made.values() for name in files}
    lie = sorted(path.relative_to(PUBLIC) for path in PUBLIC.rglob("*") if path.is_file())
    there = [path.as_posix() for path in lie if path.parts[0] not in MADE_BY_RUNS]
    stale = [
        f"results/public/{name}: run `python -m benchmarks.report {report} --out results/public`"
        for report, files in made.items()
        for name, content in files.items()
        if not _is(PUBLIC / name, content)
    ]
    unknown = [name for name in there if name not in known]
    return stale + [f"results/public/{name}: no report makes it, delete it" for name in unknown]


def stale_docs() -> list[str]:
    """Pages of docs/ that differ from, or are missing from, what published.csv gives."""
    return [
        f"docs/{name}: run `python -m benchmarks.report published --out docs`"
        for name, content in published_files().items()
        if not _is(DOCS / name, content)
    ]


def _is(path: Path, content: str | bytes) -> bool:
    wanted = content.encode() if isinstance(content, str) else content
    if not path.is_file():
        return False
    shown = {".png": _pixels, ".pdf": _streams, ".html": _page}.get(path.suffix, bytes)
    return bool(shown(path.read_bytes()) == shown(wanted))


def _pixels(png: bytes) -> tuple[str, tuple[int, int], bytes]:
    """Mode, size and pixels; the packing and the text chunks do not count."""
    with Image.open(io.BytesIO(png)) as image:
        return image.mode, image.size, image.tobytes()


def _page(html: bytes) -> bytes:
    """The page with what its pictures show in their places."""
    return PICTURE.sub(lambda uri: repr(_pixels(base64.b64decode(uri[1]))).encode(), html)


def _streams(pdf: bytes) -> list[bytes]:
    """What pages, pictures and fonts hold, unpacked; lengths and offsets depend on the packing."""
    parts = STREAM.findall(pdf)
    if not parts:
        raise ValueError("a PDF without a stream")
    return [zlib.decompress(part) for part in parts]


def stale_blocks() -> list[str]:
    """Blocks of README, CONTRIBUTING and docs/ that differ from the file they show."""
    stale = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]:
        for name, shown in BLOCK.findall(page.read_text("utf-8") if page.is_file() else ""):
            text = (ROOT / name).read_text("utf-8").strip() if (ROOT / name).is_file() else None
            wanted = f"```python\n{text}\n```" if text and name.endswith(".py") else text
            if shown.strip() != wanted:
                stale.append(f"{page.relative_to(ROOT)}: the block of {name} is not that file")
    return stale


if __name__ == "__main__":
    problems = stale_files() + stale_docs() + stale_blocks()
    print("\n".join(problems) or "derived files are up to date")
    raise SystemExit(1 if problems else 0)
